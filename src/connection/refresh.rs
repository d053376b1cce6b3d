//! One refresh: begin, exchange, then commit or fail. The only place where the library spawns.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::{
    AccessToken, ConnectionError, Connector, CredentialSecret, ExchangeClass, ExchangeError, Inner,
    TokenAnswer, schedule,
};
use crate::{
    digest::{Digest, RequestId},
    store::{
        Attempt, Begin, Begun, Class, Commit, CommitOutcome, ConnectionId, Fail, FailOutcome,
        FailureKind, Renewal, Status, StoreError,
    },
};

/// How often a lease is renewed: three times within the shorter profile.
const RENEW_EVERY: Duration = Duration::from_secs(4);
/// How long an answer that Redis does not take is kept and tried again.
const PERSIST_FOR: Duration = Duration::from_secs(60);
/// After a lost answer of a strict provider: its lease, and time for what was journaled.
const STRICT_WAIT: Duration = Duration::from_secs(60);
/// What only an operator can mend is not tried more often than this.
const OPERATOR_WAIT: Duration = Duration::from_secs(300);
/// Until when a lease is taken that no connector is known for: the shorter profile.
const LEASE: Duration = Duration::from_secs(12);

/// What came of wanting to refresh.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Refreshed {
    /// A new access token, stored.
    Fresh {
        /// The token.
        access_token: AccessToken,
        /// How long it lived when it was stored; `None` if undisclosed.
        expires_in: Option<Duration>,
    },
    /// Another replica has the lease for so much longer.
    Held {
        /// How long.
        remaining: Duration,
    },
    /// It is not due: refreshed meanwhile, or backing off after so many failures.
    NotDue {
        /// When it is.
        due_in: Duration,
        /// Failed attempts in a row.
        attempts: u32,
    },
    /// It cannot be refreshed: no refresh token, not active, or gone.
    Not(&'static str),
    /// The exchange failed, and that is on record.
    Failed(ExchangeError),
}

impl Refreshed {
    /// The outcome's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Fresh { .. } => "fresh",
            Self::Held { .. } => "held",
            Self::NotDue { .. } => "not_due",
            Self::Not(_) => "not",
            Self::Failed(_) => "failed",
        }
    }
}

impl Inner {
    /// Begins, and if the lease is ours runs the exchange in a task that outlives the caller.
    pub(super) async fn refresh(
        inner: &Arc<Self>,
        id: &ConnectionId,
        owner: Option<Digest>,
    ) -> Result<Refreshed, ConnectionError> {
        let holder = RequestId::random().digest();
        let attempt = Attempt { id, holder, owner, lease: LEASE, instance: &inner.config.instance };
        let begun = match inner.foundation.store.begin(attempt).await? {
            Begin::Begun(begun) => begun,
            Begin::Held { remaining } => return Ok(Refreshed::Held { remaining }),
            Begin::NotDue { due_in, attempts } => {
                return Ok(Refreshed::NotDue { due_in, attempts });
            }
            Begin::NotRefreshable => return Ok(Refreshed::Not("not_refreshable")),
            Begin::Inactive(Status::Revoked) => return Ok(Refreshed::Not("revoked")),
            Begin::Inactive(_) => return Ok(Refreshed::Not("inactive")),
            Begin::Absent => return Ok(Refreshed::Not("absent")),
        };
        let (task, id) = (inner.clone(), id.clone());
        let running = inner.exchanges.spawn(async move {
            let exchange = Exchange { inner: &task, id: &id, holder, begun: &begun };
            exchange.run().await
        });
        running.await.map_err(|_| {
            let what = "the exchange's task ended early";
            ConnectionError::Exchange(ExchangeError::new(ExchangeClass::Undecided, what))
        })
    }
}

/// One exchange under a lease.
struct Exchange<'a> {
    inner: &'a Inner,
    id: &'a ConnectionId,
    holder: Digest,
    begun: &'a Begun,
}

impl Exchange<'_> {
    async fn run(&self) -> Refreshed {
        let outcome = match self.prepared().await {
            Ok((connector, secret)) => match self.exchanged(connector, &secret).await {
                Ok(answer) => self.commit(connector, &secret, answer).await,
                Err(error) => {
                    self.fail(connector.replay.forgives(self.undecided_for()), &error).await;
                    Refreshed::Failed(error)
                }
            },
            // Nothing was sent: the credential is not to blame.
            Err(error) => {
                self.fail(true, &error).await;
                Refreshed::Failed(error)
            }
        };
        let word = match &outcome {
            Refreshed::Failed(error) => error.class.as_str(),
            other => other.as_str(),
        };
        metrics::counter!("vestibule_refresh_total",
            "connector" => self.begun.connector.clone(), "outcome" => word)
        .increment(1);
        outcome
    }

    /// The connector, and the secret with the refresh token to present.
    async fn prepared(&self) -> Result<(&Connector, CredentialSecret), ExchangeError> {
        let wait = |error: ExchangeError| error.retry_after(Some(OPERATOR_WAIT));
        let connector =
            self.inner.config.registry.lookup(&self.begun.connector).map_err(|error| {
                wait(ExchangeError::new(ExchangeClass::Config, &error.to_string()))
            })?;
        let seal = &self.inner.foundation.seal;
        let secret: CredentialSecret = seal
            .open_long(self.inner.binding(self.id), &self.begun.secret)
            .await
            .map_err(|error| {
                tracing::error!(connection = %self.id, %error, "a credential does not open");
                wait(ExchangeError::new(
                    ExchangeClass::Config,
                    "the stored credential does not open",
                ))
            })?;
        Ok((connector, secret))
    }

    /// Presents the refresh token, renewing the lease as long as the provider takes.
    async fn exchanged(
        &self,
        connector: &Connector,
        secret: &CredentialSecret,
    ) -> Result<TokenAnswer, ExchangeError> {
        let Some(refresh_token) = &secret.refresh_token else {
            return Err(ExchangeError::new(ExchangeClass::Config, "no refresh token is stored"));
        };
        if let Some(ago) = self.begun.undecided_since {
            tracing::warn!(connection = %self.id, ago_ms = ago.as_millis(),
                forgiven = connector.replay.forgives(ago),
                "taking over an undecided exchange: the refresh token is presented again");
            metrics::counter!("vestibule_takeovers_total", "connector" => connector.slug.clone())
                .increment(1);
        }
        let started = Instant::now();
        let exchange = self.inner.config.exchange.exchange_refresh_token(connector, refresh_token);
        tokio::pin!(exchange);
        let mut renewals = interval_at(Instant::now() + RENEW_EVERY, RENEW_EVERY);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let answer = loop {
            tokio::select! {
                answer = &mut exchange => break answer,
                _ = renewals.tick() => self.renew(connector).await,
            }
        };
        metrics::histogram!("vestibule_exchange_seconds", "connector" => connector.slug.clone())
            .record(started.elapsed().as_secs_f64());
        answer
    }

    /// A lost lease does not stop the exchange: its request is sent, and only its answer can save
    /// the account.
    async fn renew(&self, connector: &Connector) {
        let lease = connector.replay.lease();
        match self.inner.foundation.store.renew(self.id, self.holder, lease).await {
            Ok(Renewal::Renewed) => {}
            Ok(Renewal::Lost | Renewal::Absent) => {
                metrics::counter!("vestibule_leases_lost_total").increment(1);
                tracing::warn!(connection = %self.id, "the lease was lost during the exchange");
            }
            Err(error) => tracing::warn!(connection = %self.id, %error, "the lease is not renewed"),
        }
    }

    /// Stores the answer, trying until Redis decides.
    async fn commit(
        &self,
        connector: &Connector,
        before: &CredentialSecret,
        answer: TokenAnswer,
    ) -> Refreshed {
        let answered = Instant::now();
        let secret = CredentialSecret::from_answer(&answer, Some(before));
        let refresh_token =
            secret.refresh_token.as_ref().map(|token| self.inner.refresh_token_digest(token));
        let binding = self.inner.binding(self.id);
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
            let elapsed = answered.elapsed();
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

    async fn fail(&self, forgiving: bool, error: &ExchangeError) {
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

    /// How long ago the refresh token was first presented without a verdict.
    fn undecided_for(&self) -> Duration {
        self.begun.undecided_since.unwrap_or_default()
    }
}

/// Runs a verb until the store decides, or [`PERSIST_FOR`] is over. The verb carries one request
/// id, so it may run any number of times.
async fn persist<T, F>(verb: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
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
            Err(error) if error.class() != Class::Corrupt && Instant::now() < deadline => {
                tracing::debug!(%error, "trying again to persist");
                sleep(pauses.next().unwrap_or(Duration::from_secs(2))).await;
            }
            decided => return decided,
        }
    }
}
