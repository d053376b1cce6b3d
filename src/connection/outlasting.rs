//! An answer that Redis did not take while its caller waited: it is tried on, until Redis decides.
//!
//! A journal keeps it too, and over the end of the process. This is what there is without one, and
//! where nobody replays.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    Inner,
    journal::{Entry, Journal, Sealed},
    persisting::MayPass,
};
use crate::{
    foundation::Foundation,
    store::{Actor, By, CommitOutcome, StoreError},
};

/// So many answers are kept. Each is a few KiB, as in a journal.
const MOST: usize = 10_000;
/// So many of them are tried at a time: an outage is not hammered, and its end is found soon.
const AT_ONCE: usize = 4;
/// Between two tries of one.
const PAUSE: Duration = Duration::from_secs(2);
/// An access token is dead by then, and a refresh token that was not used since is often too.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How long a graceful stop waits for what is left: a Redis that is there takes it all.
const LAST_TRY: Duration = Duration::from_secs(5);

/// All of a process. Clones are handles to the same.
#[derive(Debug, Clone)]
pub(super) struct Outlasting {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Default for Outlasting {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MOST)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: TaskTracker::new(),
        }
    }
}

/// One answer, with all that its commit needs.
struct Answer {
    foundation: Arc<Foundation>,
    journal: Arc<dyn Journal>,
    entry: Entry,
    sealed: Sealed,
    began: Instant,
    actor: Actor,
    idp_host: String,
}

impl Inner {
    /// Goes on with a commit in a task of its own, for as long as the process lives, and a day at most.
    pub(super) fn outlast(&self, entry: Entry, sealed: Sealed, began: Instant, by: By<'_>) {
        let Ok(place) = self.outlasting.places.clone().try_acquire_owned() else {
            tracing::error!(connection = %sealed.id(), "too many answers are kept: this one is not");
            return;
        };
        let answer = Answer {
            foundation: self.foundation.clone(),
            journal: self.config.journal.clone(),
            entry,
            sealed,
            began,
            actor: by.actor,
            idp_host: by.idp_host.to_owned(),
        };
        let turns = self.outlasting.turns.clone();
        self.outlasting.tasks.spawn(answer.outlast(turns, place));
    }
}

impl Outlasting {
    /// Waits a moment for those that can be stored now.
    pub(super) async fn drained(&self) {
        self.tasks.close();
        if timeout(LAST_TRY, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "answers are left that Redis did not take");
        }
        self.tasks.reopen();
    }
}

impl Answer {
    async fn outlast(self, turns: Arc<Semaphore>, _place: OwnedSemaphorePermit) {
        loop {
            sleep(PAUSE).await;
            let tried = {
                let Ok(_turn) = turns.acquire().await else { return };
                self.commit().await
            };
            match tried {
                Ok(outcome) => return self.decided(outcome).await,
                Err(error) if error.may_pass() && self.began.elapsed() < GIVEN_UP_AFTER => {
                    tracing::debug!(connection = %self.sealed.id(), %error, "trying on to persist");
                }
                Err(error) => {
                    tracing::error!(connection = %self.sealed.id(), %error, "an answer is given up");
                    return;
                }
            }
        }
    }

    async fn commit(&self) -> Result<CommitOutcome, StoreError> {
        let commit = self.entry.commit(&self.sealed, self.began.elapsed(), self.by());
        self.foundation.store.commit(commit).await
    }

    async fn decided(&self, outcome: CommitOutcome) {
        tracing::info!(connection = %self.sealed.id(), outcome = outcome.as_str(),
            "an answer is stored late");
        if let Err(error) = self.journal.decided(self.entry.name()).await {
            tracing::warn!(connection = %self.sealed.id(), %error, "it stays in the journal");
        }
        let saved = matches!(outcome, CommitOutcome::Committed { .. } | CommitOutcome::Alt);
        if saved && self.entry.rotates(&self.sealed) {
            let (entry, late) = (&self.entry, Some(self.began.elapsed()));
            let told = (entry.connector.as_str(), entry.owner(), entry.name());
            self.foundation.tell_unpersisted(self.sealed.id(), told, self.by(), late).await;
        }
    }

    fn by(&self) -> By<'_> {
        By { actor: self.actor, idp_host: &self.idp_host }
    }
}
