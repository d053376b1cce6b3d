//! Those who vend all the time, from every replica.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use vestibule::store::ConnectionId;

use super::{House, Party};
use crate::{
    demo::{
        browser::{Browser, NotVended, Vended},
        stage::SERVE_MARGIN,
    },
    provider::Provider,
};

/// How many at each replica, of each provider's people.
const CALLERS: u64 = 3;
const PAUSE: Duration = Duration::from_millis(25);

pub(super) struct Callers {
    running: JoinSet<()>,
    stop: CancellationToken,
    counted: [Arc<Mutex<Counted>>; 2],
}

/// What came of the calls.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) vends: u64,
    /// Those of a token that the provider does not take.
    pub(super) dead_vends: u64,
    /// The others, by the reason that they were told.
    pub(super) refused: BTreeMap<String, u64>,
    /// What was asked for then.
    pub(super) refused_of: Vec<ConnectionId>,
}

impl Callers {
    /// They call until they are stopped. Whoever is told to come back does, and is counted as well.
    pub(super) fn start(browser: &Browser, house: &House, at: &[Party; 2], seed: u64) -> Self {
        let stop = CancellationToken::new();
        let counted = [Arc::default(), Arc::<Mutex<Counted>>::default()];
        let mut running = JoinSet::new();
        for (party, counted) in at.iter().zip(&counted) {
            for port in house.ports() {
                for n in 0..CALLERS {
                    let (browser, stop) = (browser.another(), stop.clone());
                    let (signed, provider) = (party.signed.clone(), Arc::clone(&party.provider));
                    let counted = Arc::clone(counted);
                    let mut chance = fastrand::Rng::with_seed(seed ^ (u64::from(port) << 8 | n));
                    running.spawn(async move {
                        while !stop.is_cancelled() {
                            let one = &signed[chance.usize(..signed.len())];
                            let asked = Instant::now();
                            let vended = browser.vend_or_reason(port, &one.owner, one.id.as_str());
                            let vended = vended.await;
                            lock(&counted).see(&provider, &one.id, vended, asked.elapsed());
                            sleep(PAUSE).await;
                        }
                    });
                }
            }
        }
        Self { running, stop, counted }
    }

    /// Waits for the last answers. What came of the calls, for each party.
    pub(super) async fn stop(self) -> [Counted; 2] {
        self.stop.cancel();
        self.running.join_all().await;
        self.counted.map(|counted| std::mem::take(&mut *lock(&counted)))
    }
}

impl Counted {
    fn see(
        &mut self,
        provider: &Provider,
        id: &ConnectionId,
        vended: anyhow::Result<Result<Vended, NotVended>>,
        took: Duration,
    ) {
        let reason = match vended {
            Ok(Ok(vended)) => {
                self.vends += 1;
                // What was on its way for longer than that may have run out meanwhile.
                let late = took.saturating_sub(SERVE_MARGIN);
                let is_live = provider.was_access_token_live(&vended.access_token, late);
                self.dead_vends += u64::from(!is_live);
                return;
            }
            Ok(Err(refused)) => refused.reason,
            Err(_) => "no_answer".to_owned(),
        };
        *self.refused.entry(reason).or_default() += 1;
        self.refused_of.push(id.clone());
    }
}

/// Nobody panics who counts.
fn lock(counted: &Mutex<Counted>) -> MutexGuard<'_, Counted> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}
