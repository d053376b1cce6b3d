//! No wake-up is lost, whatever happens to subscriptions and to Redis.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicU64,
    time::Duration,
};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use vestibule::{
    pending::{Completion, Pendings, Spec, Waited},
    store::{Ending, PendingId},
};

use super::{PROCESSES, connect, finish_surely, namespace, replica};
use crate::{
    properties::{Progress, Verdict, limits::now_us, verdict},
    support::{
        children::{self, Child, Parent},
        proxy::Proxy,
        server::{TestServer, random, with_every_right},
    },
};

/// How many wait for the same pending, of the half that does not wait alone.
const SHARE: u64 = 8;
/// Of how many pendings one is completed before anybody waits for it.
const LATE: u64 = 20;
/// A waiter that nothing disturbs and that learns it later than this was not woken.
const WOKEN_WITHIN: Duration = Duration::from_secs(2);

/// How a process waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiter {
    /// Ours.
    Vestibule,
    /// What everybody writes first: subscribe, and wait for the message; subscribe again when the
    /// connection broke. Kept to show that the property can fail.
    PlainSubscribe,
}

/// Waiters in four processes, half of them alone with a pending and half together with others.
/// First nothing is disturbed; then all their connections are cut again and again, and Redis is
/// killed and comes back, while the pendings are completed beside the proxy.
pub async fn no_lost_wake_up(waiter: Waiter, count: u64, progress: Progress) -> Verdict {
    let seed = random();
    let server = TestServer::builder()
        .cluster(false)
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await;
    let proxy = Proxy::start(server.port());
    let mut processes = Vec::new();
    for process in 0..PROCESSES {
        let args = json!({
            "url": proxy.url(), "process": process, "plain": waiter == Waiter::PlainSubscribe,
        });
        processes.push(children::spawn("wait", &args).await);
    }
    children::start_together(&mut processes).await;
    let ending = replica(&connect(&server.url(), "vst").await, "parent");
    let mut stage = Stage { server, proxy, processes, ending, waiter };

    let calm = stage.round(count, false).await;
    progress(count / 2);
    let rough = stage.round(count, true).await;
    progress(count.div_ceil(2));
    let slow = calm.told.iter().filter(|told| **told > WOKEN_WITHIN).count() as u64;
    verdict(
        format!(
            "{count} waiters in {PROCESSES} processes, told after the completion was acknowledged: \
             {}; {count} more, with all their connections cut {} times, Redis killed and away for \
             {} ms, and {} completed before the wait: {}; seed {seed}",
            calm.latencies(),
            rough.cuts,
            rough.away.as_millis(),
            rough.late,
            rough.latencies(),
        ),
        &[
            ("wake-ups lost", calm.lost + rough.lost),
            ("wrong answers", calm.wrong + rough.wrong),
            ("undisturbed waiters told too late", slow),
        ],
    )
}

struct Stage {
    server: TestServer,
    proxy: Proxy,
    processes: Vec<Child>,
    ending: Pendings<u64>,
    waiter: Waiter,
}

/// What came of a round.
#[derive(Default)]
struct Round {
    /// How long after the acknowledgement, of each that waited before it.
    told: Vec<Duration>,
    lost: u64,
    wrong: u64,
    late: u64,
    cuts: u64,
    away: Duration,
}

impl Round {
    fn latencies(&self) -> String {
        let mut sorted = self.told.clone();
        sorted.sort_unstable();
        let of = |part: f64| {
            let at = (sorted.len() as f64 * part) as usize;
            let told = sorted.get(at.min(sorted.len().saturating_sub(1)));
            told.copied().unwrap_or_default().as_secs_f64() * 1000.0
        };
        format!("p50 {:.1} ms, p99 {:.1} ms, at worst {:.1} ms", of(0.5), of(0.99), of(1.0))
    }
}

impl Stage {
    async fn round(&mut self, count: u64, disturbed: bool) -> Round {
        let window = Duration::from_millis((count * 15).clamp(2_000, 20_000));
        let patience = window + Duration::from_secs(20);
        let plain = self.waiter == Waiter::PlainSubscribe;
        // A lost one waits for all of it.
        let patience = if plain { window + Duration::from_secs(3) } else { patience };

        // Which processes wait for which pending, once for each waiter.
        let mut pendings: Vec<(PendingId, Vec<usize>)> = Vec::new();
        for waiter in 0..count {
            let shares = waiter >= count / 2 && !(waiter - count / 2).is_multiple_of(SHARE);
            if !shares {
                let spec = Spec::new("form", pendings.len() as u64);
                let created = self.ending.create(&namespace(waiter % 50), &spec).await;
                pendings.push((created.unwrap().id, Vec::new()));
            }
            pendings.last_mut().unwrap().1.push(waiter as usize % PROCESSES);
        }
        let mut ended = BTreeMap::new();
        let late = |number: usize| disturbed && !plain && (number as u64).is_multiple_of(LATE);
        for (number, (id, _)) in pendings.iter().enumerate().filter(|(number, _)| late(*number)) {
            end(&self.ending, *id, number as u64).await;
            ended.insert(id.to_string(), (number as u64, None));
        }
        for (process, child) in self.processes.iter_mut().enumerate() {
            let ids = pendings.iter().flat_map(|(id, by)| by.iter().map(move |by| (id, by)));
            let ids = ids.filter(|(_, by)| **by == process).map(|(id, _)| id.to_string());
            let ids: Vec<_> = ids.collect();
            child.tell(&format!("{} {}", patience.as_millis(), ids.join(" "))).await;
            assert_eq!(child.next().await, Some(Value::from("WAITING")));
        }
        if !plain {
            for (number, (id, by)) in pendings.iter().enumerate() {
                let by: BTreeSet<_> = by.iter().collect();
                while !late(number) && self.ending.waiters(*id).await.unwrap().len() < by.len() {
                    sleep(Duration::from_millis(5)).await;
                }
            }
        }

        // At any moment; where there are cuts, half of them just after one.
        let mut endings = JoinSet::new();
        let cuts = (window.as_secs() / 2).max(4) as u32;
        let cut = watch::Sender::new(0);
        for (number, (id, _)) in pendings.iter().enumerate().filter(|(number, _)| !late(*number)) {
            let (ending, id, mut cut) = (self.ending.clone(), *id, cut.subscribe());
            let at_cut = (disturbed && random().is_multiple_of(2)).then(|| random() as u32 % cuts);
            endings.spawn(async move {
                match at_cut {
                    Some(at) => {
                        cut.wait_for(|cut| *cut > at).await.unwrap();
                        sleep(moment(Duration::from_millis(20))).await;
                    }
                    None => sleep(moment(window)).await,
                }
                end(&ending, id, number as u64).await;
                (id, number as u64, now_us())
            });
        }
        let mut round = Round { late: ended.len() as u64, ..Round::default() };
        if disturbed {
            (round.cuts, round.away) = (cuts.into(), self.disturb(window, cuts, &cut).await);
        }
        for (id, number, at) in endings.join_all().await {
            ended.insert(id.to_string(), (number, Some(at)));
        }
        let waiting = pendings.iter().flat_map(|(_, by)| by);
        let mut expected = [0; PROCESSES];
        waiting.for_each(|process| expected[*process] += 1);
        for (child, expected) in self.processes.iter_mut().zip(expected) {
            for _ in 0..expected {
                round.hear(&child.next().await.expect("a process lives"), &ended);
            }
        }
        round
    }

    /// Cuts all connections of the waiting processes now and then, and in the middle of it kills
    /// Redis. Returns how long that was away.
    async fn disturb(&self, window: Duration, cuts: u32, told: &watch::Sender<u32>) -> Duration {
        let mut away = Duration::ZERO;
        for cut in 0..cuts {
            let part = window / cuts;
            let before = moment(part);
            sleep(before).await;
            self.proxy.cut();
            told.send_replace(cut + 1);
            sleep(part.saturating_sub(before)).await;
            if cut == cuts / 2 {
                let started = Instant::now();
                self.server.kill9();
                sleep(Duration::from_millis(300) + moment(Duration::from_millis(500))).await;
                self.server.restart().await;
                away = started.elapsed();
            }
        }
        away
    }
}

impl Round {
    fn hear(&mut self, said: &Value, ended: &BTreeMap<String, (u64, Option<u64>)>) {
        let (number, ended_at) = ended[said["id"].as_str().unwrap()];
        let Some(told_at) = said["at"].as_u64() else {
            self.lost += 1;
            return;
        };
        // A plain message brings none.
        let answer = said["answer"].as_u64();
        self.wrong += u64::from(answer.is_some_and(|answer| answer != number));
        if let Some(ended_at) = ended_at {
            // Some are told before the acknowledgement has come.
            self.told.push(Duration::from_micros(told_at.saturating_sub(ended_at)));
        }
    }
}

async fn end(ending: &Pendings<u64>, id: PendingId, answer: u64) {
    let ended = finish_surely(ending, id, Ending::Completed, answer, &AtomicU64::new(0)).await;
    assert!(matches!(ended, Completion::Won(_)), "{ended:?}");
}

fn moment(within: Duration) -> Duration {
    Duration::from_micros(random() % within.as_micros() as u64)
}

/// The waiters of one process; see [`no_lost_wake_up`].
pub async fn waiter(args: Value, mut parent: Parent) {
    let url = args["url"].as_str().unwrap();
    let pendings = replica(&connect(url, "vst").await, &format!("waiter-{}", args["process"]));
    let client = redis::Client::open(with_every_right(url)).unwrap();
    parent.ready().await;
    loop {
        let heard = parent.hear().await;
        let mut words = heard.split(' ').filter(|word| !word.is_empty());
        let patience = Duration::from_millis(words.next().unwrap().parse().unwrap());
        let ids = words.map(str::to_owned);
        if args["plain"].as_bool().unwrap() {
            plain_wait(&client, ids.collect(), Instant::now() + patience, &parent).await;
            continue;
        }
        let mut tasks = JoinSet::new();
        for id in ids {
            let pendings = pendings.clone();
            tasks.spawn(async move {
                let told = pendings.wait::<u64>(id.parse().unwrap(), patience).await;
                let at = now_us();
                match told {
                    Ok(Waited::Completed { answer, .. }) => {
                        json!({ "id": id, "answer": answer, "at": at })
                    }
                    other => json!({ "id": id, "other": format!("{other:?}") }),
                }
            });
        }
        parent.say("WAITING");
        while let Some(said) = tasks.join_next().await {
            parent.say(said.unwrap());
        }
    }
}

/// Waits for messages, and reads nothing.
async fn plain_wait(
    client: &redis::Client,
    mut waiting: Vec<String>,
    deadline: Instant,
    parent: &Parent,
) {
    let mut is_first = true;
    while !waiting.is_empty() && Instant::now() < deadline {
        let Ok(mut pubsub) = client.get_async_pubsub().await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        if pubsub.subscribe("vst:wake").await.is_err() {
            continue;
        }
        if is_first {
            parent.say("WAITING");
            is_first = false;
        }
        let mut messages = pubsub.on_message();
        while let Ok(Some(message)) = timeout_at(deadline, messages.next()).await {
            let said: String = message.get_payload().unwrap();
            for id in waiting.extract_if(.., |id| said.contains(id.as_str())) {
                parent.say(json!({ "id": id, "at": now_us() }));
            }
            if waiting.is_empty() {
                return;
            }
        }
        // As clients do, so that they do not march in step.
        sleep(Duration::from_millis(20) + moment(Duration::from_millis(60))).await;
    }
    for id in waiting {
        parent.say(json!({ "id": id, "other": "never told" }));
    }
}
