//! How an exchange ends: its answer is committed, or its failure recorded, once Redis decides.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, sleep};

use super::{
    ConnectionError, Connector, CredentialSecret, ExchangeClass, ExchangeError, Refreshed,
    TokenAnswer, refresh::Exchange, schedule,
};
use crate::{
    digest::RequestId,
    store::{Class, Commit, CommitOutcome, Fail, FailOutcome, FailureKind, StoreError},
};

/// How long an answer that Redis does not take is kept and tried again.
const PERSIST_FOR: Duration = Duration::from_secs(60);
/// After a lost answer of a strict provider: its lease, and time for what was journaled.
const STRICT_WAIT: Duration = Duration::from_secs(60);
/// What only an operator can mend is not tried more often than this.
const OPERATOR_WAIT: Duration = Duration::from_secs(300);

impl Exchange<'_> {
    /// Stores the answer, trying until Redis decides.
    pub(super) async fn commit(
        &self,
        connector: &Connector,
        before: &CredentialSecret,
        answer: TokenAnswer,
        started: Instant,
    ) -> Refreshed {
        let secret = CredentialSecret::from_answer(&answer, Some(before));
        let refresh_token =
            secret.refresh_token.as_ref().map(|token| self.inner.refresh_token_digest(token));
        let place = self.place();
        let binding = self.inner.binding(&place);
        let sealed = match self.inner.foundation.seal.seal_long(binding, &secret).await {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::error!(connection = %self.id, %error, "a refreshed credential is not sealed");
                return self.unpersisted(answer);
            }
        };
        let request = RequestId::random().digest();
        let next = |life| schedule::next_refresh(life, connector.refresh_lead, self.id);
        let decided = persist(|| {
            // From the beginning of the exchange: a process that was paused cannot tell when the
            // answer came.
            let elapsed = started.elapsed();
            let left = answer.expires_in.map(|life| life.saturating_sub(elapsed));
            self.inner.foundation.store.commit(Commit {
                id: self.id,
                request,
                fence: self.begun.fence,
                grant: self.begun.grant,
                presented: self.begun.refresh_token,
                secret: &sealed,
                refresh_token,
                expires_in: left,
                next_in: refresh_token
                    .and(answer.expires_in)
                    .map(|life| next(life).saturating_sub(elapsed)),
                answered_ago: elapsed,
            })
        })
        .await;
        match decided {
            Ok(CommitOutcome::Committed { ver, recovered }) => {
                tracing::info!(connection = %self.id, ver, recovered, fence = self.begun.fence,
                    "refreshed");
                Refreshed::Fresh {
                    access_token: answer.access_token,
                    expires_in: answer.expires_in,
                }
            }
            Ok(CommitOutcome::AlreadyCommitted { .. } | CommitOutcome::Superseded) => {
                Refreshed::NotDue { due_in: Duration::ZERO, attempts: 0 }
            }
            Ok(CommitOutcome::Refused) => {
                tracing::warn!(connection = %self.id, "the grant changed during the exchange: dropped");
                Refreshed::Not("refused")
            }
            Ok(CommitOutcome::Gone) => Refreshed::Not("absent"),
            Err(error) => {
                tracing::error!(connection = %self.id, %error,
                    rotated = answer.refresh_token.is_some(),
                    "refresh_rotation_persistence_failed: Redis did not take the new token");
                self.unpersisted(answer)
            }
        }
    }

    /// The caller at least gets the token.
    fn unpersisted(&self, answer: TokenAnswer) -> Refreshed {
        metrics::counter!("vestibule_refresh_unpersisted_total",
            "connector" => self.begun.connector.clone())
        .increment(1);
        Refreshed::Fresh { access_token: answer.access_token, expires_in: answer.expires_in }
    }

    pub(super) async fn fail(&self, forgiving: bool, error: &ExchangeError) {
        let undecided_before = self.begun.undecided_since.is_some();
        let (kind, reason) = match error.class {
            // The provider may refuse the second presentation of a token that it rotated for a
            // crashed replica: inside its grace that is not the last word.
            ExchangeClass::Rejected if undecided_before && forgiving => {
                (FailureKind::Undecided, error.reason.as_str())
            }
            ExchangeClass::Rejected if undecided_before => {
                (FailureKind::NeedsReauth, "rotation_lost")
            }
            ExchangeClass::Rejected => (FailureKind::NeedsReauth, error.reason.as_str()),
            ExchangeClass::Undecided => (FailureKind::Undecided, error.reason.as_str()),
            // A failure that the provider decided, after one whose answer was lost: the token may
            // still be the rotated one.
            _ if undecided_before => (FailureKind::Undecided, error.reason.as_str()),
            _ => (FailureKind::Transient, error.reason.as_str()),
        };
        let backoff = match error.class {
            ExchangeClass::Client | ExchangeClass::Config => {
                error.retry_after.unwrap_or_default().max(OPERATOR_WAIT)
            }
            // Soon, while the provider still forgives; or not before its verdict is final.
            ExchangeClass::Undecided if forgiving => Duration::from_secs(1),
            ExchangeClass::Undecided => STRICT_WAIT,
            _ => schedule::backoff(self.begun.attempts, error.retry_after, self.id),
        };
        let request = RequestId::random().digest();
        let recorded = persist(|| {
            self.inner.foundation.store.fail(Fail {
                id: self.id,
                request,
                fence: self.begun.fence,
                grant: self.begun.grant,
                presented: self.begun.refresh_token,
                kind,
                reason,
                backoff,
            })
        })
        .await;
        match recorded {
            Ok(FailOutcome::Recorded { attempts }) => {
                tracing::warn!(connection = %self.id, class = error.class.as_str(), reason, attempts,
                    backoff_ms = backoff.as_millis(), kind = kind.as_str(), "refresh failed");
            }
            Ok(FailOutcome::Stale | FailOutcome::Gone) => {}
            Err(error) => {
                tracing::error!(connection = %self.id, %error, "a failed refresh is not recorded");
            }
        }
    }
}

/// What [`persist`] asks of an error: whether trying again may help.
pub(super) trait MayPass {
    fn may_pass(&self) -> bool;
}

impl MayPass for StoreError {
    fn may_pass(&self) -> bool {
        self.class() != Class::Corrupt
    }
}

impl MayPass for ConnectionError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Store(error) if error.may_pass())
    }
}

/// Runs a verb until the store decides, or [`PERSIST_FOR`] is over. The verb carries one request
/// id, so it may run any number of times.
pub(super) async fn persist<T, E, F>(verb: impl Fn() -> F) -> Result<T, E>
where
    E: MayPass + std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + PERSIST_FOR;
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter()
        .build();
    loop {
        match verb().await {
            Err(error) if error.may_pass() && Instant::now() < deadline => {
                tracing::debug!(%error, "trying again to persist");
                sleep(pauses.next().unwrap_or(Duration::from_secs(2))).await;
            }
            decided => return decided,
        }
    }
}
