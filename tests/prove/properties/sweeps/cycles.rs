//! Everything that is short-lived, made and ended in all ways by processes that are killed: nothing
//! stays.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Vestibule,
    pending::{Life, Namespace, Pendings, PendingsConfig, Spec},
    pkce::PkceStates,
    sweep::Expired,
    token::{MintSpec, Scope, Scopes, TempTokens},
};

use super::{connect, for_each};
use crate::{
    properties::{
        Progress, Verdict,
        pkce::{record, state},
        verdict,
    },
    support::{
        ageing::age_lives,
        children::{self, Parent},
        server::{TestServer, random},
    },
};

const PROCESSES: usize = 3;
/// How many cycles a process does between two words to its parent.
const STRIDE: u64 = 500;
const LIFE: Duration = Duration::from_secs(300);
/// What Redis holds besides, so that two parts in a hundred mean something.
const FILLING: usize = 56_000;

/// So many cycles, in processes of which one is killed again and again. What is left of them when
/// their lives are over is what was there before: the same keys, and the same memory within 2 %.
pub async fn leave_nothing(count: u64, kills: u64, progress: Progress) -> Verdict {
    let seed = random();
    let server = TestServer::builder().cluster(false).start().await;
    let mut raw = server.raw().await;
    fill(&mut raw).await;
    let vestibule = connect(&server.url(), "vst").await;
    // Scripts and tables are there before it counts.
    let warm = Cycles::new(&vestibule, seed, 0);
    for_each(2_000, |number| warm.turn(number)).await;
    let before = settled(&vestibule, &mut raw).await;

    let started = Instant::now();
    let args =
        |generation: u64| json!({ "url": server.url(), "seed": seed, "generation": generation });
    let mut children = Vec::new();
    for generation in 1..=PROCESSES as u64 {
        children.push(children::spawn("cycle", &args(generation)).await);
    }
    let (mut done, mut killed) = (0, 0);
    let mut generation = PROCESSES as u64;
    while done < count {
        for child in &mut children {
            done += child.next().await.and_then(|said| said.as_u64()).expect("it counts");
        }
        progress((PROCESSES as u64) * STRIDE);
        if killed < kills && done >= count * killed / kills {
            sleep(Duration::from_micros(random() % 20_000)).await;
            let at = (random() % PROCESSES as u64) as usize;
            children[at].kill9().await;
            killed += 1;
            generation += 1;
            children[at] = children::spawn("cycle", &args(generation)).await;
        }
    }
    for child in &mut children {
        child.kill9().await;
    }
    let took = started.elapsed();
    let peak = Left::now(&mut raw).await;
    let after = settled(&vestibule, &mut raw).await;
    let grown = after.memory as f64 / before.memory as f64 - 1.0;
    verdict(
        format!(
            "{done} cycles of a state, a pending and a token, {killed} kills and {PROCESSES} at the \
             end, in {:.0} s: {} keys and {:.1} MB at the peak; when their lives are over {} keys \
             where {} were, and {:+.2} % over {:.1} MB, besides tables of {:.1} MB where {:.1} MB \
             were; seed {seed}",
            took.as_secs_f64(),
            peak.keys,
            mb(peak.memory),
            after.keys,
            before.keys,
            grown * 100.0,
            mb(before.memory),
            mb(after.tables),
            mb(before.tables),
        ),
        &[
            ("keys more or fewer than before", after.keys.abs_diff(before.keys)),
            (
                "parts in a hundred of memory more",
                if grown > 0.02 { (grown * 100.0) as u64 } else { 0 },
            ),
            ("baselines below 50 MB", u64::from(before.memory < 50_000_000)),
            ("tables that are not measured", u64::from(before.tables == 0 || after.tables == 0)),
            ("tables beyond ten times", u64::from(after.tables > before.tables * 10)),
        ],
    )
}

/// What Redis holds.
struct Left {
    keys: u64,
    /// Without [`tables`](Self::tables).
    memory: u64,
    /// The hash tables of the databases, which Redis lets shrink only when nine tenths of them are
    /// empty: after a peak they are up to ten times as large as their keys need, and no more.
    tables: u64,
}

impl Left {
    async fn now(raw: &mut MultiplexedConnection) -> Self {
        let keys = redis::cmd("DBSIZE").query_async(raw).await.unwrap();
        let info: String = redis::cmd("INFO").arg("memory").query_async(raw).await.unwrap();
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        let stats = redis::cmd("MEMORY").arg("STATS").query_async(raw).await.unwrap();
        let tables =
            named(&stats, "overhead.hashtable.main") + named(&stats, "overhead.hashtable.expires");
        Self { keys, memory: used.trim().parse::<u64>().unwrap() - tables, tables }
    }
}

/// The number of that name in a reply of names and values, however deep.
fn named(reply: &redis::Value, name: &str) -> u64 {
    let of = |key: &redis::Value, value: &redis::Value| match (key, value) {
        (redis::Value::BulkString(key), redis::Value::Int(number)) if key == name.as_bytes() => {
            *number as u64
        }
        (_, inner) => named(inner, name),
    };
    match reply {
        redis::Value::Array(items) => {
            items.chunks_exact(2).map(|pair| of(&pair[0], &pair[1])).sum()
        }
        redis::Value::Map(pairs) => pairs.iter().map(|(key, value)| of(key, value)).sum(),
        _ => 0,
    }
}

/// What it holds once all lives are over, and it has tidied up after itself.
async fn settled(vestibule: &Vestibule, raw: &mut MultiplexedConnection) -> Left {
    let expired = Expired::new(vestibule.temp_tokens(scopes()));
    let swept = expired.pass(vestibule, &CancellationToken::new()).await;
    assert_eq!(swept.errors, 0, "{swept:?}");
    // The sweep's own records live for a week: that it was done is known for so long.
    age_lives(raw, "vst", Duration::from_secs(8 * 24 * 3600)).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut last = Left::now(raw).await;
    loop {
        sleep(Duration::from_millis(1500)).await;
        let now = Left::now(raw).await;
        // Its tables shrink a little at a time.
        let still = now.keys == last.keys && now.memory.abs_diff(last.memory) < 100_000;
        last = now;
        if still || Instant::now() > deadline {
            return last;
        }
    }
}

async fn fill(raw: &mut MultiplexedConnection) {
    for first in (0..FILLING).step_by(1000) {
        let mut some = redis::pipe();
        for number in first..first + 1000 {
            some.set(format!("filling:{number}"), vec![b'x'; 1000]).ignore();
        }
        some.query_async::<()>(raw).await.unwrap();
    }
}

fn scopes() -> Scopes {
    let scopes = Scopes::new();
    scopes.register(Scope::new("page").with_route("GET", "/page").with_max_ttl(LIFE)).unwrap();
    scopes
}

/// What one process does, over and over.
struct Cycles {
    states: PkceStates,
    pendings: Pendings<u64>,
    tokens: TempTokens,
    seed: u64,
    generation: u64,
}

impl Cycles {
    fn new(vestibule: &Vestibule, seed: u64, generation: u64) -> Self {
        let states = vestibule.pkce();
        let pendings = vestibule.pendings(PendingsConfig::default());
        Self { states, pendings, tokens: vestibule.temp_tokens(scopes()), seed, generation }
    }

    /// One of each, ended or not, in turn.
    async fn turn(&self, number: u64) {
        let state = state(self.seed, self.generation << 32 | number);
        self.states.put(&state, &record(number)).await.unwrap();
        if !number.is_multiple_of(4) {
            self.states.take(&state).await.unwrap();
        }
        let namespace = Namespace::new(format!("person-{}@example.com", number % 50)).unwrap();
        let mut spec = Spec::new("form", number);
        spec.life = Life::For(LIFE);
        let id = self.pendings.create(&namespace, &spec).await.unwrap().id;
        match number % 3 {
            0 => drop(self.pendings.complete(id, None, &()).await.unwrap()),
            1 => drop(self.pendings.cancel(id, None).await.unwrap()),
            _ => {}
        }
        let resource = format!("resource-{}", number % 1000);
        let minted = self.tokens.mint(&MintSpec::new("page", resource, LIFE)).await.unwrap();
        if number.is_multiple_of(3) {
            self.tokens.revoke(minted.token.secret()).await.unwrap();
        }
    }
}

/// Does cycles until it is killed; see [`leave_nothing`].
pub async fn cycler(args: Value, parent: Parent) {
    let number = |name: &str| args[name].as_u64().unwrap();
    let vestibule = connect(args["url"].as_str().unwrap(), "vst").await;
    let cycles = Cycles::new(&vestibule, number("seed"), number("generation"));
    for stride in 0_u64.. {
        for_each(STRIDE, |number| cycles.turn(stride * STRIDE + number)).await;
        parent.say(STRIDE);
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
