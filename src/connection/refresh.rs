//! One refresh: begin, then the exchange, in a task that outlives its caller.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    AccessToken, ConnectionError, Connector, CredentialSecret, ExchangeClass, ExchangeError, Inner,
    TokenAnswer,
};
use crate::{
    digest::{Digest, RequestId},
    store::{Attempt, Begin, Begun, ConnectionId, Renewal, Status},
};

/// How often a lease is renewed: three times within the shorter profile.
const RENEW_EVERY: Duration = Duration::from_secs(4);
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
    /// An exchange was cut off, and a journal may still bring its answer for so much longer.
    Undecided {
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
    /// What the worker does with a claimed connection: one that this process cannot refresh is left
    /// for those who can, without a word on the record.
    pub(super) async fn refresh_claimed(
        inner: &Arc<Self>,
        id: &ConnectionId,
    ) -> Result<Refreshed, ConnectionError> {
        if let Some(row) = inner.foundation.store.read_credential(id).await? {
            if let Err(error) = inner.config.registry.lookup(&row.connector) {
                tracing::warn!(connection = %id, %error, "left for a worker that knows it");
                return Ok(Refreshed::Not("unknown_connector"));
            }
            let place = Self::place(id, row.owner, &row.connector);
            let binding = inner.binding(&place);
            let opened: Result<CredentialSecret, _> =
                inner.foundation.seal.open_long(binding, &row.secret).await;
            if let Err(error) = opened {
                tracing::error!(connection = %id, %error, "a credential does not open here");
                return Ok(Refreshed::Not("does_not_open"));
            }
        }
        Self::refresh(inner, id, None).await
    }

    /// Begins, and if the lease is ours runs the exchange: both in a task that outlives the caller,
    /// so that no lease is left behind without an exchange.
    pub(super) async fn refresh(
        inner: &Arc<Self>,
        id: &ConnectionId,
        owner: Option<Digest>,
    ) -> Result<Refreshed, ConnectionError> {
        let (task, id) = (inner.clone(), id.clone());
        let running = inner.exchanges.spawn(async move { task.begin(&id, owner).await });
        running.await.map_err(|_| {
            let what = "the exchange's task ended early";
            ConnectionError::Exchange(ExchangeError::new(ExchangeClass::Undecided, what))
        })?
    }

    async fn begin(
        &self,
        id: &ConnectionId,
        owner: Option<Digest>,
    ) -> Result<Refreshed, ConnectionError> {
        let holder = RequestId::random().digest();
        // Before the lease is asked for: it ends no sooner than is reckoned with here.
        let asked_at = Instant::now();
        let lease = replay.lease();
        let attempt = Attempt {
            id,
            holder,
            owner,
            lease,
            instance: &self.config.instance,
            forgiven: replay.forgiven(),
            settled: lease + self.config.journal_window,
        };
        Ok(Ended::With(match self.foundation.store.begin(attempt).await? {
            Begin::Begun(begun) => {
                let exchange =
                    Exchange { inner: self, id, holder, asked_at, replay, begun: &begun };
                return Ok(exchange.run().await);
            }
            Begin::Held { remaining } => Refreshed::Held { remaining },
            Begin::NotDue { due_in, attempts } => Refreshed::NotDue { due_in, attempts },
            Begin::NotRefreshable => Refreshed::Not("not_refreshable"),
            Begin::Inactive(Status::Revoked) => Refreshed::Not("revoked"),
            Begin::Inactive(_) => Refreshed::Not("inactive"),
            Begin::Absent => Refreshed::Not("absent"),
        })
    }
}

/// One exchange under a lease. How it ends is in `settle`.
pub(super) struct Exchange<'a> {
    pub(super) inner: &'a Inner,
    pub(super) id: &'a ConnectionId,
    pub(super) begun: &'a Begun,
    holder: Digest,
}

impl Exchange<'_> {
    async fn run(&self) -> Refreshed {
        let outcome = match self.prepared().await {
            Ok((connector, secret)) => match self.exchanged(connector, &secret).await {
                Ok((answer, started)) => self.commit(connector, &secret, answer, started).await,
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
        let registry = &self.inner.config.registry;
        let connector = registry
            .lookup(&self.begun.connector)
            .map_err(|error| ExchangeError::new(ExchangeClass::Config, &error.to_string()))?;
        let seal = &self.inner.foundation.seal;
        let opened = seal.open_long(self.inner.binding(&self.place()), &self.begun.secret).await;
        let secret = opened.map_err(|error| {
            tracing::error!(connection = %self.id, %error, "a credential does not open");
            ExchangeError::new(ExchangeClass::Config, "the stored credential does not open")
        })?;
        Ok((connector, secret))
    }

    /// Presents the refresh token, renewing the lease as long as the provider takes.
    async fn exchanged(
        &self,
        connector: &Connector,
        secret: &CredentialSecret,
    ) -> Result<(TokenAnswer, Instant), ExchangeError> {
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
        let answer = tokio::select! {
            answer = timeout(connector.replay.patience(), exchange) => answer,
            never = self.keep_lease(connector) => match never {},
        };
        metrics::histogram!("vestibule_exchange_seconds", "connector" => connector.slug.clone())
            .record(started.elapsed().as_secs_f64());
        match answer {
            Ok(answer) => answer.map(|answer| (answer, started)),
            Err(_) => Err(ExchangeError::new(ExchangeClass::Undecided, "no answer in time")),
        }
    }

    /// Renews the lease until dropped. A lost one does not stop the exchange: its request is sent,
    /// and only its answer can save the account.
    async fn keep_lease(&self, connector: &Connector) -> Infallible {
        let lease = connector.replay.lease();
        loop {
            sleep(RENEW_EVERY).await;
            match self.inner.foundation.store.renew(self.id, self.holder, lease).await {
                Ok(Renewal::Renewed) => {}
                Ok(Renewal::Lost | Renewal::Absent) => {
                    metrics::counter!("vestibule_leases_lost_total").increment(1);
                    tracing::warn!(connection = %self.id, "the lease was lost during the exchange");
                }
                Err(error) => {
                    tracing::warn!(connection = %self.id, %error, "the lease is not renewed");
                }
            }
        }
    }

    pub(super) fn place(&self) -> String {
        Inner::place(self.id, self.begun.owner, &self.begun.connector)
    }

    /// How long ago the refresh token was first presented without a verdict.
    fn undecided_for(&self) -> Duration {
        self.begun.undecided_since.unwrap_or_default()
    }
}
