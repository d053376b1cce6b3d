//! Pendings against the bare commands: one verb at a time, under load, and the way to who waits.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use redis::{aio::MultiplexedConnection, cmd, pipe};
use vestibule::{
    Keys,
    pending::{Completion, Namespace, Pendings, PendingsConfig, Spec, Waited},
    store::PendingId,
};

use crate::{
    Scale,
    contestants::{PAYLOAD, name, replica, shared},
    rounds::{Medians, Work, quantile, take_turns, work},
    support::server::TestServer,
    table::Table,
};

/// How many of a verb follow one another, so that neither contestant meets a cold cache.
const IN_A_ROW: usize = 25;
const ROUNDS: usize = 9;
const PAGE: u16 = 100;

/// The pendings of the benches; the payload is what makes a record as long as the other benches'.
pub type Prompts = Pendings<String>;

pub async fn prompts(server: &TestServer) -> Prompts {
    prompts_of(server, &Keys::random()).await
}

async fn prompts_of(server: &TestServer, keys: &Keys) -> Prompts {
    replica(server, keys).await.pendings(PendingsConfig::default())
}

pub fn namespace(number: u64) -> Namespace {
    Namespace::new(format!("namespace-{number}")).unwrap()
}

pub async fn create(prompts: &Prompts, namespace: &Namespace) -> PendingId {
    let spec = Spec::new("form", "p".repeat(200));
    prompts.create(namespace, &spec).await.unwrap().id
}

pub async fn complete(prompts: &Prompts, id: PendingId) {
    let done = prompts.complete(id, None, &"approved").await.unwrap();
    assert!(matches!(done, Completion::Won(_)));
}

/// One at a time: what a caller waits for.
pub async fn one_at_a_time(table: &mut Table, scale: Scale) {
    const VERBS: [[&str; 2]; 4] = [
        ["create a pending, p50", "SET NX + ZADD, one pipeline, p50"],
        ["get it, opened, p50", "GET, p50"],
        ["complete it with an answer, p50", "GETDEL, p50"],
        ["list a page of 100 of 1000, p50", "ZRANGEBYSCORE LIMIT 0 100, p50"],
    ];
    let server = TestServer::for_benches().start().await;
    let (prompts, bare) = (prompts(&server).await, Bare::new(&server).await);
    let (own, listed) = (namespace(0), namespace(1));
    for number in 0..1_000 {
        create(&prompts, &listed).await;
        bare.index("listed", number).await;
    }
    let mut medians = Medians::new();
    for round in 0..=ROUNDS {
        let mut samples = [(); VERBS.len()].map(|()| [Vec::new(), Vec::new()]);
        let end = Instant::now() + scale.time(800);
        let mut number = 0;
        while Instant::now() < end {
            let [creates, gets, completes, lists] = &mut samples;
            let mut ids = Vec::new();
            for _ in 0..IN_A_ROW {
                ids.push(timed(&mut creates[0], create(&prompts, &own)).await);
            }
            let numbers = number..number + IN_A_ROW as u64;
            number = numbers.end;
            for number in numbers.clone() {
                timed(&mut creates[1], bare.create(number)).await;
            }
            for id in &ids {
                assert!(timed(&mut gets[0], prompts.get(*id)).await.unwrap().is_some());
            }
            for number in numbers.clone() {
                timed(&mut gets[1], bare.read("GET", number)).await;
            }
            for id in &ids {
                timed(&mut completes[0], complete(&prompts, *id)).await;
            }
            for number in numbers {
                timed(&mut completes[1], bare.read("GETDEL", number)).await;
            }
            for _ in 0..IN_A_ROW {
                let page = timed(&mut lists[0], prompts.list(&listed, None, PAGE)).await.unwrap();
                assert_eq!(page.ids.len(), usize::from(PAGE));
            }
            for _ in 0..IN_A_ROW {
                timed(&mut lists[1], bare.page()).await;
            }
        }
        bare.forget().await;
        medians.add(round, samples);
    }
    for ([what, against], (ratio, [ours, plain])) in VERBS.into_iter().zip(medians.compared()) {
        let measured = format!("{ours:.0} against {plain:.0} µs");
        table.compare(["pendings", what, against], ratio, &measured);
    }
}

/// Many at a time: what a process can serve.
pub async fn under_load(table: &mut Table, scale: Scale) {
    const TASKS: usize = 128;
    let server = TestServer::for_benches().start().await;
    let contestants = [cycle(prompts(&server).await, 0..100, false), bare_cycle(&server).await];
    let rounds = take_turns(TASKS, scale.time(600), ROUNDS, &contestants).await;
    let kops = |one| rounds.per_second(one) * 2.0 / 1000.0;
    table.compare(
        [
            "pendings",
            "sealed, idempotent create + complete, 128 tasks",
            "SET NX + ZADD, GETDEL + ZREM, same client",
        ],
        rounds.speed(0, 1),
        &format!("{:.0} k against {:.0} k verbs/s", kops(0), kops(1)),
    );
}

/// Create, perhaps get, then complete, in these namespaces by turns.
pub fn cycle(prompts: Prompts, namespaces: Range<u64>, gets: bool) -> Work {
    work(move |number| {
        let prompts = prompts.clone();
        let namespace = namespace(namespaces.start + number % (namespaces.end - namespaces.start));
        async move {
            let id = create(&prompts, &namespace).await;
            if gets {
                assert!(prompts.get(id).await.unwrap().is_some());
            }
            complete(&prompts, id).await;
        }
    })
}

async fn bare_cycle(server: &TestServer) -> Work {
    let bare = Arc::new(Bare::new(server).await);
    work(move |number| {
        let bare = bare.clone();
        async move {
            bare.create(number).await;
            let (taken, _): (Vec<u8>, u64) = pipe()
                .cmd("GETDEL")
                .arg(name(number))
                .cmd("ZREM")
                .arg("index")
                .arg(name(number))
                .query_async(&mut bare.connection.clone())
                .await
                .unwrap();
            assert_eq!(taken.len(), PAYLOAD);
        }
    })
}

/// From the call that completes, on one replica, to the return of the wait, on another.
pub async fn waking(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    let keys = Keys::random();
    let (here, there) = (prompts_of(&server, &keys).await, prompts_of(&server, &keys).await);
    let mut bare = shared(&server).await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut pubsub = client.get_async_pubsub().await.unwrap();
    pubsub.subscribe("bare").await.unwrap();
    let mut messages = pubsub.on_message();

    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    let count = scale.count(4_000);
    // The first ones wait for the subscription too.
    for number in 0..count + 20 {
        let id = create(&here, &namespace(0)).await;
        let waits = there.clone();
        let waiter = tokio::spawn(async move {
            let waited = waits.wait::<String>(id, Duration::from_secs(30)).await.unwrap();
            assert!(matches!(waited, Waited::Completed { .. }));
            Instant::now()
        });
        while here.waiters(id).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let started = Instant::now();
        complete(&here, id).await;
        let took = waiter.await.unwrap() - started;

        let started = Instant::now();
        let told: u64 = cmd("PUBLISH").arg("bare").arg("x").query_async(&mut bare).await.unwrap();
        messages.next().await.unwrap();
        let told_in = started.elapsed();
        assert_eq!(told, 1);
        if number >= 20 {
            ours.push(took.as_secs_f64() * 1e6);
            plain.push(told_in.as_secs_f64() * 1e6);
        }
    }
    for (word, part) in [("p50", 0.5), ("p99", 0.99)] {
        let (ours, plain) = (
            quantile(ours.iter().copied(), part).unwrap(),
            quantile(plain.iter().copied(), part).unwrap(),
        );
        table.compare(
            [
                "pendings",
                &format!("completed here, its wait returns there, {word}"),
                &format!("PUBLISH to message, {word}"),
            ],
            ours / plain,
            &format!("{ours:.0} against {plain:.0} µs, {count} times, one at a time"),
        );
    }
}

/// The same with plain commands: nothing is sealed, judged or safe to retry, and nobody is woken.
struct Bare {
    connection: MultiplexedConnection,
    payload: Vec<u8>,
}

impl Bare {
    async fn new(server: &TestServer) -> Self {
        Self { connection: shared(server).await, payload: vec![b'p'; PAYLOAD] }
    }

    async fn create(&self, number: u64) {
        let key = name(number);
        let () = pipe()
            .cmd("SET")
            .arg(&key)
            .arg(&self.payload)
            .arg(&["NX", "PX", "600000"])
            .ignore()
            .cmd("ZADD")
            .arg("index")
            .arg(number)
            .arg(&key)
            .ignore()
            .query_async(&mut self.connection.clone())
            .await
            .unwrap();
    }

    async fn index(&self, index: &str, number: u64) {
        let mut add = cmd("ZADD");
        add.arg(index).arg(number).arg(name(number));
        let () = add.query_async(&mut self.connection.clone()).await.unwrap();
    }

    async fn read(&self, command: &str, number: u64) {
        let mut read = cmd(command);
        read.arg(name(number));
        let found: Vec<u8> = read.query_async(&mut self.connection.clone()).await.unwrap();
        assert_eq!(found.len(), PAYLOAD);
    }

    async fn page(&self) {
        let mut page = cmd("ZRANGEBYSCORE");
        page.arg(&["listed", "0", "+inf", "LIMIT", "0", "100"]);
        let ids: Vec<String> = page.query_async(&mut self.connection.clone()).await.unwrap();
        assert_eq!(ids.len(), usize::from(PAGE));
    }

    /// What [`read`](Self::read) left of the index.
    async fn forget(&self) {
        let () = cmd("DEL").arg("index").query_async(&mut self.connection.clone()).await.unwrap();
    }
}

/// Adds how long it took, in µs.
pub async fn timed<T>(into: &mut Vec<f64>, verb: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let done = verb.await;
    into.push(started.elapsed().as_secs_f64() * 1e6);
    done
}
