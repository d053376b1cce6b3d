//! How long something takes, without what the machine was late by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// So often it is looked how late a thread is that has nothing to do.
const TICK: Duration = Duration::from_millis(2);
/// By so much any timer is late.
const USUAL: Duration = Duration::from_millis(1);
const TRIES: usize = 10;
const HELD_OFF: Duration = Duration::from_millis(300);

/// It stands still while the machine does: where this process is paused, or has to wait for others,
/// so has a thread of its own that only sleeps.
#[derive(Debug)]
pub struct Stopwatch {
    started: Instant,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Microseconds.
    late: AtomicU64,
    /// The longest at once.
    worst: AtomicU64,
    /// When the thread wants to wake up, in microseconds after the start.
    due: AtomicU64,
    stop: AtomicBool,
}

impl Stopwatch {
    pub fn start() -> Self {
        let (started, first) = (Instant::now(), micros(TICK));
        let shared = Arc::new(Shared {
            late: 0.into(),
            worst: 0.into(),
            due: first.into(),
            stop: AtomicBool::new(false),
        });
        let watched = shared.clone();
        thread::spawn(move || {
            while !watched.stop.load(SeqCst) {
                let due = micros(started.elapsed() + TICK);
                watched.due.store(due, SeqCst);
                thread::sleep(TICK);
                let late = late_now(started, due);
                watched.late.fetch_add(late, SeqCst);
                watched.worst.fetch_max(late, SeqCst);
            }
        });
        Self { started, shared }
    }

    /// Since the start, what the machine was late not counted.
    pub fn took(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.late())
    }

    /// The longest that it was late at once.
    pub fn worst(&self) -> Duration {
        let now = late_now(self.started, self.shared.due.load(SeqCst));
        Duration::from_micros(self.shared.worst.load(SeqCst).max(now))
    }

    /// What it was late since the start, all in all.
    pub fn late(&self) -> Duration {
        // The thread may not have had its turn since a pause.
        let now = late_now(self.started, self.shared.due.load(SeqCst));
        Duration::from_micros(self.shared.late.load(SeqCst) + now)
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
    }
}

fn late_now(started: Instant, due: u64) -> u64 {
    let late = micros(started.elapsed()).saturating_sub(due);
    if late > micros(USUAL) { late } else { 0 }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

/// Runs it again where it does not come out right and the machine was late by `most` or more
/// meanwhile: its deadline may have gone by in that. At last whatever comes of it is told.
pub async fn undisturbed<T>(
    most: Duration,
    right: impl Fn(&T) -> bool,
    mut run: impl AsyncFnMut() -> T,
) -> (T, Stopwatch) {
    for _ in 1..TRIES {
        let watch = Stopwatch::start();
        let came = run().await;
        if right(&came) || watch.late() < most {
            return (came, watch);
        }
        // What was refused before is held off for a moment.
        sleep(HELD_OFF).await;
    }
    let watch = Stopwatch::start();
    (run().await, watch)
}
