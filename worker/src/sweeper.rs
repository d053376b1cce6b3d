//! The loop around a sweep: it outlives errors, and keeps the passes of a fleet apart.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as Turn, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Vestibule,
    connection::{Connections, journal::Replay},
    metric,
    sweep::{RefreshDue, RefreshDuePass},
};

use crate::{
    admin::Readiness,
    measure,
    reload::Handles,
    sweeps::{Sweep, Sweeps},
};

/// How often the backlog is counted: it asks all shards.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// How often the journal is replayed: well within its window.
const REPLAY_EVERY: Duration = Duration::from_secs(5);
/// How often Redis is asked whether it is there.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Past this the worker says that it is not ready, without waiting for a verb's whole deadline.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Drives the refresh-due sweep.
pub struct Sweeper {
    /// What is swept: each pass takes it anew.
    pub handles: watch::Receiver<Handles>,
    /// For what a pass does not tell.
    pub vestibule: Vestibule,
    /// The budget of a pass.
    pub sweep: RefreshDue,
    /// Between two passes, give or take a fifth.
    pub interval: Duration,
    /// The other sweeps.
    pub sweeps: Sweeps,
    /// Told every second.
    pub readiness: Readiness,
    /// Told after every pass.
    pub last_pass: LastPass,
    /// Whose turn it is to replay the journal.
    pub replays: Turn<()>,
}

/// What came of a pass, for people.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// How many were claimed.
    pub claimed: usize,
    /// How many of them have a new credential.
    pub refreshed: usize,
    /// How many failed.
    pub failed: usize,
}

/// The last pass of the refresh-due sweep in this process, and when it ended.
#[derive(Debug, Clone, Default)]
pub struct LastPass(Arc<Mutex<Option<(Passed, Instant)>>>);

impl LastPass {
    fn set(&self, pass: &RefreshDuePass) {
        let RefreshDuePass { claimed, refreshed, failed, .. } = *pass;
        let passed = (Passed { claimed, refreshed, failed }, Instant::now());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(passed);
    }

    /// `None` before the first.
    #[must_use]
    pub fn get(&self) -> Option<(Passed, Instant)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sweeper {
    /// Sweeps until `stop`, then waits for the exchanges under way.
    pub async fn run(&self, stop: &CancellationToken) {
        // Side by side: a pass that hangs on a dying Redis must not hide that it does.
        tokio::join!(self.watch(stop), self.sweep(stop), self.replay(stop), self.sweeps.run(stop));
        self.connections().drained().await;
    }

    fn connections(&self) -> Connections {
        self.handles.borrow().connections.clone()
    }

    /// Sees once to all that is due, whoever swept it last. Returns whether nothing is left of it.
    pub async fn once(&self, stop: &CancellationToken) -> bool {
        let mut is_whole = self.replay_all(stop).await;
        loop {
            let pass = self.pass(stop).await;
            is_whole &= pass.errors == 0;
            // What was put off, or failed, has its time of its own on record.
            if stop.is_cancelled() || pass.refreshed + pass.failed + pass.running == 0 {
                break;
            }
        }
        is_whole &= self.sweeps.each_once(&Sweep::ALL, stop).await;
        self.connections().drained().await;
        is_whole && !stop.is_cancelled()
    }

    async fn watch(&self, stop: &CancellationToken) {
        let mut counted: Option<Instant> = None;
        while !stop.is_cancelled() {
            let ready = match timeout(ANSWER_WITHIN, self.vestibule.ping()).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "redis is not ready: will try again");
                    false
                }
                Err(_) => {
                    tracing::warn!("redis does not answer in time: will try again");
                    false
                }
            };
            self.readiness.set(ready && !stop.is_cancelled());
            if ready && counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
                counted = Some(Instant::now());
                self.count().await;
            }
            pause(WATCH_EVERY, stop).await;
        }
        self.readiness.set(false);
    }

    async fn sweep(&self, stop: &CancellationToken) {
        measure::cadence("refresh_due", self.interval);
        // An answer in the journal is of more worth than another try, which may kill it.
        let mut replays_first = true;
        while !stop.is_cancelled() {
            if replays_first {
                self.replay_all(stop).await;
            }
            // Ready or not: on a Cluster one dead node must not stop the others' shards.
            let pass = self.pass(stop).await;
            replays_first = pass.errors > 0;
            // A backlog is not waited with, unless Redis fails.
            if !pass.is_full(&self.sweep) || pass.errors > 0 {
                pause(jittered(self.interval), stop).await;
            }
        }
    }

    /// At start, and then every so often: what Redis did not take, or a process left that died.
    async fn replay(&self, stop: &CancellationToken) {
        measure::cadence("journal", REPLAY_EVERY);
        while !stop.is_cancelled() {
            self.replay_all(stop).await;
            pause(REPLAY_EVERY, stop).await;
        }
    }

    /// Pass after pass, as long as there is something that can be decided. Returns whether the journal
    /// could be read.
    async fn replay_all(&self, stop: &CancellationToken) -> bool {
        let _turn = self.replays.lock().await;
        loop {
            match self.replay_once().await {
                Some(replay) if replay.is_at_its_end() || stop.is_cancelled() => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }

    async fn replay_once(&self) -> Option<Replay> {
        let started = Instant::now();
        let replayed = self.connections().replay_journal().await;
        let replay = replayed.as_ref().copied().unwrap_or_default();
        let outcomes = [
            ("recovered", replay.recovered),
            ("settled", replay.settled),
            ("damaged", replay.damaged),
            ("left", replay.left),
            ("error", usize::from(replayed.is_err())),
        ];
        let outcomes = outcomes.map(|(outcome, count)| (outcome, count as u64));
        measure::pass("journal", started.elapsed(), &outcomes, replayed.is_ok());
        match replayed {
            Ok(replay) => {
                if replay.recovered + replay.damaged > 0 {
                    tracing::info!(?replay, "journal replayed");
                }
                Some(replay)
            }
            Err(error) => {
                tracing::error!(%error, "the journal is not replayed");
                None
            }
        }
    }

    async fn pass(&self, stop: &CancellationToken) -> RefreshDuePass {
        let started = Instant::now();
        let pass = self.sweep.pass(&self.connections(), stop).await;
        self.last_pass.set(&pass);
        let outcomes = [
            ("refreshed", pass.refreshed),
            ("failed", pass.failed),
            ("skipped", pass.skipped),
            ("put_off", pass.put_off),
            ("running", pass.running),
            ("given_back", pass.given_back),
            ("error", pass.errors),
        ];
        let outcomes = outcomes.map(|(outcome, count)| (outcome, count as u64));
        measure::pass("refresh_due", started.elapsed(), &outcomes, pass.errors == 0);
        if pass.claimed > 0 {
            let took_ms = started.elapsed().as_millis();
            tracing::info!(
                claimed = pass.claimed,
                refreshed = pass.refreshed,
                failed = pass.failed,
                skipped = pass.skipped,
                put_off = pass.put_off,
                running = pass.running,
                given_back = pass.given_back,
                took_ms,
                "refresh-due pass"
            );
        }
        pass
    }

    async fn count(&self) {
        // Within the time of an answer: it must not hold up the watch.
        let counting = timeout(ANSWER_WITHIN, self.vestibule.due_backlog());
        let Ok(counted) = counting.await else {
            tracing::warn!("the backlog is not counted in time");
            return;
        };
        match counted {
            Ok(backlog) => {
                #[expect(clippy::cast_precision_loss, reason = "a gauge of a backlog may round")]
                metric::DUE_BACKLOG.of(&[]).set(backlog.due as f64);
                metric::OLDEST_OVERDUE.of(&[]).set(backlog.oldest.unwrap_or_default());
            }
            Err(error) => tracing::warn!(%error, "the backlog is not counted"),
        }
    }
}

pub(crate) async fn pause(duration: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = sleep(duration) => {}
    }
}

/// A fifth more or less each time: workers that started together drift apart.
pub(crate) fn jittered(interval: Duration) -> Duration {
    let mut byte = [128_u8];
    // Without randomness the pause is the interval itself.
    let _ = getrandom::fill(&mut byte);
    interval.mul_f64(0.8 + 0.4 * f64::from(byte[0]) / 255.0)
}
