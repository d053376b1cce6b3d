//! Those who vend all the time, from every replica.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{House, Party};
use crate::{demo::browser::Browser, provider::Provider};

/// How many at each replica, of each provider's people.
const CALLERS: u64 = 3;
const PAUSE: Duration = Duration::from_millis(25);

pub(super) struct Callers {
    running: JoinSet<()>,
    stop: CancellationToken,
    counted: [Arc<Counted>; 2],
}

#[derive(Default)]
struct Counted {
    vends: AtomicU64,
    dead: AtomicU64,
}

impl Callers {
    /// They call until they are stopped. Whoever is told to come back does: what counts is what is
    /// handed out.
    pub(super) fn start(browser: &Browser, house: &House, at: &[Party; 2], seed: u64) -> Self {
        let stop = CancellationToken::new();
        let counted = [Arc::default(), Arc::<Counted>::default()];
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
                            let vended = browser.vend(port, &one.owner, one.id.as_str()).await;
                            if let Ok(vended) = vended {
                                counted.see(&provider, &vended.access_token);
                            }
                            sleep(PAUSE).await;
                        }
                    });
                }
            }
        }
        Self { running, stop, counted }
    }

    /// Waits for the last answers. For each party: vends, and those of a dead token.
    pub(super) async fn stop(self) -> [(u64, u64); 2] {
        self.stop.cancel();
        self.running.join_all().await;
        self.counted.map(|it| (it.vends.load(Ordering::Relaxed), it.dead.load(Ordering::Relaxed)))
    }
}

impl Counted {
    fn see(&self, provider: &Provider, access_token: &str) {
        self.vends.fetch_add(1, Ordering::Relaxed);
        self.dead
            .fetch_add(u64::from(!provider.is_access_token_live(access_token)), Ordering::Relaxed);
    }
}
