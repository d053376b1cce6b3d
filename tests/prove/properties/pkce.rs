//! One winner of every state, whatever happens to processes, replies and futures.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet, time::Instant};
use vestibule::{
    Keys, RequestId,
    pkce::{NotFound, OauthState, PkceError, PkceState, PkceStates, PkceVerifier},
};

use super::{
    Progress, Verdict, connect_with, for_each,
    races::{HERE, PROCESSES, RACERS, Racers, batches},
    verdict,
};
use crate::support::{
    children::Parent,
    proxy::Proxy,
    server::{TestServer, random, with_every_right},
    stopwatch::Stopwatch,
    stores::fresh_prefix,
};

const BATCH: u64 = 100;
/// How long somebody asks again, as the same request: many times the deadline of a verb.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a plain take is tried to be cut off in the middle, until one is.
const TRIES: u32 = 20;

/// How a take is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taker {
    /// Ours, on one server.
    Vestibule,
    /// Ours, through the cluster client, which re-sends by itself.
    VestibuleOnCluster,
    /// What everybody writes first: GETDEL, and once more when the connection broke. Kept to show
    /// that the properties can fail.
    PlainGetdel,
    /// And what some write: GET, then DEL.
    PlainGetThenDel,
}

/// The states of a host with these keys, at a URL.
pub async fn states(url: &str, prefix: &str, keys: &Keys) -> PkceStates {
    connect_with(url, prefix, keys).await.pkce()
}

/// The keys of all tests, so that processes agree on them.
pub fn shared_keys() -> Keys {
    let secret = |byte: &str| format!("{}=", byte.repeat(43));
    Keys::from_toml(&format!(
        "naming_key = \"{}\"\ntoken_pepper = [\"{}\"]\nring = [\"{}\"]",
        secret("A"),
        secret("B").replace("B=", "A="),
        secret("C").replace("C=", "A="),
    ))
    .unwrap()
}

pub fn state(seed: u64, number: u64) -> OauthState {
    OauthState::new(format!("state-{seed:x}-{number}"))
}

pub fn record(number: u64) -> PkceState {
    PkceState::new(format!("c{number}"), PkceVerifier::random())
}

/// 64 racers in four processes take each state: one wins, the others learn that it was taken.
pub async fn one_winner(
    server: &TestServer,
    taker: Taker,
    count: u64,
    progress: Progress,
) -> Verdict {
    let (seed, prefix) = (random(), fresh_prefix());
    let states = states(&server.url(), &prefix, &shared_keys()).await;
    let plain = taker == Taker::PlainGetThenDel;
    let args = json!({ "url": server.url(), "prefix": prefix, "seed": seed, "plain": plain });
    let mut raw = server.raw().await;
    let mut racers = Racers::start("race", args).await;

    let (mut none, mut several, mut other) = (0, 0, 0);
    for batch in batches(count, BATCH) {
        let (first, size) = (batch.start, batch.end - batch.start);
        for number in batch {
            if plain {
                let _: () = raw.set(plain_key(seed, number), number).await.unwrap();
            } else {
                states.put(&state(seed, number), &record(number)).await.unwrap();
            }
        }
        let mut winners = vec![0; size as usize];
        for said in racers.race(&format!("{first} {size}")).await {
            for number in said["won"].as_array().unwrap() {
                winners[(number.as_u64().unwrap() - first) as usize] += 1;
            }
            other += said["other"].as_u64().unwrap();
        }
        none += winners.iter().filter(|won| **won == 0).count() as u64;
        several += winners.iter().filter(|won| **won > 1).count() as u64;
        progress(size);
    }
    verdict(
        format!(
            "{count} states x {RACERS} racers in {PROCESSES} processes, one winner each; seed {seed}"
        ),
        &[("without a winner", none), ("with several", several), ("other outcomes", other)],
    )
}

fn plain_key(seed: u64, number: u64) -> String {
    format!("plain-{seed:x}-{number}")
}

/// The racers of one process; see [`one_winner`].
pub async fn racer(args: Value, mut parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let states = states(&text("url"), &text("prefix"), &shared_keys()).await;
    let (seed, plain) = (args["seed"].as_u64().unwrap(), args["plain"].as_bool().unwrap());
    let client = redis::Client::open(with_every_right(&text("url"))).unwrap();
    let link = client.get_multiplexed_async_connection().await.unwrap();
    parent.ready().await;
    loop {
        let heard = parent.hear().await;
        let (first, batch) = heard.split_once(' ').unwrap();
        let (first, batch): (u64, u64) = (first.parse().unwrap(), batch.parse().unwrap());
        let barrier = Arc::new(Barrier::new(HERE));
        let mut tasks = JoinSet::new();
        for _ in 0..HERE {
            let (states, barrier, mut link) = (states.clone(), barrier.clone(), link.clone());
            tasks.spawn(async move {
                let (mut won, mut other) = (Vec::new(), 0);
                for number in first..first + batch {
                    barrier.wait().await;
                    if plain {
                        let key = plain_key(seed, number);
                        if link.get::<_, Option<u64>>(&key).await.unwrap().is_some() {
                            let _: () = link.del(&key).await.unwrap();
                            won.push(number);
                        }
                        continue;
                    }
                    match states.take(&state(seed, number)).await {
                        Ok(found) if found.connection == format!("c{number}") => won.push(number),
                        Err(PkceError::StateNotFound(NotFound::Replayed { .. })) => {}
                        _ => other += 1,
                    }
                }
                (won, other)
            });
        }
        let (mut won, mut other) = (Vec::new(), 0_u64);
        for (more, others) in tasks.join_all().await {
            won.extend(more);
            other += others;
        }
        parent.say(json!({ "won": won, "other": other }));
    }
}

/// A proxy swallows the replies of a fifth of all commands, which Redis has executed: the value is
/// delivered all the same.
pub async fn lost_replies(taker: Taker, count: u64, progress: Progress) -> Verdict {
    let seed = random();
    let server = TestServer::builder().cluster(taker == Taker::VestibuleOnCluster).start().await;
    let proxy = Proxy::start(server.port());
    let url = if taker == Taker::VestibuleOnCluster {
        proxy.announce_on(&server).await;
        proxy.cluster_url()
    } else {
        proxy.url()
    };
    let keys = shared_keys();
    let direct = states(&server.url(), "vst", &keys).await;
    let through = states(&url, "vst", &keys).await;
    let plain = redis::Client::open(with_every_right(&proxy.url())).unwrap();
    let mut raw = server.raw().await;
    for number in 0..count {
        if taker == Taker::PlainGetdel {
            let _: () = raw.set(format!("plain-{number}"), number).await.unwrap();
        } else {
            direct.put(&state(seed, number), &record(number)).await.unwrap();
        }
    }

    proxy.drop_reply(0.2, seed);
    let watch = Stopwatch::start();
    let [lost, wrong, unknown, slowest] = [(); 4].map(|()| AtomicU64::new(0));
    // Few at a time: a swallowed reply takes all that are in flight on the connection with it.
    for_each(count, 4, async |number| {
        if taker == Taker::PlainGetdel {
            if !plain_take(&plain, number).await {
                lost.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        let (request, state) = (RequestId::random(), state(seed, number));
        let (started, late) = (Instant::now(), watch.late());
        let mut outcome = through.take_as(&request, &state).await;
        while started.elapsed() < PATIENCE && matches!(&outcome, Err(PkceError::Take { .. })) {
            // Not where the machine itself took that time from the deadline.
            let is_late = watch.late() - late > Duration::from_secs(1);
            unknown.fetch_add(u64::from(!is_late), Ordering::Relaxed);
            outcome = through.take_as(&request, &state).await;
        }
        slowest.fetch_max(started.elapsed().as_millis() as u64, Ordering::Relaxed);
        match outcome {
            Ok(found) if found.connection == format!("c{number}") => {}
            Ok(_) => drop(wrong.fetch_add(1, Ordering::Relaxed)),
            Err(_) => drop(lost.fetch_add(1, Ordering::Relaxed)),
        }
        progress(1);
    })
    .await;
    let dropped = proxy.dropped_replies();
    let unknown = unknown.into_inner();
    verdict(
        format!(
            "{count} takes ({taker:?}), {dropped} replies lost, {unknown} unknown to the caller \
             and resolved by the same request id, slowest {} ms; seed {seed}",
            slowest.into_inner()
        ),
        &[
            ("values lost", lost.into_inner()),
            ("wrong values", wrong.into_inner()),
            ("unknown outcomes above 0.1 %", u64::from(unknown > count.div_ceil(1000))),
            ("runs in which no reply was lost", u64::from(dropped < count / 20)),
        ],
    )
}

/// Whether the value was delivered.
async fn plain_take(client: &redis::Client, number: u64) -> bool {
    for _ in 0..20 {
        let Ok(mut link) = client.get_multiplexed_async_connection().await else { continue };
        let taken: Result<Option<u64>, _> =
            redis::cmd("GETDEL").arg(format!("plain-{number}")).query_async(&mut link).await;
        if let Ok(value) = taken {
            return value == Some(number);
        }
    }
    false
}

/// How long a caller waits before it drops its future: some milliseconds, or so many turns of the
/// scheduler, because a timer is coarser than a take.
enum Patience {
    Time(Duration),
    Turns(u64),
}

impl Patience {
    fn random(number: u64) -> Self {
        if number.is_multiple_of(2) {
            Self::Time(Duration::from_micros(random() % 5_000))
        } else {
            Self::Turns(random() % 12)
        }
    }

    /// `None` if it was dropped.
    async fn with<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let give_up = async {
            match self {
                Self::Time(time) => tokio::time::sleep(*time).await,
                Self::Turns(turns) => {
                    for _ in 0..*turns {
                        tokio::task::yield_now().await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            outcome = future => Some(outcome),
            () = give_up => None,
        }
    }
}

/// Takes whose futures are dropped somewhere in their first 5 ms, then asked for again.
pub async fn dropped_futures(
    server: &TestServer,
    taker: Taker,
    count: u64,
    progress: Progress,
) -> Verdict {
    let (seed, prefix) = (random(), fresh_prefix());
    let states = states(&server.url(), &prefix, &shared_keys()).await;
    let raw = redis::Client::open(with_every_right(&server.url())).unwrap();
    let raw = raw.get_multiplexed_async_connection().await.unwrap();
    let [takes, lost, wrong, dropped] = [(); 4].map(|()| AtomicU64::new(0));
    let run = || {
        for_each(count, 32, async |number| {
            takes.fetch_add(1, Ordering::Relaxed);
            let patience = Patience::random(number);
            if taker == Taker::PlainGetdel {
                let (key, mut raw) = (plain_key(seed, number), raw.clone());
                let _: () = raw.set(&key, number).await.unwrap();
                let value: Option<u64> = match patience.with(raw.clone().get_del(&key)).await {
                    Some(taken) => taken.unwrap(),
                    None => {
                        dropped.fetch_add(1, Ordering::Relaxed);
                        raw.get_del(&key).await.unwrap()
                    }
                };
                lost.fetch_add(u64::from(value.is_none()), Ordering::Relaxed);
                return;
            }
            let state = state(seed, number);
            states.put(&state, &record(number)).await.unwrap();
            let request = RequestId::random();
            let outcome = match patience.with(states.take_as(&request, &state)).await {
                Some(outcome) => outcome,
                None => {
                    dropped.fetch_add(1, Ordering::Relaxed);
                    states.take_as(&request, &state).await
                }
            };
            match outcome {
                Ok(found) if found.connection == format!("c{number}") => {}
                Ok(_) => drop(wrong.fetch_add(1, Ordering::Relaxed)),
                Err(_) => drop(lost.fetch_add(1, Ordering::Relaxed)),
            }
            progress(1);
        })
    };
    run().await;
    // Whether a GETDEL is under way just then is luck.
    for _ in 1..TRIES {
        if taker == Taker::PlainGetdel && lost.load(Ordering::Relaxed) == 0 {
            run().await;
        }
    }
    let (takes, dropped) = (takes.into_inner(), dropped.into_inner());
    verdict(
        format!(
            "{takes} takes, {dropped} futures dropped at 0-5 ms, all values delivered; seed {seed}"
        ),
        &[
            ("values lost", lost.into_inner()),
            ("replies mixed up", wrong.into_inner()),
            ("runs in which no future was dropped", u64::from(dropped == 0)),
        ],
    )
}
