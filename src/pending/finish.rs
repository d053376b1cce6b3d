//! Ending a pending: one winner, and an answer for those who wait.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use tracing::{Span, field::Empty};

use super::{Pending, PendingError, Pendings, wait};
use crate::{
    digest::RequestId,
    metric,
    seal::Binding,
    store::{Ending, Finish, Finished, GRACE, PendingId},
    trace::{self, TraceContext},
};

/// What came of completing or cancelling a pending.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Completion<T> {
    /// It is yours.
    Won(Pending<T>),
    /// Somebody else ended it.
    Lost {
        /// How.
        how: Ending,
        /// When (ms since 1970, by the store's clock).
        at_ms: u64,
        /// Which replica; empty if that is not known any more.
        by: String,
    },
    /// Its life is over.
    Expired,
    /// It never existed or is long gone; or it waits for another subject, which looks the same.
    Absent,
}

impl<T: Serialize + DeserializeOwned + Sync> Pendings<T> {
    /// Completes a pending: it is handed to exactly one caller, and whoever waits is told `answer`.
    ///
    /// `subject` is who does it; if the pending is bound to one, it must be that one.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get). A lost reply is asked for again inside; for a retry beyond that, use
    /// [`finish_as`](Self::finish_as).
    pub async fn complete<A: Serialize>(
        &self,
        id: PendingId,
        subject: Option<&str>,
        answer: &A,
    ) -> Result<Completion<T>, PendingError> {
        let answer = self.seal_answer(id, answer)?;
        self.finish_as(&RequestId::random(), id, Ending::Completed, subject, &answer).await
    }

    /// Cancels a pending: as [`complete`](Self::complete), without an answer.
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete).
    pub async fn cancel(
        &self,
        id: PendingId,
        subject: Option<&str>,
    ) -> Result<Completion<T>, PendingError> {
        self.finish_as(&RequestId::random(), id, Ending::Cancelled, subject, &[]).await
    }

    /// Seals an answer for those who wait, for [`finish_as`](Self::finish_as).
    ///
    /// # Errors
    ///
    /// [`PendingError::Seal`] if it is too large or cannot be encoded.
    pub fn seal_answer<A: Serialize>(
        &self,
        id: PendingId,
        answer: &A,
    ) -> Result<Vec<u8>, PendingError> {
        let text = id.to_string();
        let binding = Binding { purpose: "outcome", ..self.binding(&text) };
        let life = self.config.outcome_longest.max(GRACE);
        let answer = wait::Answer { answer, trace: TraceContext::current() };
        Ok(self.foundation.seal.seal_short(binding, life, &answer)?)
    }

    /// Completes or cancels with a request id of the caller's, who may retry it: the same id gets
    /// the same answer for a minute.
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete).
    pub async fn finish_as(
        &self,
        request: &RequestId,
        id: PendingId,
        how: Ending,
        subject: Option<&str>,
        answer: &[u8],
    ) -> Result<Completion<T>, PendingError> {
        let span = tracing::info_span!("vestibule.pending.finish",
            pending = %id, how = how.as_str(), outcome = Empty);
        let completion = self.finish_in(&span, request, id, how, subject, answer).await;
        trace::judge(&span, &completion);
        completion
    }

    async fn finish_in(
        &self,
        span: &Span,
        request: &RequestId,
        id: PendingId,
        how: Ending,
        subject: Option<&str>,
        answer: &[u8],
    ) -> Result<Completion<T>, PendingError> {
        let finish = Finish {
            id,
            request: request.digest(),
            how,
            subject: subject.map(|subject| self.digest("subject", subject)),
            by: &self.config.instance,
            body: answer,
            longest: self.config.outcome_longest,
        };
        let finished = self.foundation.store.finish_pending(finish).await;
        let word = finished.as_ref().map_or_else(|e| e.class().as_str(), Finished::as_str);
        metric::TAKES.of(&["pending", word]).increment(1);
        span.record("outcome", word);
        match finished? {
            Finished::Finished(handed) => {
                let pending = self.open(id, &handed, Duration::ZERO)?;
                if let Some(pending) = &pending {
                    pending.trace.join(span);
                }
                Ok(pending.map_or(Completion::Expired, Completion::Won))
            }
            Finished::Already { how, at_ms, by } => Ok(Completion::Lost { how, at_ms, by }),
            Finished::Expired => Ok(Completion::Expired),
            Finished::Absent => Ok(Completion::Absent),
            Finished::OtherSubject => {
                tracing::warn!(pending = %id, "a pending was answered by another subject");
                Ok(Completion::Absent)
            }
        }
    }
}
