//! Temp tokens against the bare commands: one verb at a time, and under load.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use redis::{aio::MultiplexedConnection, cmd, pipe};
use vestibule::{
    Keys, Peppers, Vestibule,
    store::{Revocation, TokenId},
    token::{MintSpec, Minted, Scope, Scopes, TempTokens},
};

use crate::{
    Scale,
    contestants::{PAYLOAD, name, replica, shared},
    pendings::timed,
    rounds::{Medians, Work, median, take_turns, work},
    support::server::TestServer,
    table::{Reach::AtMost, Table},
};

/// How many of a verb follow one another, so that neither contestant meets a cold cache.
const IN_A_ROW: usize = 25;
const ROUNDS: usize = 9;
pub const TASKS: usize = 128;

const TTL: Duration = Duration::from_secs(600);
/// Its tokens are good any number of times.
pub const OPEN: &str = "page";
/// Its tokens are good for so many uses that no bench comes to their end.
const COUNTED: &str = "counted-page";

pub async fn tokens(server: &TestServer, keys: &Keys) -> TempTokens {
    replica(server, keys).await.temp_tokens(scopes())
}

fn scopes() -> Scopes {
    let scopes = Scopes::new();
    let page = |name| {
        let flow = Scope::new(name).with_placeholder("{id}").with_route("GET", "/api/flows/{id}");
        flow.with_max_ttl(TTL)
    };
    scopes.register(page(OPEN)).unwrap();
    scopes.register(page(COUNTED).with_max_uses(100)).unwrap();
    scopes
}

pub fn flow(number: usize) -> String {
    format!("flow-{number:08}")
}

pub async fn mint(tokens: &TempTokens, scope: &str, resource: &str) -> Minted {
    tokens.mint(&MintSpec::new(scope, resource, TTL)).await.unwrap()
}

/// Mints many at once, the `number`th for the resource that is named for it.
pub async fn mint_all(
    tokens: &TempTokens,
    count: usize,
    resource: impl Fn(usize) -> String,
) -> Vec<Held> {
    stream::iter(0..count)
        .map(|number| {
            let resource = resource(number);
            async move { Held::of(mint(tokens, OPEN, &resource).await, &resource) }
        })
        .buffer_unordered(TASKS)
        .collect()
        .await
}

/// A token, and the one request that it is for.
#[derive(Clone)]
pub struct Held {
    pub text: String,
    path: String,
    id: TokenId,
}

impl Held {
    fn of(minted: Minted, resource: &str) -> Self {
        let (text, path) = (minted.token.secret().to_owned(), format!("/api/flows/{resource}"));
        Self { text, path, id: minted.id }
    }

    pub async fn validate(&self, tokens: &TempTokens) -> Option<u32> {
        tokens.validate(&self.text, "GET", &self.path, None).await.unwrap().uses_left
    }

    pub async fn refused(&self, tokens: &TempTokens) -> bool {
        let judged = tokens.validate(&self.text, "GET", &self.path, None).await;
        judged.is_err_and(|error| error.is_refusal())
    }

    /// The key of its record.
    pub fn key(&self) -> String {
        format!("vst:{{{}}}:token:{}", self.id.shard(), self.id.digest())
    }
}

/// One at a time: what a caller waits for.
pub async fn one_at_a_time(table: &mut Table, scale: Scale) {
    const VERBS: [[&str; 2]; 5] = [
        ["validate (1 round trip), opened, p50", "GET of the same record, p50"],
        ["the same while the pepper rotates, p50", "GET of the same record, p50"],
        ["validate a counted use (2 round trips), p50", "GET of the same record, p50"],
        ["mint, p50", "SET NX PX + ZADD, one pipeline, p50"],
        ["revoke one, p50", "DEL + ZREM, one pipeline, p50"],
    ];
    let server = TestServer::for_benches().start().await;
    let (keys, rotated) = rotating();
    let (tokens, rotated) = (tokens(&server, &keys).await, tokens(&server, &rotated).await);
    let bare = Bare { connection: shared(&server).await };
    let mut medians = Medians::new();
    let mut number = 0;
    for round in 0..=ROUNDS {
        let mut samples = [(); VERBS.len()].map(|()| [Vec::new(), Vec::new()]);
        let end = Instant::now() + scale.time(1_000);
        while Instant::now() < end {
            let [validates, rotates, counts, mints, revokes] = &mut samples;
            let (mut open, mut counted) = (Vec::new(), Vec::new());
            let numbers = number..number + IN_A_ROW;
            number = numbers.end;
            for number in numbers.clone() {
                let resource = flow(number);
                let minted = timed(&mut mints[0], mint(&tokens, OPEN, &resource)).await;
                open.push(Held::of(minted, &resource));
            }
            for number in numbers.clone() {
                timed(&mut mints[1], bare.mint(number)).await;
                let resource = flow(number);
                counted.push(Held::of(mint(&tokens, COUNTED, &resource).await, &resource));
            }
            for (tokens, of, [ours, plain], uses) in [
                (&tokens, &open, validates, false),
                (&rotated, &open, rotates, false),
                (&tokens, &counted, counts, true),
            ] {
                for held in of {
                    let left = timed(ours, held.validate(tokens)).await;
                    assert_eq!(left.is_some(), uses);
                }
                for key in of.iter().map(Held::key) {
                    assert!(timed(plain, bare.read(&key)).await > 200);
                }
            }
            for held in &open {
                let revoked = timed(&mut revokes[0], tokens.revoke_id(held.id)).await.unwrap();
                assert_eq!(revoked, Revocation::Revoked);
            }
            for number in numbers {
                timed(&mut revokes[1], bare.revoke(number)).await;
            }
        }
        medians.add(round, samples);
    }
    for (at, ([what, against], (ratio, [ours, plain]))) in
        VERBS.into_iter().zip(medians.compared()).enumerate()
    {
        let (row, measured) =
            (["tokens", what, against], format!("{ours:.1} against {plain:.1} µs"));
        match at {
            0 => table.judge(row, ratio, AtMost(1.3), &measured),
            _ => table.compare(row, ratio, &measured),
        }
    }
}

/// Without a Redis: what of a validation is the library's own.
pub async fn in_memory(table: &mut Table, scale: Scale) {
    let tokens = Vestibule::in_memory().temp_tokens(scopes());
    let held = Held::of(mint(&tokens, OPEN, "flow").await, "flow");
    let calls = scale.count(20_000);
    let mut micros = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..calls {
            assert_eq!(held.validate(&tokens).await, None);
        }
        micros.push(started.elapsed().as_secs_f64() * 1e6 / calls as f64);
    }
    let measured = format!("{:.1} µs", median(micros).unwrap());
    table.tell(["tokens", "validate on the memory store: digest, open, judge", ""], &measured);
}

/// Many at a time: what a process can serve.
pub async fn under_load(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    let tokens = tokens(&server, &Keys::random()).await;
    let held = mint_all(&tokens, 1_000, flow).await;
    let get = reading(&server, &held).await;
    let rounds =
        take_turns(TASKS, scale.time(600), ROUNDS, &[validating(&tokens, held), get]).await;
    let (ours, plain) = (rounds.per_second(0) / 1000.0, rounds.per_second(1) / 1000.0);
    table.compare(
        ["tokens", "validate, 128 tasks", "GET of the same record, same client"],
        rounds.speed(0, 1),
        &format!("{ours:.0} k against {plain:.0} k a second"),
    );
    if let (Some(ratio), Some(ours), Some(plain)) =
        (rounds.cpu(0, 1), rounds.cpu_us(0), rounds.cpu_us(1))
    {
        let measured = format!("{ours:.1} against {plain:.1} µs");
        table.compare(
            ["tokens", "client CPU per validation", "GET, same client"],
            ratio,
            &measured,
        );
    }
}

/// Validates these by turns, far from one another.
pub fn validating(tokens: &TempTokens, held: Vec<Held>) -> Work {
    let (tokens, held) = (tokens.clone(), Arc::<[Held]>::from(held));
    work(move |number| {
        let (tokens, held) = (tokens.clone(), held.clone());
        async move { assert_eq!(held[turn(number, held.len())].validate(&tokens).await, None) }
    })
}

/// Reads their records by turns, likewise.
pub async fn reading(server: &TestServer, held: &[Held]) -> Work {
    let bare = Arc::new(Bare { connection: shared(server).await });
    let keys: Arc<[String]> = held.iter().map(Held::key).collect();
    work(move |number| {
        let (bare, keys) = (bare.clone(), keys.clone());
        async move { assert!(bare.read(&keys[turn(number, keys.len())]).await > 200) }
    })
}

fn turn(number: u64, of: usize) -> usize {
    number.wrapping_mul(7_919) as usize % of
}

/// Keys, and the same with a new pepper in front of theirs.
fn rotating() -> (Keys, Keys) {
    let (keys, new) = (Keys::random(), Keys::random());
    let peppers =
        Peppers { current: new.peppers.current, other: Some(keys.peppers.current.clone()) };
    let rotated = Keys { peppers, ..keys.clone() };
    (keys, rotated)
}

/// The same with plain commands: nothing is sealed, judged or safe to retry.
struct Bare {
    connection: MultiplexedConnection,
}

impl Bare {
    async fn mint(&self, number: usize) {
        let key = name(number as u64);
        let () = pipe()
            .cmd("SET")
            .arg(&key)
            .arg(&[b'p'; PAYLOAD])
            .arg(&["NX", "PX", "600000"])
            .ignore()
            .cmd("ZADD")
            .arg(flow(number))
            .arg(number)
            .arg(&key)
            .ignore()
            .query_async(&mut self.connection.clone())
            .await
            .unwrap();
    }

    async fn read(&self, key: &str) -> usize {
        let found: Vec<u8> =
            cmd("GET").arg(key).query_async(&mut self.connection.clone()).await.unwrap();
        found.len()
    }

    async fn revoke(&self, number: usize) {
        let key = name(number as u64);
        let gone: (u64, u64) = pipe()
            .cmd("DEL")
            .arg(&key)
            .cmd("ZREM")
            .arg(flow(number))
            .arg(&key)
            .query_async(&mut self.connection.clone())
            .await
            .unwrap();
        assert_eq!(gone, (1, 1));
    }
}
