//! The loops around the other sweeps: each at start, then at its own cadence.

use std::time::Duration;

use clap::ValueEnum;
use futures_util::future::join_all;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Vestibule,
    store::SweepName,
    sweep::{Budget, Expired, Orphans, Reseal, Swept, TrimEvents, TrimHistory},
    token::{Scopes, TempTokens},
};

use crate::{
    config::{SweepSettings, scopes},
    measure,
    reload::Handles,
    sealed::SealedGauges,
    sweeper::{jittered, pause},
};

/// When a round is not over: soon enough to go on with it once a turn that was held is free.
const SOON: Duration = Duration::from_secs(30);
/// The first passes of workers that started together are spread over two fifths of it.
const AT_START: Duration = Duration::from_secs(5);

/// How often it is counted what each key has sealed, if nothing is sealed anew here.
const COUNT_EVERY: Duration = Duration::from_secs(300);

/// The sweeps that are driven here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Sweep {
    /// Deletes what nobody has had access to for the retention
    Orphans,
    /// Takes expired tokens off their indexes
    Expired,
    /// Seals anew what another key than the first of the ring has sealed
    Reseal,
    /// Removes events that all receivers have been told
    Events,
    /// Forgets events that are older than `history_days`
    History,
}

impl Sweep {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Orphans, Self::Expired, Self::Reseal, Self::Events, Self::History];

    /// Its word, in metrics and logs: the library's, which the command line has too.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        let name = match self {
            Self::Orphans => SweepName::Orphans,
            Self::Expired => SweepName::Expired,
            Self::Reseal => SweepName::Reseal,
            Self::Events => SweepName::Events,
            Self::History => SweepName::History,
        };
        name.as_str()
    }

    /// Between two rounds of it; zero if it is switched off.
    #[must_use]
    pub fn every(self, settings: &SweepSettings) -> Duration {
        match self {
            Self::Orphans if settings.orphan_retention.is_zero() => Duration::ZERO,
            Self::Orphans => settings.orphans_every,
            Self::Expired => settings.expired_every,
            Self::Reseal => settings.reseal_every,
            Self::Events => settings.events_every,
            Self::History => settings.history_every,
        }
    }
}

/// Drives the sweeps that are not of what is due.
#[derive(Debug)]
pub struct Sweeps {
    vestibule: Vestibule,
    tokens: TempTokens,
    settings: SweepSettings,
    /// The ring of the moment, where it may become another.
    reloaded: Option<watch::Receiver<Handles>>,
    sealed: SealedGauges,
}

impl Sweeps {
    /// With these settings.
    #[must_use]
    pub fn new(vestibule: &Vestibule, settings: SweepSettings) -> Self {
        // The configuration has no others than good names.
        let scopes = scopes(&settings.scopes).unwrap_or_else(|error| {
            tracing::warn!(%error, "no expired tokens are swept");
            Scopes::default()
        });
        Self {
            vestibule: vestibule.clone(),
            tokens: vestibule.temp_tokens(scopes),
            settings,
            reloaded: None,
            sealed: SealedGauges::default(),
        }
    }

    /// Each pass takes the ring of the moment from there.
    #[must_use]
    pub fn reloaded_by(self, handles: watch::Receiver<Handles>) -> Self {
        Self { reloaded: Some(handles), ..self }
    }

    fn vestibule(&self) -> Vestibule {
        match &self.reloaded {
            Some(handles) => handles.borrow().vestibule.clone(),
            None => self.vestibule.clone(),
        }
    }

    /// Sweeps until `stop`. A pass that fails is followed by the next.
    pub async fn run(&self, stop: &CancellationToken) {
        join_all(Sweep::ALL.map(|sweep| self.repeat(sweep, stop))).await;
    }

    /// One pass, as the command line asks for it: whatever others have done a moment ago.
    pub async fn once(&self, sweep: Sweep, dry_run: bool, stop: &CancellationToken) -> Swept {
        let budget = Budget { limit: u64::MAX, dry_run, ..Budget::default() };
        self.pass(sweep, budget, stop).await
    }

    /// One pass of each of these that is not switched off. Returns whether they left nothing.
    pub async fn each_once(&self, sweeps: &[Sweep], stop: &CancellationToken) -> bool {
        let mut is_whole = true;
        let on = |sweep: &&Sweep| !sweep.every(&self.settings).is_zero();
        for sweep in sweeps.iter().filter(on) {
            let swept = self.once(*sweep, false, stop).await;
            is_whole &= !swept.unfinished && swept.errors + swept.left == 0;
        }
        is_whole
    }

    /// Whether the settings leave it nothing to do, whoever asks for it. One whose cadence alone is
    /// zero is still run by hand.
    #[must_use]
    pub fn is_off(&self, sweep: Sweep) -> bool {
        sweep == Sweep::Orphans && self.settings.orphan_retention.is_zero()
    }

    async fn repeat(&self, sweep: Sweep, stop: &CancellationToken) {
        let every = sweep.every(&self.settings);
        if every.is_zero() {
            tracing::info!(sweep = sweep.as_str(), "this sweep is switched off");
            if sweep == Sweep::Reseal {
                self.only_count(stop).await;
            }
            return;
        }
        measure::cadence(sweep.as_str(), every);
        // Whoever comes round early finds that it was done.
        let budget = Budget {
            limit: self.settings.limit,
            not_within: every.mul_f64(0.75),
            ..Budget::default()
        };
        // A fifth more or less, less four fifths.
        pause(jittered(AT_START).saturating_sub(AT_START.mul_f64(0.8)), stop).await;
        let mut reloaded = self.reloaded.clone().filter(|_| sweep == Sweep::Reseal);
        let mut not_within = budget.not_within;
        while !stop.is_cancelled() {
            let swept = self.pass(sweep, Budget { not_within, ..budget }, stop).await;
            // Events may come faster than one pass in a while can take them away.
            let is_behind = sweep == Sweep::Events && swept.found >= budget.limit;
            let next = match swept.unfinished {
                _ if is_behind => Duration::ZERO,
                true => SOON.min(every),
                false => every,
            };
            not_within = budget.not_within;
            tokio::select! {
                () = pause(jittered(next), stop) => {}
                // With another ring there is something to do, whenever it was done last.
                () = changed(&mut reloaded) => not_within = Duration::ZERO,
            }
        }
    }

    async fn only_count(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.sealed.count(&self.vestibule()).await;
            pause(jittered(COUNT_EVERY), stop).await;
        }
    }

    async fn pass(&self, sweep: Sweep, budget: Budget, stop: &CancellationToken) -> Swept {
        let (started, vestibule) = (Instant::now(), self.vestibule());
        let name = sweep.as_str();
        let swept = match sweep {
            Sweep::Orphans => {
                let retention = self.settings.orphan_retention;
                Orphans { retention, budget }.pass(&vestibule, stop).await
            }
            Sweep::Expired => {
                let expired = Expired { budget, ..Expired::new(self.tokens.clone()) };
                expired.pass(&vestibule, stop).await
            }
            Sweep::Reseal => {
                let swept = Reseal { budget }.pass(&vestibule, stop).await;
                self.sealed.count(&vestibule).await;
                swept
            }
            Sweep::Events => TrimEvents { budget }.pass(&vestibule, stop).await,
            Sweep::History => {
                let age = self.settings.history_age;
                TrimHistory { age, budget }.pass(&vestibule, stop).await
            }
        };
        let outcomes = [
            ("found", swept.found),
            ("done", swept.done),
            ("changed", swept.changed),
            ("left", swept.left),
            ("error", swept.errors),
        ];
        measure::pass(name, started.elapsed(), &outcomes, swept.errors == 0);
        let took_ms = started.elapsed().as_millis();
        // What was told is told already: that it is not kept is no news.
        if swept.errors > 0 || swept.found > 0 && sweep != Sweep::Events {
            tracing::info!(sweep = name, ?swept, took_ms, "swept");
        } else {
            tracing::debug!(sweep = name, ?swept, took_ms, "swept");
        }
        swept
    }
}

/// When the ring becomes another; never, if it cannot.
async fn changed(reloaded: &mut Option<watch::Receiver<Handles>>) {
    if let Some(handles) = reloaded
        && handles.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
