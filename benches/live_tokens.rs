//! What a token costs beside many that live, and what it takes to end ten thousand at once.

use std::time::Instant;

use redis::{aio::MultiplexedConnection, cmd, pipe};
use vestibule::{Keys, token::TempTokens};

use crate::{
    Scale,
    contestants::stored,
    rounds::{Work, load, median},
    store::{grows, slowest_script},
    support::server::TestServer,
    table::{Reach::AtMost, Table},
    tokens::{Held, OPEN, TASKS, flow, mint, mint_all, reading, tokens, validating},
};

const ROUNDS: usize = 7;
/// So many live for each resource: what grows is how many have one.
const FOR_EACH: usize = 10;
/// So many are the library's own; what is above has its layout only.
const OWN: usize = 100_000;
/// The first figures are of so many, the latest, at every size: what grows is how many others live.
const WORKED: usize = 1_000;

pub async fn flat(table: &mut Table, scale: Scale) {
    // The last is more than 2^20: below, Redis would grow its tables while it is measured.
    let sizes = [1_000, 100_000, 1_100_000].map(|size| scale.count(size));
    let at =
        [Beside::new(sizes[0]).await, Beside::new(sizes[1]).await, Beside::new(sizes[2]).await];
    for beside in &at {
        while grows(&beside.server).await {
            load(TASKS, scale.time(300), &beside.worked).await;
        }
    }
    // By turns, at each size: the latest thousand, any, and a bare GET of any.
    let mut micros = [(); 3].map(|()| [(); 3].map(|()| Vec::new()));
    for round in 0..=ROUNDS {
        for (micros, beside) in micros.iter_mut().zip(&at) {
            let works = [&beside.worked, &beside.any, &beside.bare];
            for (micros, work) in micros.iter_mut().zip(works) {
                let done = load(TASKS, scale.time(400), work).await;
                micros.extend((round > 0).then_some(1e6 / done.per_second));
            }
        }
    }
    let at_few = format!("at {}", sizes[0]);
    let grown = |at: usize, work: usize| {
        let ratios = micros[at][work].iter().zip(&micros[0][work]).map(|(many, few)| many / few);
        median(ratios).unwrap()
    };
    let middle = |at: usize, work: usize| median(micros[at][work].iter().copied()).unwrap();
    for (at, size) in [(1, sizes[1]), (2, sizes[2])] {
        table.judge(
            ["tokens", &format!("validate the latest {WORKED} of {size} live tokens"), &at_few],
            grown(at, 0),
            AtMost(1.2),
            &format!("{:.1} against {:.1} µs, {TASKS} tasks", middle(at, 0), middle(0, 0)),
        );
        table.compare(
            ["tokens", &format!("validate any of {} of {size}", size.min(OWN)), &at_few],
            grown(at, 1),
            &format!(
                "{:.1} against {:.1} µs; a bare GET of any grows {:.2}: they are not in the \
                 CPU's caches",
                middle(at, 1),
                middle(0, 1),
                grown(at, 2)
            ),
        );
    }
}

/// A server with so many live tokens, a few for each resource.
struct Beside {
    server: TestServer,
    worked: Work,
    any: Work,
    bare: Work,
}

impl Beside {
    async fn new(size: usize) -> Self {
        let server = TestServer::for_benches().start().await;
        let tokens = tokens(&server, &Keys::random()).await;
        let resource = |number| flow(number / FOR_EACH);
        let mut held = mint_all(&tokens, size.min(OWN).saturating_sub(WORKED), resource).await;
        fill(&mut server.raw().await, size.saturating_sub(OWN)).await;
        let worked = mint_all(&tokens, size.min(WORKED), |number| resource(OWN + number)).await;
        held.extend_from_slice(&worked);
        let bare = reading(&server, &held).await;
        Self { server, worked: validating(&tokens, worked), any: validating(&tokens, held), bare }
    }
}

/// Records and index entries of the library's layout, with ten minutes to live.
async fn fill(raw: &mut MultiplexedConnection, count: usize) {
    let record = stored(&[b's'; 200]);
    let (now, _): (u64, u64) = cmd("TIME").query_async(raw).await.unwrap();
    for first in (0..count).step_by(1_000) {
        let mut batch = pipe();
        for number in first..(first + 1_000).min(count) {
            let (index, digest) = (hex("index", number / FOR_EACH), hex("token", number));
            let tag = &index[..2];
            let record_key = format!("vst:{{{tag}}}:token:{digest}");
            batch.cmd("SET").arg(record_key).arg(&record).arg("PX").arg(660_000).ignore();
            let end = now * 1000 + 600_000 + number as u64;
            let index = format!("vst:{{{tag}}}:tokens:{index}");
            batch.cmd("ZADD").arg(index).arg(end).arg(digest).ignore();
        }
        let () = batch.query_async(raw).await.unwrap();
    }
}

fn hex(what: &str, number: usize) -> String {
    blake3::hash(format!("{what} {number}").as_bytes()).to_hex()[..32].to_owned()
}

/// All tokens of one resource, by dropping their index; against deleting each by its name.
pub async fn ending_many(table: &mut Table, scale: Scale) {
    const RESOURCE: &str = "one-flow";
    let count = scale.count(10_000);
    let server = TestServer::for_benches().start().await;
    let tokens = tokens(&server, &Keys::random()).await;
    let mut raw = server.raw().await;
    for (name, value) in [("slowlog-max-len", "100000"), ("slowlog-log-slower-than", "10")] {
        let () = cmd("CONFIG").arg(&["SET", name, value]).query_async(&mut raw).await.unwrap();
    }
    let (mut ours, mut plain, mut holds) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let held = mint_all(&tokens, count, |_| RESOURCE.to_owned()).await;
        let () = cmd("SLOWLOG").arg("RESET").query_async(&mut raw).await.unwrap();
        let started = Instant::now();
        let revoked = tokens.revoke_resource(OPEN, RESOURCE).await.unwrap();
        let took = started.elapsed();
        assert_eq!(revoked, count as u64);
        assert!(held[count / 2].refused(&tokens).await, "it is valid, though it is revoked");
        if round > 0 {
            holds.push(slowest_script(&mut raw).await as f64);
            ours.push(took.as_secs_f64() * 1e3);
        }

        let started = Instant::now();
        unlink_each(&mut raw, &held).await;
        let took = started.elapsed();
        plain.extend((round > 0).then_some(took.as_secs_f64() * 1e3));
    }
    let ratios = ours.iter().zip(&plain).map(|(ours, plain)| ours / plain);
    let ratio = median(ratios).unwrap();
    let (ours, plain) = (median(ours).unwrap(), median(plain).unwrap());
    table.compare(
        [
            "tokens",
            &format!("revoke all {count} of a resource"),
            "UNLINK of each record, pipelines of 1000",
        ],
        ratio,
        &format!("{ours:.2} against {plain:.1} ms"),
    );
    let worst = holds.iter().copied().fold(0.0, f64::max);
    table.judge(
        ["tokens", &format!("what that holds Redis, its index of {count} dropped"), "1 ms"],
        median(holds).unwrap() / 1000.0,
        AtMost(1.0),
        &format!("{worst:.0} µs in the worst of {ROUNDS}"),
    );
    verbs_hold(table, scale, &tokens, &mut raw).await;
}

async fn unlink_each(raw: &mut MultiplexedConnection, held: &[Held]) {
    for held in held.chunks(1_000) {
        let mut batch = pipe();
        for held in held {
            batch.cmd("UNLINK").arg(held.key()).ignore();
        }
        let () = batch.query_async(raw).await.unwrap();
    }
}

/// The longest that Redis was in one of the other scripts, beside ten thousand of one resource.
async fn verbs_hold(
    table: &mut Table,
    scale: Scale,
    tokens: &TempTokens,
    raw: &mut MultiplexedConnection,
) {
    const RESOURCE: &str = "another-flow";
    let count = scale.count(10_000);
    let mut worst = Vec::new();
    for _ in 0..5 {
        mint_all(tokens, count, |_| RESOURCE.to_owned()).await;
        mint_all(tokens, count, flow).await;
        let () = cmd("SLOWLOG").arg("RESET").query_async(raw).await.unwrap();
        // One at a time: with more, Redis is put aside in the middle of a script.
        for _ in 0..scale.count(1_000) {
            let minted = mint(tokens, OPEN, RESOURCE).await;
            tokens.revoke_id(minted.id).await.unwrap();
            tokens.list(OPEN, RESOURCE, None, 100).await.unwrap();
        }
        assert!(tokens.revoke_scope(OPEN).await.unwrap().tokens >= 2 * count as u64);
        worst.push(slowest_script(raw).await);
    }
    worst.sort_unstable();
    let (middle, most) = (worst[worst.len() / 2], worst[worst.len() - 1]);
    table.judge(
        [
            "tokens",
            &format!("mint, revoke, list beside {count} of one resource, revoke {} in all: the worst hold", 2 * count),
            "1 ms",
        ],
        middle as f64 / 1000.0,
        AtMost(1.0),
        &format!("{middle} µs, the median of the worst of 5 rounds; {most} µs in the worst round"),
    );
}
