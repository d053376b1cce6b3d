//! Many pendings: nothing is left of those that expire, and no script holds Redis for long.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use tokio::time::{Instant, sleep};
use vestibule::{
    pending::{Completion, Dedup, Life, Namespace, Pendings, Spec},
    store::{Ending, PendingId},
};

use super::{AT_ONCE, connect, for_each, list_all, namespace, replica};
use crate::{
    properties::{Progress, Verdict, verdict},
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
    for_each(count, AT_ONCE, |number| {
        let (pendings, namespace) = (&pendings, namespace(number % namespaces));
        async move {
            let mut spec = Spec::new("form", number);
            spec.life = Life::For(LIFE);
            if number.is_multiple_of(2) {
                spec.dedup = Dedup::Key(number.to_string());
            }
            assert!(!pendings.create(&namespace, &spec).await.unwrap().joined);
        }
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
/// longer than `bound`. The time of a script is that of a clock on the wall, other processes
/// included; so where one is above it is done again, up to five times: what the script needs
/// itself, it needs every time.
pub async fn big_namespace(bound: Duration, count: u64, progress: Progress) -> Verdict {
    let server = TestServer::builder().start().await;
    let pendings = replica(&connect(&server.url(), "vst").await, "parent");
    let mut raw = server.raw().await;
    for (name, value) in [("slowlog-log-slower-than", "500"), ("slowlog-max-len", "100000")] {
        let set = redis::cmd("CONFIG").arg("SET").arg(name).arg(value).to_owned();
        let _: () = set.query_async(&mut raw).await.unwrap();
    }
    let mut rounds: Vec<Round> = Vec::new();
    while rounds.len() < 5 && rounds.last().is_none_or(|round| round.worst() > bound) {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut raw).await.unwrap();
        let _: () = redis::cmd("SLOWLOG").arg("RESET").query_async(&mut raw).await.unwrap();
        rounds.push(list_and_clear(&pendings, &namespace(0), count, &mut raw).await);
    }
    progress(count);
    let best = rounds.iter().min_by_key(|round| round.worst()).unwrap();
    let all: Vec<_> = rounds.iter().map(|round| format!("{:.1}", ms(round.worst()))).collect();
    let sum = |of: fn(&Round) -> u64| rounds.iter().map(of).sum();
    verdict(
        format!(
            "{count} pendings in one namespace: listed in {:.0} ms ({} pages), cleared in {:.0} ms; \
             of {} scripts, those that create included, {} held Redis for longer than 1 ms, the \
             longest for {} (bound {:.0} ms; the longest of each round: {})",
            ms(best.listing),
            best.pages,
            ms(best.clearing),
            count + best.pages + count.div_ceil(50),
            best.slow.iter().filter(|(held, _)| ms(*held) > 1.0).count(),
            best.slow.first().map_or_else(
                || "less than 0.5 ms".to_owned(),
                |(held, verb)| format!("{:.1} ms, to {verb}", ms(*held)),
            ),
            ms(bound),
            all.join(", "),
        ),
        &[
            ("listed twice, too many or not at all", sum(|round| round.mislisted)),
            ("cleared twice, too many or not at all", sum(|round| round.miscleared)),
            ("not ended", sum(|round| round.live)),
            ("rounds at the best with a script above the bound", (best.worst() > bound).into()),
        ],
    )
}

/// What came of listing and clearing a namespace.
struct Round {
    /// How long the slow scripts held Redis, and what they were for, the worst first.
    slow: Vec<(Duration, &'static str)>,
    listing: Duration,
    pages: u64,
    clearing: Duration,
    mislisted: u64,
    miscleared: u64,
    live: u64,
}

impl Round {
    fn worst(&self) -> Duration {
        self.slow.first().map_or(Duration::ZERO, |(held, _)| *held)
    }
}

async fn list_and_clear(
    pendings: &Pendings<u64>,
    namespace: &Namespace,
    count: u64,
    raw: &mut redis::aio::MultiplexedConnection,
) -> Round {
    let created = Mutex::new(BTreeSet::new());
    for_each(count, AT_ONCE, |number| {
        let created = &created;
        async move {
            let id = pendings.create(namespace, &Spec::new("form", number)).await.unwrap().id;
            created.lock().unwrap().insert(id);
        }
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
    for id in created.iter().step_by(97) {
        let late = pendings.complete(*id, None, &()).await.unwrap();
        live += u64::from(!matches!(late, Completion::Lost { how: Ending::Cleared, .. }));
    }
    let unlike = |ids: &[PendingId]| {
        let set: BTreeSet<_> = ids.iter().copied().collect();
        (ids.len() - set.len() + set.symmetric_difference(&created).count()) as u64
    };
    Round {
        slow: slow_scripts(raw).await,
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
) -> Vec<(Duration, &'static str)> {
    type Entry = (u64, u64, u64, Vec<Vec<u8>>, String, String);
    let entries: Vec<Entry> =
        redis::cmd("SLOWLOG").arg("GET").arg(-1).query_async(raw).await.unwrap();
    let mut slow: Vec<_> = entries
        .iter()
        .filter(|(_, _, _, words, ..)| words[0] == b"EVALSHA")
        .map(|(_, _, held, words, ..)| {
            // By how many keys it has.
            let verb = match words[2].as_slice() {
                b"1" => "list",
                b"2" => "clear",
                _ => "create",
            };
            (Duration::from_micros(*held), verb)
        })
        .collect();
    slow.sort_unstable_by(|a, b| b.cmp(a));
    slow
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
