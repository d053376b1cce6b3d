//! Load, in rounds in which contestants take turns.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

/// Some work, given its number: how many units it got done.
pub type Work = Arc<dyn Fn(u64) -> Pin<Box<dyn Future<Output = u64> + Send>> + Send + Sync>;

/// Wraps an async function of its number. Whatever returns at all has done one unit, if it does not
/// say how many.
pub fn work<F>(work: impl Fn(u64) -> F + Send + Sync + 'static) -> Work
where
    F: Future<Output: Done> + Send + 'static,
{
    Arc::new(move |number| {
        let working = work(number);
        Box::pin(async move { working.await.units() })
    })
}

/// How many units of work something stands for.
pub trait Done {
    fn units(self) -> u64;
}

impl Done for () {
    fn units(self) -> u64 {
        1
    }
}

/// Whether it was done at all.
impl Done for bool {
    fn units(self) -> u64 {
        self.into()
    }
}

impl Done for usize {
    fn units(self) -> u64 {
        self as u64
    }
}

/// One contestant's part of a round.
pub type Turn = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Round> + Send>> + Send + Sync>;

/// What one contestant did in one round.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Units of work per second.
    pub per_second: f64,
    /// CPU time of this process per unit of work, in µs; `None` where the system does not tell.
    pub cpu_us: Option<f64>,
}

/// All rounds of the contestants, in their order.
pub struct Rounds(Vec<Vec<Round>>);

/// Every contestant under [`load`] in every round, after one that does not count.
pub async fn take_turns(
    tasks: usize,
    time: Duration,
    rounds: usize,
    contestants: &[Work],
) -> Rounds {
    let turns: Vec<_> =
        contestants.iter().map(|work| under_load(tasks, time, work.clone())).collect();
    play(rounds, &turns).await
}

/// A turn under [`load`].
pub fn under_load(tasks: usize, time: Duration, work: Work) -> Turn {
    Box::new(move || {
        let work = work.clone();
        Box::pin(async move { load(tasks, time, &work).await })
    })
}

/// Every contestant's turn in every round, after one that does not count.
pub async fn play(rounds: usize, turns: &[Turn]) -> Rounds {
    let mut all = vec![Vec::new(); turns.len()];
    for round in 0..=rounds {
        for (turn, done) in turns.iter().zip(&mut all) {
            let figures = turn().await;
            if round > 0 {
                done.push(figures);
            }
        }
    }
    Rounds(all)
}

/// `tasks` tasks each do one piece of work after the other for `time`. What counts is what they got
/// done.
pub async fn load(tasks: usize, time: Duration, work: &Work) -> Round {
    // Never the same number twice: no round meets what another left behind.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let stop = Arc::new(AtomicBool::new(false));
    let (cpu, started) = (cpu_time(), Instant::now());
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let (stop, work) = (stop.clone(), work.clone());
        running.spawn(async move {
            let mut units = 0;
            while !stop.load(Ordering::Relaxed) {
                units += work(NEXT.fetch_add(1, Ordering::Relaxed)).await;
            }
            units
        });
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let units = running.join_all().await.into_iter().sum::<u64>() as f64;
    let took = started.elapsed();
    let cpu_us = cpu.zip(cpu_time()).map(|(before, after)| (after - before) / units);
    Round { per_second: units / took.as_secs_f64(), cpu_us }
}

impl Rounds {
    /// The median over the rounds of how much faster the one is than the other.
    pub fn speed(&self, one: usize, other: usize) -> f64 {
        self.paired(one, other, |one, other| Some(one.per_second / other.per_second)).unwrap()
    }

    /// The median over the rounds of how much more CPU time the one takes than the other.
    pub fn cpu(&self, one: usize, other: usize) -> Option<f64> {
        self.paired(one, other, |one, other| Some(one.cpu_us? / other.cpu_us?))
    }

    pub fn per_second(&self, one: usize) -> f64 {
        median(self.0[one].iter().map(|round| round.per_second)).unwrap()
    }

    pub fn cpu_us(&self, one: usize) -> Option<f64> {
        median(self.0[one].iter().filter_map(|round| round.cpu_us))
    }

    fn paired(
        &self,
        one: usize,
        other: usize,
        ratio: impl Fn(&Round, &Round) -> Option<f64>,
    ) -> Option<f64> {
        median(self.0[one].iter().zip(&self.0[other]).filter_map(|(a, b)| ratio(a, b)))
    }
}

/// The middle of some figures.
pub fn median(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    quantile(figures, 0.5)
}

/// The figure that this part of all is below.
pub fn quantile(figures: impl IntoIterator<Item = f64>, part: f64) -> Option<f64> {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures.get((figures.len() as f64 * part) as usize).copied()
}

/// What each of some verbs took, ours and the other's, by the round.
pub struct Medians<const VERBS: usize>([[Vec<f64>; 2]; VERBS]);

impl<const VERBS: usize> Medians<VERBS> {
    pub fn new() -> Self {
        Self([(); VERBS].map(|()| [Vec::new(), Vec::new()]))
    }

    /// The first round does not count.
    pub fn add(&mut self, round: usize, samples: [[Vec<f64>; 2]; VERBS]) {
        for (medians, samples) in self.0.iter_mut().zip(samples) {
            for (medians, samples) in medians.iter_mut().zip(samples) {
                medians.extend((round > 0).then(|| median(samples).unwrap()));
            }
        }
    }

    /// How many times as long ours took, round by round, and how long each took.
    pub fn compared(self) -> [(f64, [f64; 2]); VERBS] {
        self.0.map(|both| {
            let [ours, plain] = &both;
            let ratio = median(ours.iter().zip(plain).map(|(ours, plain)| ours / plain)).unwrap();
            (ratio, both.map(|all| median(all).unwrap()))
        })
    }
}

/// CPU time of this process, all threads, in µs. Linux counts it in ticks of 10 ms.
fn cpu_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may have spaces in it.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) * 10_000.0)
}
