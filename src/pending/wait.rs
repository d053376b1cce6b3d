//! Waiting for a pending to end, from any replica.
//!
//! A waiter registers, reads, and sleeps until it is woken, the pending expires, or a slow poll
//! comes round; then it reads again. So nothing rests on a notification: it only makes it fast.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};
use tracing::{Span, field::Empty};

use super::{PendingError, Pendings};
use crate::{
    metric,
    seal::{Binding, SealError},
    store::{Ending, Outcome, PendingId, PendingRow},
    trace::{self, TraceContext},
};

/// How often a waiter looks although nobody woke it.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long others can see that somebody waits, unless told again.
const SEEN_FOR: Duration = Duration::from_secs(15);

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waited<A> {
    /// It was completed, with this answer.
    Completed {
        /// What the completing caller said.
        answer: A,
        /// Which replica completed it.
        by: String,
        /// When (ms since 1970, by the store's clock).
        at_ms: u64,
    },
    /// It was cancelled.
    Cancelled,
    /// Its namespace was cleared.
    Cleared,
    /// Nobody ended it in its life.
    Expired,
    /// There is none of this id: it never existed, or its outcome is gone.
    Unknown,
    /// It still waits; so may the caller, again.
    TimedOut,
}

impl<A> Waited<A> {
    /// The outcome's word, for traces.
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Completed { .. } => "completed",
            Self::Cancelled => "cancelled",
            Self::Cleared => "cleared",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
            Self::TimedOut => "timed_out",
        }
    }
}

/// An answer is a map at its top, whatever it is itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Answer<A> {
    pub(super) answer: A,
    /// Where the pending was completed.
    #[serde(default, skip_serializing_if = "TraceContext::is_none")]
    pub(super) trace: TraceContext,
}

impl<T: Serialize + DeserializeOwned + Sync> Pendings<T> {
    /// Waits until a pending ends, for `patience` at the most. Nothing is lost: what ended before
    /// the wait began, while the subscription was down, or while Redis was away, is learnt all the
    /// same.
    ///
    /// # Errors
    ///
    /// [`PendingError::Shape`] if the answer has another type; a failure of the store that lasts
    /// until `patience` is over.
    pub async fn wait<A: DeserializeOwned>(
        &self,
        id: PendingId,
        patience: Duration,
    ) -> Result<Waited<A>, PendingError> {
        let span = tracing::info_span!("vestibule.pending.wait", pending = %id, outcome = Empty);
        let waited = trace::within(&span, self.wait_in(&span, id, patience)).await?;
        span.record("outcome", waited.as_str());
        Ok(waited)
    }

    async fn wait_in<A: DeserializeOwned>(
        &self,
        span: &Span,
        id: PendingId,
        patience: Duration,
    ) -> Result<Waited<A>, PendingError> {
        let deadline = Instant::now() + patience;
        let waiter = self.foundation.store.wake_hub().register(id);
        // The first look is made to its end, however short the patience: it asks what is so now.
        let (mut looked, mut woken) = waiter.woken_after(self.look(id, None)).await;
        let (mut seen, mut failing) = (None::<Instant>, None);
        let mut how = None;
        loop {
            let sleep = match looked {
                Ok(Look::Ended(outcome)) => {
                    // One that had ended before the wait began woke nobody.
                    if let Some(how) = how {
                        let now_ms = self.foundation.store.now_ms();
                        let late = Duration::from_millis(now_ms.saturating_sub(outcome.at_ms));
                        metric::WAKEUP_SECONDS.of(&[how]).record(late);
                    }
                    return self.told(span, id, outcome);
                }
                Ok(Look::Expired) => return Ok(Waited::Expired),
                Ok(Look::Unknown) => return Ok(Waited::Unknown),
                // A little past its end, by the clock of Redis: expiry tells nobody.
                Ok(Look::Lives(left)) => {
                    failing = None;
                    LOOK_EVERY.min(left + Duration::from_millis(20))
                }
                Ok(Look::Nothing) => Duration::ZERO,
                // Redis may be back in time.
                Err(error) => {
                    failing = Some(error);
                    Duration::from_millis(200)
                }
            };
            if Instant::now() >= deadline {
                return failing.map_or(Ok(Waited::TimedOut), Err);
            }
            if seen.is_none_or(|at| at.elapsed() > SEEN_FOR / 2) {
                seen = Some(Instant::now());
                let _ = timeout_at(deadline, self.be_seen(id)).await;
            }
            // Woken or not: look again.
            let until = deadline.min(Instant::now() + sleep);
            how = Some(if timeout_at(until, woken).await.is_ok() { "told" } else { "looked" });
            (looked, woken) = waiter.woken_after(self.look(id, Some(deadline))).await;
        }
    }

    /// Looks, until `deadline` at the latest.
    async fn look(&self, id: PendingId, deadline: Option<Instant>) -> Result<Look, PendingError> {
        let looking = self.look_now(id);
        match deadline {
            None => looking.await,
            Some(deadline) => timeout_at(deadline, looking).await.unwrap_or(Ok(Look::Nothing)),
        }
    }

    async fn look_now(&self, id: PendingId) -> Result<Look, PendingError> {
        let store = &self.foundation.store;
        if let Some(outcome) = store.read_outcome(id).await? {
            return Ok(Look::Ended(outcome));
        }
        Ok(match store.read_pending(id).await? {
            PendingRow::Live { left, .. } => Look::Lives(left),
            PendingRow::Expired => Look::Expired,
            // It ended between the two reads.
            PendingRow::Ended(_) => Look::Lives(Duration::ZERO),
            PendingRow::Absent => Look::Unknown,
        })
    }

    fn told<A: DeserializeOwned>(
        &self,
        span: &Span,
        id: PendingId,
        outcome: Outcome,
    ) -> Result<Waited<A>, PendingError> {
        let Outcome { how, at_ms, by, body } = outcome;
        match how {
            Ending::Cancelled => return Ok(Waited::Cancelled),
            Ending::Cleared => return Ok(Waited::Cleared),
            Ending::Completed => {}
        }
        let text = id.to_string();
        let binding = Binding { purpose: "outcome", ..self.binding(&text) };
        let opened: Result<Answer<A>, _> = self.foundation.seal.open_short(binding, &body);
        match opened {
            Ok(Answer { answer, trace }) => {
                trace.link(span);
                Ok(Waited::Completed { answer, by, at_ms })
            }
            Err(SealError::Codec(source)) => Err(PendingError::Shape { id, source }),
            Err(error) => Err(PendingError::Seal(error)),
        }
    }

    /// For people only: that it fails changes nothing.
    async fn be_seen(&self, id: PendingId) {
        let who = &self.config.instance;
        if let Err(error) = self.foundation.store.note_waiter(id, who, SEEN_FOR).await {
            tracing::debug!(pending = %id, %error, "a waiter is not seen");
        }
    }
}

enum Look {
    Ended(Outcome),
    Lives(Duration),
    /// Nothing was seen in time.
    Nothing,
    Expired,
    Unknown,
}
