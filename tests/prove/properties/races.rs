//! Many racers in some processes, who want the same thing at the same moment.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    children::{self, Child},
    server::random,
};

pub const PROCESSES: usize = 4;
pub const RACERS: usize = 64;
/// How many of them a process has.
pub const HERE: usize = RACERS / PROCESSES;

/// The processes, as their parent sees them.
pub struct Racers(Vec<Child>);

impl Racers {
    /// Each plays the role with these arguments and its number, which is `process`.
    pub async fn start(role: &str, mut args: Value) -> Self {
        let mut racers = Vec::new();
        for process in 0..PROCESSES {
            args["process"] = json!(process);
            racers.push(children::spawn(role, &args).await);
        }
        children::start_together(&mut racers).await;
        Self(racers)
    }

    /// All race for what is named; what each process says of it.
    pub async fn race(&mut self, named: &str) -> Vec<Value> {
        for racer in &mut self.0 {
            racer.tell(named).await;
        }
        let mut said = Vec::new();
        for racer in &mut self.0 {
            said.push(racer.next().await.expect("a racer lives"));
        }
        said
    }
}

/// The numbers below `count`, in groups of so many.
pub fn batches(count: u64, size: u64) -> impl Iterator<Item = Range<u64>> {
    (0..count).step_by(size as usize).map(move |first| first..count.min(first + size))
}

/// How long one side of a race takes, as a rule, on this machine as it is now: so that the other comes
/// at every moment of it, on a slow machine too.
#[derive(Debug, Default)]
pub struct Usual {
    micros: AtomicU64,
}

impl Usual {
    /// Runs it, and learns from it.
    pub async fn of<T>(&self, run: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let came = run.await;
        let took = started.elapsed().as_micros() as u64;
        let before = self.micros.load(Relaxed);
        let usual = if before == 0 { took } else { (before * 15 + took) / 16 };
        self.micros.store(usual, Relaxed);
        came
    }

    /// At random, from now until twice as long as it takes.
    pub fn moment_of_twice(&self) -> Duration {
        Duration::from_micros(random() % (2 * self.micros.load(Relaxed)).max(10_000))
    }
}
