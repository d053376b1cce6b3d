//! Many pendings: nothing is left of those that expire, and no script holds Redis for long.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use tokio::time::{Instant, sleep};
use vestibule::{
    pending::{Completion, Dedup, Life, Namespace, Pendings, Spec},
    store::{Ending, PendingId},
};

use super::{list_all, namespace, replica};
use crate::{
    properties::{AT_ONCE, Progress, Verdict, connect, for_each, verdict},
    support::{
        ageing::age_lives,
        server::{TestServer, random},
    },
};

/// Pendings that nobody touches: Redis itself removes them, with their dedup keys and indexes. The
/// lives of their keys are shortened, so that the last seconds of each pass as they always do.
pub async fn expiry_leaves_nothing(count: u64, progress: Progress) -> Verdict {
    const LIFE: Duration = Duration::from_secs(300);
    const GRACE: Duration = Duration::from_secs(60);
    const LAST: Duration = Duration::from_millis(1500);
    let seed = random();
    let server = TestServer::builder().start().await;
    let pendings = replica(&connect(&server.url(), "vst").await, "parent");
    let mut raw = server.raw().await;
    let size = async |raw: &mut redis::aio::MultiplexedConnection| -> u64 {
        redis::cmd("DBSIZE").query_async(raw).await.unwrap()
    };
    let before = size(&mut raw).await;
    let namespaces = count.div_ceil(100);
    let started = Instant::now();
    for_each(count, AT_ONCE, async |number| {
        let namespace = namespace(number % namespaces);
        let mut spec = Spec::new("form", number);
        spec.life = Life::For(LIFE);
        if number.is_multiple_of(2) {
            spec.dedup = Dedup::Key(number.to_string());
        }
        assert!(!pendings.create(&namespace, &spec).await.unwrap().joined);
    })
    .await;
    let keys = size(&mut raw).await - before;
    let creating = started.elapsed();
    let spare = (LIFE + GRACE).checked_sub(creating + LAST).expect("created within their lives");
    let endless = age_lives(&mut raw, "vst", spare).await;
    let last_end = Instant::now() + creating + LAST;

    let left = loop {
        let left = size(&mut raw).await - before;
        if left == 0 || Instant::now() > last_end + Duration::from_secs(60) {
            break left;
        }
        sleep(Duration::from_millis(50)).await;
    };
    let after = Instant::now().saturating_duration_since(last_end);
    let mut members = 0;
    for number in 0..namespaces {
        members += pendings.list(&namespace(number), None, 100).await.unwrap().ids.len() as u64;
    }
    progress(count);
    verdict(
        format!(
            "{count} pendings in {namespaces} namespaces, half with a dedup key: {keys} keys, the \
             lives of all shortened to end within {:.1} s; by Redis's own expiry, with no command \
             sent meanwhile but DBSIZE, 0 left {} ms after the last one's end, 0 index members; \
             seed {seed}",
            (creating + LAST).as_secs_f64(),
            after.as_millis()
        ),
        &[
            ("keys left", left),
            ("index members left", members),
            ("keys without an end", endless.saturating_sub(before)),
            ("keys too few to begin with", (count + count / 2 + namespaces).saturating_sub(keys)),
        ],
    )
}

/// A big namespace is created, listed and cleared completely, and no script holds Redis for
/// longer than `bound`.
///
/// Redis times a script by a clock on the wall, with whatever else the machine did meanwhile. So
/// where one is above the bound all is done again, up to five times: what scripts need themselves,
/// they need every time, and at the same point. Of every hundredth of the creations, of the list
/// and of the clearing, the least of the rounds' worst counts.
pub async fn big_namespace(bound: Duration, count: u64, progress: Progress) -> Verdict {
    let server = TestServer::builder().start().await;
    let pendings = replica(&connect(&server.url(), "vst").await, "parent");
    let mut raw = server.raw().await;
    for (name, value) in [("slowlog-log-slower-than", "500"), ("slowlog-max-len", "100000")] {
        let set = redis::cmd("CONFIG").arg("SET").arg(name).arg(value).to_owned();
        let _: () = set.query_async(&mut raw).await.unwrap();
    }
    let mut rounds: Vec<Round> = Vec::new();
    let (worst, at) = loop {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut raw).await.unwrap();
        let _: () = redis::cmd("SLOWLOG").arg("RESET").query_async(&mut raw).await.unwrap();
        rounds.push(list_and_clear(&pendings, &namespace(0), count, &mut raw).await);
        let worst = worst_every_time(&rounds);
        if rounds.len() == 5 || worst.0 <= bound {
            break worst;
        }
    };
    progress(count);
    let quickest = |of: fn(&Round) -> Duration| ms(rounds.iter().map(of).min().unwrap());
    let sum = |of: fn(&Round) -> u64| rounds.iter().map(of).sum();
    let alone: Vec<_> = rounds.iter().map(|round| format!("{:.1}", ms(round.worst()))).collect();
    verdict(
        format!(
            "{count} pendings in one namespace: listed in {:.0} ms ({} pages), cleared in {:.0} ms; \
             of {} scripts, those that create included, the longest held Redis for {}, bound \
             {:.0} ms (with what else the machine did, the longest of each round: {} ms)",
            quickest(|round| round.listing),
            rounds[0].pages,
            quickest(|round| round.clearing),
            count + rounds[0].pages + count.div_ceil(40),
            if worst.is_zero() {
                "less than 0.5 ms".to_owned()
            } else {
                format!("{:.1} ms, to {at}", ms(worst))
            },
            ms(bound),
            alone.join(", "),
        ),
        &[
            ("listed twice, too many or not at all", sum(|round| round.mislisted)),
            ("cleared twice, too many or not at all", sum(|round| round.miscleared)),
            ("not ended", sum(|round| round.live)),
            ("verbs above the bound in every round", (worst > bound).into()),
        ],
    )
}

/// What came of listing and clearing a namespace.
struct Round {
    /// How long the slowest script held Redis, by verb and hundredth.
    slow: BTreeMap<(&'static str, u64), Duration>,
    listing: Duration,
    pages: u64,
    clearing: Duration,
    mislisted: u64,
    miscleared: u64,
    live: u64,
}

impl Round {
    fn worst(&self) -> Duration {
        self.slow.values().max().copied().unwrap_or_default()
    }
}

/// The longest that Redis was held at the same point in all rounds, and by what.
fn worst_every_time(rounds: &[Round]) -> (Duration, &'static str) {
    let least =
        |at| rounds.iter().map(|round| round.slow.get(at).copied().unwrap_or_default()).min();
    let all = rounds[0].slow.keys().map(|at| (least(at).unwrap_or_default(), at.0));
    all.max().unwrap_or_default()
}

async fn list_and_clear(
    pendings: &Pendings<u64>,
    namespace: &Namespace,
    count: u64,
    raw: &mut redis::aio::MultiplexedConnection,
) -> Round {
    let created = Mutex::new(BTreeMap::new());
    for_each(count, AT_ONCE, async |number| {
        let id = pendings.create(namespace, &Spec::new("form", number)).await.unwrap().id;
        created.lock().unwrap().insert(id, number);
    })
    .await;
    let created = created.into_inner().unwrap();

    let started = Instant::now();
    let (listed, pages) = list_all(pendings, namespace).await;
    let listing = started.elapsed();
    let started = Instant::now();
    let cleared = pendings.clear(namespace).await.unwrap();
    let clearing = started.elapsed();

    let mut live = list_all(pendings, namespace).await.0.len() as u64;
    for id in created.keys().step_by(97) {
        let late = pendings.complete(*id, None, &()).await.unwrap();
        live += u64::from(!matches!(late, Completion::Lost { how: Ending::Cleared, .. }));
    }
    let unlike = |ids: &[PendingId]| {
        let set: BTreeSet<_> = ids.iter().collect();
        let all: BTreeSet<_> = created.keys().collect();
        (ids.len() - set.len() + set.symmetric_difference(&all).count()) as u64
    };
    Round {
        slow: slow_scripts(raw, &created).await,
        listing,
        pages,
        clearing,
        mislisted: unlike(&listed),
        miscleared: unlike(&cleared),
        live,
    }
}

async fn slow_scripts(
    raw: &mut redis::aio::MultiplexedConnection,
    created: &BTreeMap<PendingId, u64>,
) -> BTreeMap<(&'static str, u64), Duration> {
    type Entry = (u64, u64, u64, Vec<Vec<u8>>, String, String);
    let entries: Vec<Entry> =
        redis::cmd("SLOWLOG").arg("GET").arg(-1).query_async(raw).await.unwrap();
    let mut slow = BTreeMap::new();
    for (_, _, held, words, ..) in entries.iter().filter(|entry| entry.3[0] == b"EVALSHA") {
        // By how many keys it has; those that create name their pending in the first.
        let at = match words[2].as_slice() {
            b"1" => ("list", 0),
            b"2" => ("clear", 0),
            _ => {
                let key = String::from_utf8_lossy(&words[3]);
                let id = key.rsplit(':').next().and_then(|id| id.parse().ok());
                let number = id.and_then(|id: PendingId| created.get(&id)).copied();
                ("create", number.unwrap_or_default() * 100 / created.len() as u64)
            }
        };
        let worst = slow.entry(at).or_default();
        *worst = Duration::from_micros(*held).max(*worst);
    }
    slow
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
