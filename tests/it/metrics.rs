//! What is measured is what the list says, and the list is what is written down.

use std::{collections::BTreeSet, fmt::Write, fs, path::PathBuf, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use vestibule::{
    Vestibule,
    connection::{ExchangeClass, VendPath},
    metric::{self, Kind, Label, Origin, Unit, Values},
    pending::{Namespace, Pendings, PendingsConfig, Spec, Waited},
    store::{
        Class, EventKind,
        redis::{RedisConfig, Timeouts},
    },
};

use crate::{
    properties::pkce::shared_keys,
    support::{
        exposition::Exposition,
        server::{self, TestServer},
        side::Side,
        stores::fresh_prefix,
        verbs::{claim, due},
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

/// What one test measures, seen as Prometheus sees it.
struct Measured {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Measured {
    fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for metric in metric::ALL.iter().filter(|metric| metric.kind() == Kind::Histogram) {
            let name = metrics_exporter_prometheus::Matcher::Full(metric.name().to_owned());
            builder = builder.set_buckets_for_metric(name, metric.buckets()).unwrap();
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Self { recorder, handle }
    }

    #[track_caller]
    fn now(&self) -> Exposition {
        let exposition = Exposition::read(&self.handle.render());
        assert_eq!(exposition.faults(), [""; 0]);
        exposition
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        self.now().value(series).unwrap_or_else(|| panic!("{series} is not measured"))
    }
}

async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

async fn pendings(url: &str) -> Pendings<String> {
    let short = Timeouts { overall: Duration::from_secs(2), ..Timeouts::default() };
    let config = RedisConfig::new(url).unwrap().with_prefix(fresh_prefix()).unwrap();
    let config = config.with_timeouts(short);
    let vestibule = Vestibule::connect(config, &shared_keys()).await.unwrap();
    vestibule.pendings(PendingsConfig::default())
}

/// `docs/metrics.md` has the table that the list makes. With `UPDATE_GOLDEN=1` it is written anew.
#[test]
fn the_document_has_the_list() {
    const MARK: &str = "<!-- made from the list in src/metric/list.rs -->\n";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, _) = text.split_once(MARK).expect("the mark is there");
    let whole = format!("{before}{MARK}{}", table());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), whole, "see {}", path.display());
}

fn table() -> String {
    let mut table = String::new();
    for (origin, title) in
        [(Origin::Library, "Library: services and workers"), (Origin::Worker, "Worker")]
    {
        let head = "| metric | kind | labels | what |\n|---|---|---|---|";
        writeln!(table, "\n## {title}\n\n{head}").unwrap();
        for metric in metric::ALL.iter().filter(|metric| metric.from() == origin) {
            let labels: Vec<_> = metric.labels().iter().map(told).collect();
            let unit = if metric.unit() == Unit::Seconds { ", seconds" } else { "" };
            let (name, kind) = (metric.name(), metric.kind().as_str());
            let (labels, text) = (labels.join("; "), metric.text());
            writeln!(table, "| `{name}` | {kind}{unit} | {labels} | {text} |").unwrap();
        }
    }
    table
}

fn told(label: &Label) -> String {
    let values = match (label.values(), label.closed()) {
        (Values::Connectors, _) => "a connector's slug".to_owned(),
        (Values::Notifiers, _) => "a receiver's name".to_owned(),
        (Values::Keys, _) => "a key's id".to_owned(),
        (_, words) => words.unwrap().join(", "),
    };
    format!("**{}**: {values}", label.name())
}

/// The words that enums have are those of the labels.
#[test]
fn the_list_has_the_words_of_the_code() {
    let words = |metric: &metric::Metric, label: &str| -> BTreeSet<&str> {
        let label = metric.labels().iter().find(|known| known.name() == label).unwrap();
        label.closed().unwrap().into_iter().collect()
    };
    let events: BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(words(&metric::UNTOLD, "event"), events);
    let classes = [
        Class::NotExecuted,
        Class::Resource,
        Class::Operator,
        Class::Ambiguous,
        Class::Unconfirmed,
        Class::Corrupt,
    ];
    let classes: BTreeSet<_> = classes.into_iter().map(Class::as_str).collect();
    assert_eq!(words(&metric::REDIS_ERRORS, "class"), classes);
    for (metric, label) in [(&metric::PUTS, "outcome"), (&metric::TAKES, "outcome")] {
        assert!(words(metric, label).is_superset(&classes));
    }
    let paths = [
        VendPath::Cached,
        VendPath::Warm,
        VendPath::StaleServed,
        VendPath::Refreshed,
        VendPath::Waited,
    ];
    let paths: BTreeSet<_> = paths.into_iter().map(VendPath::as_str).collect();
    assert!(words(&metric::VENDS, "path").is_superset(&paths));
    let exchanges = [
        ExchangeClass::Rejected,
        ExchangeClass::Client,
        ExchangeClass::Config,
        ExchangeClass::Transient,
        ExchangeClass::Undecided,
    ];
    let exchanges: BTreeSet<_> = exchanges.into_iter().map(ExchangeClass::as_str).collect();
    assert!(words(&metric::REFRESHES, "outcome").is_superset(&exchanges));
}

/// A word that is not in the list is not counted under another one: it is a fault of the code, and
/// tests find it.
#[test]
#[should_panic(expected = "vestibule_vends_total has no [\"borrowed\"]")]
fn a_word_that_is_not_listed_is_found() {
    metric::VENDS.of(&["borrowed"]).increment(1);
}

/// A counter's first event is a rise: before it there is a zero, with what it means.
#[test]
fn counters_begin_at_zero() {
    let measured = Measured::new();
    metrics::with_local_recorder(&measured.recorder, || {
        metric::describe();
        metric::at_zero(["demo", "other"], ["ops"]);
    });
    for series in [
        "vestibule_leases_lost_total",
        "vestibule_exhausted_total{connector=\"demo\"}",
        "vestibule_refresh_total{connector=\"other\",outcome=\"rejected\"}",
        "vestibule_notified_total{notifier=\"ops\",outcome=\"given_up\"}",
        "vestibule_outbox_lost_total{notifier=\"ops\"}",
        "vestibule_redis_errors_total{class=\"operator\"}",
        "vestibule_vends_total{path=\"failed\"}",
        "vestibule_waiters{what=\"refresh\"}",
        "vestibule_redis_connections{kind=\"shared\"}",
    ] {
        assert_eq!(measured.value(series), 0.0, "{series}");
    }
    metrics::with_local_recorder(&measured.recorder, || {
        metric::EXHAUSTED.named("demo", &[]).increment(1);
    });
    assert_eq!(measured.value("vestibule_exhausted_total{connector=\"demo\"}"), 1.0);
}

/// Who waits is counted while they wait; and how long after the end they knew, only if they waited.
#[tokio::test]
async fn waiters_and_their_wake_up_are_measured() {
    let measured = Measured::new();
    let _here = metrics::set_default_local_recorder(&measured.recorder);
    metric::describe();
    metric::at_zero([], []);
    let redis = pendings(&server::shared().await.url()).await;
    let memory: Pendings<String> = Vestibule::in_memory().pendings(PendingsConfig::default());
    let told = "vestibule_wakeup_seconds_count{how=\"told\"}";
    for (round, pendings) in [redis, memory].into_iter().enumerate() {
        let namespace = Namespace::new("alice@example.com").unwrap();
        let spec = Spec::new("form", "x".to_owned());
        let id = pendings.create(&namespace, &spec).await.unwrap().id;
        let waiting = tokio::spawn({
            let pendings = pendings.clone();
            async move { pendings.wait::<String>(id, PATIENCE).await }
        });
        let waiters = || async { measured.value("vestibule_waiters{what=\"pending\"}") };
        until("waits", || async { waiters().await == 1.0 }).await;
        // Its first look is over, and so the subscription is there: others can see it.
        until("is seen", || async { !pendings.waiters(id).await.unwrap().is_empty() }).await;
        pendings.complete(id, None, &"yes".to_owned()).await.unwrap();
        let waited = waiting.await.unwrap().unwrap();
        assert!(matches!(waited, Waited::Completed { .. }), "{waited:?}");
        assert_eq!(waiters().await, 0.0);
        assert_eq!(measured.value(told), round as f64 + 1.0);
        // What had ended before wakes nobody.
        pendings.wait::<String>(id, PATIENCE).await.unwrap();
        assert_eq!(measured.value(told), round as f64 + 1.0);
    }
    let under_a_second = "vestibule_wakeup_seconds_bucket{how=\"told\",le=\"1\"}";
    assert_eq!(measured.value(under_a_second), 2.0, "a notification is fast");
}

/// The shared connection and the subscription are counted while they are open.
#[tokio::test]
async fn connections_to_redis_are_counted() {
    let measured = Measured::new();
    let _here = metrics::set_default_local_recorder(&measured.recorder);
    metric::describe();
    let server = TestServer::builder().start().await;
    let pendings = pendings(&server.url()).await;
    let open =
        |kind: &str| measured.value(&format!("vestibule_redis_connections{{kind=\"{kind}\"}}"));
    assert_eq!(open("shared"), 1.0);
    let namespace = Namespace::new("alice@example.com").unwrap();
    let spec = Spec::new("form", "x".to_owned());
    let id = pendings.create(&namespace, &spec).await.unwrap().id;
    pendings.wait::<String>(id, Duration::from_millis(300)).await.unwrap();
    until("listens", || async { open("subscription") == 1.0 }).await;
    let before = measured.value("vestibule_redis_seconds_count");

    server.kill9();
    assert!(pendings.get(id).await.is_err());
    until("known", || async { (open("shared"), open("subscription")) == (0.0, 0.0) }).await;
    assert_eq!(measured.value("vestibule_redis_seconds_count"), before + 1.0);
    let errors = measured.now();
    let errors = errors.samples.iter().filter(|it| it.name == "vestibule_redis_errors_total");
    assert_eq!(errors.map(|it| it.value).sum::<f64>(), 1.0);

    server.restart().await;
    assert!(pendings.get(id).await.is_ok_and(|found| found.is_none()));
    assert_eq!(open("shared"), 1.0);
}

/// The backlog is what nobody has claimed, and it tells since when; on both stores.
#[tokio::test]
async fn the_backlog_tells_since_when() {
    const HOUR: Duration = Duration::from_secs(3600);
    for side in Side::both().await {
        let store = &*side.store;
        assert_eq!(store.due_backlog().await.unwrap().oldest, None);
        let old = due(store).await;
        side.pass(HOUR).await;
        due(store).await;
        until("both are due", || async { store.due_backlog().await.unwrap().due == 2 }).await;
        let oldest = store.due_backlog().await.unwrap().oldest.unwrap();
        assert!(oldest >= HOUR && oldest < HOUR + Duration::from_secs(60), "{oldest:?}");
        let claimed = claim(store, old.shard()).await.unwrap();
        assert!(claimed.contains(&old));
        let left = store.due_backlog().await.unwrap();
        assert!(left.oldest.is_none_or(|oldest| oldest < Duration::from_secs(60)), "{left:?}");
    }
}
