//! A primary is cut off, goes on for a moment, and dies; its replica takes over. What was
//! acknowledged before, and is not there any more, was undone.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;
use vestibule::store::{
    Class, RecordName, Store, Take,
    redis::{Confirmation, RedisConfig, RedisStore, Timeouts},
};

use super::{Progress, Verdict, verdict};
use crate::support::{
    pair::Pair,
    sentinel::until,
    server::random,
    stopwatch::undisturbed,
    stores::{fresh_prefix, naming_key, store_at},
    verbs,
};

/// What the caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Done, once the primary has it.
    Normal,
    /// Done, once the replica has it too.
    Confirmed,
}

/// What was acknowledged, in the order of the calls: a record that was put, or one that was taken.
type Acknowledged = Vec<(RecordName, bool)>;

/// So many failovers, each in the middle of one caller's puts and takes. At the confirmed level
/// nothing that was acknowledged is undone. At the normal one what is undone are the last calls,
/// and they are counted: with `none_undone` they must not be.
pub async fn failovers(level: Level, none_undone: bool, count: u64, progress: Progress) -> Verdict {
    let seed = random();
    let (mut acknowledged, mut undone, mut unconfirmed) = (0, 0, 0);
    let (mut out_of_order, mut hit) = (0, 0);
    for _ in 0..count {
        let mut pair = Pair::start().await;
        let prefix = fresh_prefix();
        let store = store(&pair.primary.url(), &prefix, level).await;
        let (told, stop) =
            (Arc::<Mutex<Acknowledged>>::default(), Arc::new(AtomicBool::new(false)));
        let writing = tokio::spawn(write(store, told.clone(), stop.clone()));
        let so_far = || told.lock().unwrap().len();
        until("something is acknowledged", async || so_far() >= 2).await;
        sleep(Duration::from_millis(20 + random() % 40)).await;
        pair.cut().await;
        let before = so_far();
        // At the confirmed level nothing is acknowledged any more.
        if level == Level::Normal {
            until("something that will be undone", async || so_far() > before).await;
        }
        sleep(Duration::from_millis(random() % 60)).await;
        pair.primary.kill9();
        stop.store(true, Ordering::SeqCst);
        unconfirmed += writing.await.unwrap();
        pair.promote().await;

        let after = store_at(&pair.replica.url(), &prefix).await.unwrap();
        let told = told.lock().unwrap().clone();
        let mut there = Vec::new();
        for (name, was_taken) in &told {
            let found = after.take(name, verbs::request()).await.unwrap();
            there.push(match found {
                Take::AlreadyTaken { .. } => true,
                Take::Taken(_) => !was_taken,
                Take::Absent | Take::Expired => false,
            });
        }
        acknowledged += told.len() as u64;
        let missing = there.iter().filter(|there| !**there).count() as u64;
        undone += missing;
        hit += u64::from(missing > 0);
        // Only the end of what was acknowledged.
        let first = there.iter().position(|there| !there).unwrap_or(there.len());
        out_of_order += there[first..].iter().filter(|there| **there).count() as u64;
        progress(1);
    }
    verdict(
        format!(
            "{count} failovers: {acknowledged} acknowledged, {undone} of them undone, in {hit} \
             failovers; {unconfirmed} told as unconfirmed; seed {seed}"
        ),
        &[
            ("undone", if none_undone { undone } else { 0 }),
            ("undone out of order", out_of_order),
            ("acknowledged nothing", u64::from(acknowledged < count * 2)),
        ],
    )
}

/// Who writes gives up soon.
async fn store(url: &str, prefix: &str, level: Level) -> RedisStore {
    let short = Duration::from_millis(300);
    let timeouts = Timeouts { connect: short, response: short, overall: short };
    let mut config = RedisConfig::new(url).unwrap().with_prefix(prefix).unwrap();
    if level == Level::Confirmed {
        let within = Duration::from_millis(50);
        config = config.with_confirmation(Confirmation { replicas: 1, within });
    }
    let config = config.with_timeouts(timeouts);
    let connects = async || RedisStore::connect(config.clone(), &naming_key()).await;
    undisturbed(short / 4, Result::is_ok, connects).await.0.unwrap()
}

/// Puts one record, puts and takes another, until the server is gone. Returns how often it was told
/// that nothing was confirmed.
async fn write(store: RedisStore, told: Arc<Mutex<Acknowledged>>, stop: Arc<AtomicBool>) -> u64 {
    let mut unconfirmed = 0;
    while !stop.load(Ordering::SeqCst) {
        let name = verbs::name();
        match verbs::put(&store, &name).await {
            Ok(_) => told.lock().unwrap().push((name, false)),
            Err(error) => unconfirmed += u64::from(error.class() == Class::Unconfirmed),
        }
        let name = verbs::name();
        if verbs::put(&store, &name).await.is_err() {
            continue;
        }
        match store.take(&name, verbs::request()).await {
            Ok(Take::Taken(_)) => told.lock().unwrap().push((name, true)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => unconfirmed += u64::from(error.class() == Class::Unconfirmed),
        }
    }
    unconfirmed
}
