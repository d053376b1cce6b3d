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

use crate::{
    properties::{
        AT_ONCE, Progress, Verdict, connect, for_each,
        pkce::{record, state},
        verdict,
    },
    support::{
        ageing::{age_indexes, age_lives},
        children::{self, Parent},
        server::{TestServer, random},
    },
};

const PROCESSES: usize = 3;
/// How many cycles a process does between two words to its parent.
const STRIDE: u64 = 500;
const LIFE: Duration = Duration::from_secs(300);
/// So much time passes after so many cycles.
const PASSES: Duration = Duration::from_secs(330);
const AGED_EVERY: u64 = 10_000;
/// What Redis holds besides, so that two parts in a hundred mean something.
const FILLING: usize = 400_000;

/// So many cycles, in processes of which one is killed again and again, while time passes. What is
/// left of them when their lives are over is what was there before: the same keys, and all the memory
/// that Redis has, its own tables too, within 2 %.
pub async fn leave_nothing(count: u64, kills: u64, progress: Progress) -> Verdict {
    let seed = random();
    let server = TestServer::builder().cluster(false).start().await;
    let mut raw = server.raw().await;
    fill(&mut raw).await;
    let vestibule = connect(&server.url(), "vst").await;
    // Scripts and tables are there before it counts.
    let warm = Cycles::new(&vestibule, seed, 0);
    for_each(2_000, AT_ONCE, async |number| warm.turn(number).await).await;
    let before = settled(&vestibule, &mut raw).await;

    let started = Instant::now();
    let args =
        |generation: u64| json!({ "url": server.url(), "seed": seed, "generation": generation });
    let mut children = Vec::new();
    for generation in 1..=PROCESSES as u64 {
        children.push(children::spawn("cycle", &args(generation)).await);
    }
    let (mut done, mut killed, mut aged, mut peak) = (0, 0, 0, Left::now(&mut raw).await);
    let mut generation = PROCESSES as u64;
    while done < count {
        for child in &mut children {
            done += child.next().await.and_then(|said| said.as_u64()).expect("it counts");
        }
        progress((PROCESSES as u64) * STRIDE);
        if done >= (aged + 1) * AGED_EVERY.min(count / 4) {
            let now = Left::now(&mut raw).await;
            peak = if now.keys > peak.keys { now } else { peak };
            age_lives(&mut raw, "vst", PASSES).await;
            age_indexes(&mut raw, "vst", PASSES).await;
            aged += 1;
        }
        for child in &mut children {
            child.tell("on").await;
        }
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
    let after = settled(&vestibule, &mut raw).await;
    let grown = after.memory as f64 / before.memory as f64 - 1.0;
    verdict(
        format!(
            "{done} cycles of a state, a pending and a token, {killed} kills and {PROCESSES} at the \
             end, in {:.0} s in which {:.1} h passed: {} keys and {:.1} MB at the peak; when their \
             lives are over {} keys where {} were, and {:+.2} % over {:.1} MB; seed {seed}",
            took.as_secs_f64(),
            PASSES.as_secs_f64() * aged as f64 / 3600.0,
            peak.keys,
            mb(peak.memory),
            after.keys,
            before.keys,
            grown * 100.0,
            mb(before.memory),
        ),
        &[
            ("keys more or fewer than before", after.keys.abs_diff(before.keys)),
            (
                "parts in a hundred of memory more",
                if grown > 0.02 { (grown * 100.0) as u64 } else { 0 },
            ),
            ("baselines below 50 MB", u64::from(before.memory < 50_000_000)),
            ("runs in which no time passed", u64::from(aged == 0)),
        ],
    )
}

/// What Redis holds, all in all.
struct Left {
    keys: u64,
    memory: u64,
}

impl Left {
    async fn now(raw: &mut MultiplexedConnection) -> Self {
        let keys = redis::cmd("DBSIZE").query_async(raw).await.unwrap();
        let info: String = redis::cmd("INFO").arg("memory").query_async(raw).await.unwrap();
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        Self { keys, memory: used.trim().parse().unwrap() }
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
            some.set(format!("filling:{number}"), "x".repeat(60)).ignore();
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

/// Does cycles until it is killed, so many at a word; see [`leave_nothing`].
pub async fn cycler(args: Value, mut parent: Parent) {
    let number = |name: &str| args[name].as_u64().unwrap();
    let vestibule = connect(args["url"].as_str().unwrap(), "vst").await;
    let cycles = Cycles::new(&vestibule, number("seed"), number("generation"));
    for stride in 0_u64.. {
        for_each(STRIDE, AT_ONCE, async |number| cycles.turn(stride * STRIDE + number).await).await;
        parent.say(STRIDE);
        parent.hear().await;
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
