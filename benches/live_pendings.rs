//! What a pending costs beside many that live, and how long its scripts hold Redis.

use std::time::Instant;

use redis::{aio::MultiplexedConnection, cmd, pipe};

use crate::{
    Scale,
    contestants::stored,
    pendings::{Prompts, create, cycle, namespace, prompts, timed},
    rounds::{Work, load, median, take_turns},
    store::{grows, slowest_script},
    support::server::TestServer,
    table::{Reach::AtMost, Table},
};

const TASKS: usize = 128;
const ROUNDS: usize = 7;
const PAGE: u16 = 100;
/// So many live in each namespace: what grows is how many have one.
const IN_EACH: usize = 10;
/// The load goes to the first so many of them.
const WORKED: u64 = 100;

pub async fn flat(table: &mut Table, scale: Scale) {
    // The last is more than 2^20: below, Redis would grow its tables while it is measured.
    let sizes = [1_000, 100_000, 1_100_000].map(|size| scale.count(size));
    let at =
        [Beside::new(sizes[0]).await, Beside::new(sizes[1]).await, Beside::new(sizes[2]).await];
    let [.., most] = &at;
    most.fill().await;
    while grows(&most.server).await {
        load(TASKS, scale.time(300), &most.work).await;
    }
    let mut micros = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        // Their own tombstones would soon make many of few.
        at[0].fill().await;
        at[1].fill().await;
        for (micros, beside) in micros.iter_mut().zip(&at) {
            let done = load(TASKS, scale.time(500), &beside.work).await;
            micros.extend((round > 0).then_some(1e6 / done.per_second / 3.0));
        }
    }
    for (at, size) in [(1, sizes[1]), (2, sizes[2])] {
        let ratios = micros[at].iter().zip(&micros[0]).map(|(many, few)| many / few);
        let many = median(micros[at].iter().copied()).unwrap();
        let few = median(micros[0].iter().copied()).unwrap();
        table.judge(
            [
                "pendings",
                &format!("create + get + complete at {size} live pendings"),
                &format!("at {}", sizes[0]),
            ],
            median(ratios).unwrap(),
            AtMost(1.2),
            &format!("{many:.1} against {few:.1} µs per verb, {TASKS} tasks"),
        );
    }
    worst_hold(table, scale, most).await;
}

/// A server with so many live pendings, a few in each namespace.
struct Beside {
    server: TestServer,
    prompts: Prompts,
    work: Work,
    size: usize,
    /// The digests of those that are worked in.
    worked: Vec<String>,
}

impl Beside {
    async fn new(size: usize) -> Self {
        let server = TestServer::for_benches().start().await;
        let prompts = prompts(&server).await;
        let mut worked = Vec::new();
        for number in 0..WORKED {
            worked.push(digest(&prompts, number).await);
        }
        let work = cycle(prompts.clone(), 0..WORKED, true);
        Self { server, prompts, work, size, worked }
    }

    /// Leaves nothing but its live pendings.
    async fn fill(&self) {
        let mut raw = self.server.raw().await;
        let () = cmd("FLUSHALL").query_async(&mut raw).await.unwrap();
        let namespaces = (self.size / IN_EACH).max(self.worked.len());
        let spread = |number: usize| {
            let number = number % namespaces;
            self.worked.get(number).cloned().unwrap_or_else(|| hex(("namespace", number)))
        };
        fill(&mut raw, self.size, spread).await;
    }
}

/// The digest of a namespace, as keys have it.
async fn digest(prompts: &Prompts, number: u64) -> String {
    create(prompts, &namespace(number)).await.to_string()[..32].to_owned()
}

/// Records and index entries of the library's layout, with ten minutes to live.
async fn fill(raw: &mut MultiplexedConnection, count: usize, namespace: impl Fn(usize) -> String) {
    let record = stored(&[b's'; 200]);
    let (now, _): (u64, u64) = cmd("TIME").query_async(raw).await.unwrap();
    for first in (0..count).step_by(1_000) {
        let mut batch = pipe();
        for number in first..(first + 1_000).min(count) {
            let digest = namespace(number);
            let shard = &digest[..2];
            let id = format!("{digest}{}", hex(("pending", number)));
            let record_key = format!("vst:{{{shard}}}:pending:{id}");
            batch.cmd("SET").arg(record_key).arg(&record).arg("PX").arg(660_000).ignore();
            let index = format!("vst:{{{shard}}}:pendings:{digest}");
            let end = now * 1000 + 600_000 + number as u64;
            batch.cmd("ZADD").arg(index).arg(end).arg(id).ignore();
        }
        let () = batch.query_async(raw).await.unwrap();
    }
}

fn hex(what: (&str, usize)) -> String {
    blake3::hash(format!("{what:?}").as_bytes()).to_hex()[..32].to_owned()
}

/// The longest that Redis was in one script: verbs, pages of the largest size, and clearing.
async fn worst_hold(table: &mut Table, scale: Scale, beside: &Beside) {
    let mut raw = beside.server.raw().await;
    for (name, value) in [("slowlog-max-len", "100000"), ("slowlog-log-slower-than", "100")] {
        let () = cmd("CONFIG").arg(&["SET", name, value]).query_async(&mut raw).await.unwrap();
    }
    let mut worst = Vec::new();
    for round in 0..5 {
        let () = cmd("SLOWLOG").arg("RESET").query_async(&mut raw).await.unwrap();
        // One at a time: with more, Redis is put aside in the middle of a script.
        take_turns(1, scale.time(400), 1, std::slice::from_ref(&beside.work)).await;
        // Another one each time: what is cleared is gone.
        let number = WORKED + round;
        let (cleared, digest) = (namespace(number), digest(&beside.prompts, number).await);
        fill(&mut raw, 1_000, |_| digest.clone()).await;
        let mut cursor = None;
        loop {
            let page = beside.prompts.list(&cleared, cursor, PAGE).await.unwrap();
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert!(!beside.prompts.clear(&cleared).await.unwrap().is_empty());
        worst.push(slowest_script(&mut raw).await);
    }
    worst.sort_unstable();
    table.judge(
        [
            "pendings",
            &format!("one script's worst hold of Redis, at {} live pendings", beside.size),
            "1 ms",
        ],
        worst[worst.len() / 2] as f64 / 1000.0,
        AtMost(1.0),
        &format!(
            "{} µs, the median of the worst of 5 rounds of all verbs, pages of 100 and clearing by \
             40; {} µs in the worst round",
            worst[worst.len() / 2],
            worst[worst.len() - 1]
        ),
    );
}

/// What the size of one namespace costs: a page from its middle, and the verbs in it.
pub async fn one_namespace(table: &mut Table, scale: Scale) {
    let sizes = [1_000, scale.count(100_000).max(1_000)];
    let server = TestServer::for_benches().start().await;
    let prompts = prompts(&server).await;
    let mut middles = Vec::new();
    for (number, size) in [0, 1].into_iter().zip(sizes) {
        let (namespace, digest) = (namespace(number), digest(&prompts, number).await);
        fill(&mut server.raw().await, size, |_| digest.clone()).await;
        let mut cursor = None;
        for _ in 0..size / usize::from(PAGE) / 2 {
            cursor = prompts.list(&namespace, cursor, PAGE).await.unwrap().next;
        }
        middles.push((namespace, cursor));
    }
    let mut medians = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        let mut samples = [Vec::new(), Vec::new()];
        let end = Instant::now() + scale.time(300);
        while Instant::now() < end {
            for (samples, (namespace, cursor)) in samples.iter_mut().zip(&middles) {
                for _ in 0..25 {
                    let page = prompts.list(namespace, cursor.clone(), PAGE);
                    assert_eq!(timed(samples, page).await.unwrap().ids.len(), usize::from(PAGE));
                }
            }
        }
        for (medians, samples) in medians.iter_mut().zip(samples) {
            medians.extend((round > 0).then(|| median(samples).unwrap()));
        }
    }
    let ratios = medians[1].iter().zip(&medians[0]).map(|(many, few)| many / few);
    let ratio = median(ratios).unwrap();
    let [few, many] = medians.map(|medians| median(medians).unwrap());
    table.judge(
        [
            "pendings",
            &format!("list a page of {PAGE} from the middle of {}, p50", sizes[1]),
            &format!("of {}, p50", sizes[0]),
        ],
        ratio,
        AtMost(1.2),
        &format!("{many:.0} against {few:.0} µs"),
    );
    let within = [cycle(prompts.clone(), 0..1, true), cycle(prompts, 1..2, true)];
    let rounds = take_turns(TASKS, scale.time(500), ROUNDS, &within).await;
    let micros = |one| 1e6 / rounds.per_second(one) / 3.0;
    table.compare(
        [
            "pendings",
            &format!("create + get + complete in a namespace of {}", sizes[1]),
            &format!("of {}", sizes[0]),
        ],
        rounds.speed(0, 1),
        &format!("{:.1} against {:.1} µs per verb, {TASKS} tasks", micros(1), micros(0)),
    );
}
