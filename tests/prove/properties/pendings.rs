//! One winner of every pending, whatever happens to replies.

pub mod bulk;
pub mod waits;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet};
use vestibule::{
    RequestId, Vestibule,
    pending::{
        Completion, Created, Dedup, Namespace, Pending, PendingError, Pendings, PendingsConfig,
        Replacement, Spec, Waited,
    },
    store::{Ending, PendingId, StoreError},
};

use super::{
    Progress, Verdict, connect, for_each,
    races::{HERE, PROCESSES, RACERS, Racers, batches},
    verdict,
};
use crate::support::{
    children::Parent,
    proxy::Proxy,
    server::{TestServer, random, with_every_right},
    stores::fresh_prefix,
};

const BATCH: u64 = 100;

/// The pendings of one replica. The payload of each is its number.
fn replica(vestibule: &Vestibule, instance: &str) -> Pendings<u64> {
    let instance = instance.to_owned();
    vestibule.pendings(PendingsConfig { instance, ..PendingsConfig::default() })
}

fn namespace(number: u64) -> Namespace {
    Namespace::new(format!("person-{number}@example.com")).unwrap()
}

/// 64 racers in four processes end each pending, half of them by completing it and half by
/// cancelling it: one wins, and all others are told by whom it was ended, and how. With `plain`
/// they do what some write: GET, then DEL.
pub async fn one_winner(
    server: &TestServer,
    plain: bool,
    count: u64,
    progress: Progress,
) -> Verdict {
    let (seed, prefix) = (random(), fresh_prefix());
    let pendings = replica(&connect(&server.url(), &prefix).await, "parent");
    let mut raw = server.raw().await;
    let args = json!({ "url": server.url(), "prefix": prefix, "plain": plain });
    let mut racers = Racers::start("race-pendings", args).await;

    let (mut none, mut several, mut misled, mut other, mut completed) = (0, 0, 0, 0, 0);
    for batch in batches(count, BATCH) {
        let mut ids = Vec::new();
        for number in batch.clone() {
            if plain {
                let key = format!("plain-{seed:x}-{number}");
                let _: () = raw.set(&key, number).await.unwrap();
                ids.push(key);
                continue;
            }
            let spec = Spec::new("form", number);
            ids.push(pendings.create(&namespace(number % 50), &spec).await.unwrap().id.to_string());
        }
        let mut races: Vec<_> = ids.iter().map(|_| Race::default()).collect();
        for said in racers.race(&format!("{} {}", batch.start, ids.join(" "))).await {
            for line in said["ended"].as_array().unwrap() {
                races[line["at"].as_u64().unwrap() as usize].hear(line);
            }
            other += said["other"].as_u64().unwrap();
        }
        for (race, id) in races.iter().zip(&ids) {
            none += u64::from(race.won.is_empty());
            several += u64::from(race.won.len() > 1);
            if !plain {
                let told = pendings.wait(id.parse().unwrap(), Duration::ZERO).await.unwrap();
                misled += u64::from(!race.all_agree(&told));
                completed += u64::from(matches!(told, Waited::Completed { .. }));
            }
        }
        progress(batch.end - batch.start);
    }
    verdict(
        format!(
            "{count} pendings x {RACERS} racers in {PROCESSES} processes, one winner each, \
             named to all others and in the outcome, {completed} of them by completing it; seed {seed}"
        ),
        &[
            ("without a winner", none),
            ("with several", several),
            ("whose losers or outcome name another winner", misled),
            ("other answers", other),
        ],
    )
}

/// What was said about one pending.
#[derive(Default)]
struct Race {
    /// By whom and how, of each that won.
    won: Vec<(String, String)>,
    /// By whom, how and when, as the others were told.
    told: BTreeSet<(String, String, u64)>,
    losers: u64,
}

impl Race {
    fn hear(&mut self, line: &Value) {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let (by, how) = (text("by"), text("how"));
        match line["when"].as_u64() {
            None => self.won.push((by, how)),
            Some(at_ms) => {
                self.losers += line["times"].as_u64().unwrap();
                self.told.insert((by, how, at_ms));
            }
        }
    }

    fn all_agree(&self, outcome: &Waited<String>) -> bool {
        let ([(by, how)], Some((told_by, told_how, at))) = (&*self.won, self.told.first()) else {
            return false;
        };
        let outcome_agrees = match outcome {
            Waited::Completed { answer, by: named, at_ms } => {
                how == "completed" && answer == by && named == by && at_ms == at
            }
            Waited::Cancelled => how == "cancelled",
            _ => false,
        };
        let losers_agree = self.told.len() == 1 && (told_by, told_how) == (by, how);
        outcome_agrees && losers_agree && self.losers == RACERS as u64 - 1
    }
}

/// The racers of one process; see [`one_winner`]. Each is a replica with a name of its own.
pub async fn racer(args: Value, mut parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let vestibule = connect(&text("url"), &text("prefix")).await;
    let (process, plain) = (args["process"].as_u64().unwrap(), args["plain"].as_bool().unwrap());
    let client = redis::Client::open(with_every_right(&text("url"))).unwrap();
    let link = client.get_multiplexed_async_connection().await.unwrap();
    parent.ready().await;
    loop {
        let heard = parent.hear().await;
        let mut words = heard.split(' ').map(str::to_owned);
        let first: u64 = words.next().unwrap().parse().unwrap();
        let ids: Arc<[String]> = words.collect();
        let barrier = Arc::new(Barrier::new(HERE));
        let mut tasks = JoinSet::new();
        for task in 0..HERE {
            let name = format!("racer-{process}-{task}");
            let pendings = replica(&vestibule, &name);
            let (ids, barrier, mut link) = (ids.clone(), barrier.clone(), link.clone());
            tasks.spawn(async move {
                let (mut ended, mut other) = (Vec::new(), 0_u64);
                for (at, id) in ids.iter().enumerate() {
                    barrier.wait().await;
                    if plain {
                        if link.get::<_, Option<u64>>(id).await.unwrap().is_some() {
                            let _: () = link.del(id).await.unwrap();
                            ended.push((at, name.clone(), "completed", None));
                        }
                        continue;
                    }
                    let (id, completes) = (id.parse().unwrap(), task % 2 == 0);
                    let outcome = if completes {
                        pendings.complete(id, None, &name).await
                    } else {
                        pendings.cancel(id, None).await
                    };
                    let how = if completes { "completed" } else { "cancelled" };
                    match outcome {
                        Ok(Completion::Won(pending)) if pending.data == first + at as u64 => {
                            ended.push((at, name.clone(), how, None));
                        }
                        Ok(Completion::Lost { how, at_ms, by }) => {
                            ended.push((at, by, how.as_str(), Some(at_ms)));
                        }
                        _ => other += 1,
                    }
                }
                (ended, other)
            });
        }
        let (mut ended, mut others) = (Vec::new(), 0);
        for (more, other) in tasks.join_all().await {
            ended.extend(more);
            others += other;
        }
        // What many were told is said once.
        ended.sort_unstable();
        let ended: Vec<_> = ended
            .chunk_by(|a, b| a == b)
            .map(|same| {
                let (at, by, how, when) = &same[0];
                json!({ "at": at, "by": by, "how": how, "when": when, "times": same.len() })
            })
            .collect();
        parent.say(json!({ "ended": ended, "other": others }));
    }
}

/// All of a namespace, and in how many pages.
async fn list_all(pendings: &Pendings<u64>, namespace: &Namespace) -> (Vec<PendingId>, u64) {
    let (mut listed, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = pendings.list(namespace, cursor, 100).await.unwrap();
        listed.extend(page.ids);
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            return (listed, pages);
        }
    }
}

/// A proxy swallows the replies of a fifth of all scripts, which Redis has run: every pending is
/// created once, ended once, and every value is delivered.
pub async fn lost_replies(count: u64, progress: Progress) -> Verdict {
    let (seed, size) = (random(), (count / 4).clamp(20, 180));
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    let through = replica(&connect(&proxy.url(), "vst").await, "through");
    let direct = replica(&connect(&server.url(), "vst").await, "direct");
    proxy.drop_reply(0.2, seed);
    let [doubled, lost, wrong, untold, unknown] = [(); 5].map(|()| AtomicU64::new(0));
    let add = |to: &AtomicU64, wrong: bool| {
        to.fetch_add(wrong.into(), Ordering::Relaxed);
    };
    // Few at a time: a swallowed reply takes all that are in flight on the connection with it.
    for_each(count.div_ceil(size), 4, async |group| {
        let (through, direct, unknown) = (&through, &direct, &unknown);
        let (doubled, lost, wrong, untold) = (&doubled, &lost, &wrong, &untold);
        let namespace = namespace(group);
        let mut ids = Vec::new();
        for number in group * size..count.min((group + 1) * size) {
            let created = create_surely(through, &namespace, number, unknown).await;
            add(doubled, created.joined);
            ids.push((number, created.id));
        }
        let (mut there, _) = list_all(through, &namespace).await;
        let mut made: Vec<_> = ids.iter().map(|(_, id)| *id).collect();
        made.sort_unstable();
        there.sort_unstable();
        add(doubled, there != made);
        for (number, id) in &ids {
            let read = through.get(*id).await.unwrap().filter(|read| read.data == *number);
            add(lost, read.is_none());
            if let Some(read) = read.filter(|_| number % 5 == 0) {
                add(wrong, !replace_surely(through, &read, unknown).await);
            }
            let how = match number % 3 {
                0 => Ending::Completed,
                1 => Ending::Cancelled,
                _ => continue,
            };
            match finish_surely(through, *id, how, *number, unknown).await {
                Completion::Won(pending) => add(wrong, pending.data != *number),
                _ => add(lost, true),
            }
            // Another caller is told the truth.
            let late = through.cancel(*id, None).await.unwrap();
            add(wrong, !matches!(late, Completion::Lost { how: said, .. } if said == how));
        }
        let left = ids.iter().filter(|(number, _)| number % 3 == 2).map(|(_, id)| *id);
        let left: BTreeSet<_> = left.collect();
        let cleared = through.clear(&namespace).await.unwrap();
        add(doubled, cleared.len() > left.len());
        add(lost, cleared.into_iter().collect::<BTreeSet<_>>() != left);
        for (number, id) in &ids {
            let told = direct.wait::<u64>(*id, Duration::ZERO).await.unwrap();
            let right = match number % 3 {
                0 => matches!(told, Waited::Completed { answer, .. } if answer == *number),
                1 => told == Waited::Cancelled,
                _ => told == Waited::Cleared,
            };
            add(untold, !right);
        }
        progress(ids.len() as u64);
    })
    .await;
    let (dropped, unknown) = (proxy.dropped_replies(), unknown.into_inner());
    verdict(
        format!(
            "{count} pendings created, listed, read, replaced, completed, cancelled and cleared, {dropped} \
             replies lost, {unknown} unknown to the caller and resolved by the same request id; \
             seed {seed}"
        ),
        &[
            ("values lost", lost.into_inner()),
            ("doubled", doubled.into_inner()),
            ("wrong values", wrong.into_inner()),
            ("wrong outcomes", untold.into_inner()),
            ("unknown outcomes above 0.1 %", u64::from(unknown > (count * 2).div_ceil(1000))),
            ("runs in which no reply was lost", u64::from(dropped < count / 20)),
        ],
    )
}

async fn create_surely(
    pendings: &Pendings<u64>,
    namespace: &Namespace,
    number: u64,
    unknown: &AtomicU64,
) -> Created {
    let (request, mut spec) = (RequestId::random(), Spec::new("form", number));
    if number.is_multiple_of(2) {
        // A retry must not join what its own first try has created.
        spec.dedup = Dedup::Key(number.to_string());
    }
    loop {
        match pendings.create_as(&request, namespace, &spec).await {
            Err(error) if again(&error) => {
                unknown.fetch_add(1, Ordering::Relaxed);
            }
            other => return other.unwrap(),
        }
    }
}

/// Replaces a pending by its like with one request id, as often as that takes.
async fn replace_surely(
    pendings: &Pendings<u64>,
    pending: &Pending<u64>,
    unknown: &AtomicU64,
) -> bool {
    let (request, spec) = (RequestId::random(), Spec::new("form", pending.data));
    loop {
        match pendings.replace_as(&request, pending, &spec).await {
            Err(error) if again(&error) => {
                unknown.fetch_add(1, Ordering::Relaxed);
            }
            other => return matches!(other.unwrap(), Replacement::Replaced { .. }),
        }
    }
}

/// Ends a pending with one request id, as often as that takes.
async fn finish_surely(
    pendings: &Pendings<u64>,
    id: PendingId,
    how: Ending,
    answer: u64,
    unknown: &AtomicU64,
) -> Completion<u64> {
    let request = RequestId::random();
    let answer = match how {
        Ending::Completed => pendings.seal_answer(id, &answer).unwrap(),
        _ => Vec::new(),
    };
    loop {
        match pendings.finish_as(&request, id, how, None, &answer).await {
            Err(error) if again(&error) => {
                unknown.fetch_add(1, Ordering::Relaxed);
            }
            other => return other.unwrap(),
        }
    }
}

fn again(error: &PendingError) -> bool {
    let PendingError::Store(error) = error else { return false };
    matches!(error, StoreError::Unknown { .. } | StoreError::NotExecuted { .. })
}
