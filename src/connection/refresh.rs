//! One refresh: begin, then the exchange, in a task that outlives its caller.
//!
//! Whatever a replica may lack is found out before the request is sent: whether it opens the secret,
//! knows the connector, and has keys to seal the answer with. After that only the provider and Redis
//! can fail it.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument, field::Empty};

use super::{
    AuthType, ConnectionError, Connector, CredentialSecret, ExchangeClass, ExchangeError, Inner,
    Refreshed, ReplayPolicy, TokenAnswer, journal::Entry, telling::by,
};
use crate::{
    digest::{Digest, RequestId},
    metric::{self, SharedString},
    seal::{SealError, WrappedKey},
    store::{Attempt, Begin, Begun, By, ConnectionId, Renewal, Status},
    trace,
};

/// How often a lease is renewed: three times within itself.
const RENEW_EVERY: Duration = Duration::from_secs(4);
/// What a lease must have left, beyond the answer's time if it is not renewed, and what a grace must
/// have left, or nothing is sent.
const SPARE: Duration = Duration::from_secs(2);

impl Inner {
    /// Begins, and if the lease is ours runs the exchange: both in a task that outlives the caller,
    /// so that no lease is left behind without an exchange.
    pub(super) async fn refresh(
        inner: &Arc<Self>,
        id: &ConnectionId,
        owner: Option<Digest>,
        connector: Option<&Connector>,
    ) -> Result<Refreshed, ConnectionError> {
        let (task, id) = (inner.clone(), id.clone());
        let slug = connector.map(|connector| connector.slug.clone());
        let refreshing = async move {
            let connector = slug.and_then(|slug| task.config.registry.lookup(&slug).ok());
            task.begin(&id, owner, connector).await
        };
        let running = inner.exchanges.spawn(trace::follow(refreshing));
        running.await.map_err(|_| {
            let what = "the exchange's task ended early";
            ConnectionError::Exchange(ExchangeError::new(ExchangeClass::Undecided, what))
        })?
    }

    /// A refused refresh token whose sibling was kept is followed by that: two are, at most.
    async fn begin(
        &self,
        id: &ConnectionId,
        owner: Option<Digest>,
        connector: Option<&Connector>,
    ) -> Result<Refreshed, ConnectionError> {
        let mut siblings = 2;
        loop {
            match self.begin_in_place(id, owner, connector).await? {
                Ended::Switched(_) if siblings > 0 => siblings -= 1,
                Ended::Switched(error) => return Ok(Refreshed::Failed(error)),
                Ended::Answered(outcome) | Ended::With(outcome) | Ended::Unbegun(outcome) => {
                    return Ok(outcome);
                }
            }
        }
    }

    pub(super) async fn begin_once(
        &self,
        id: &ConnectionId,
        owner: Option<Digest>,
        connector: Option<&Connector>,
    ) -> Result<Ended, ConnectionError> {
        let replay = connector.map_or(ReplayPolicy::Strict, |connector| connector.replay);
        let by = by(owner, connector);
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
            settled: self.settled(lease),
            lifetime: connector.and_then(|connector| connector.max_lifetime),
            by,
        };
        Ok(Ended::Unbegun(match self.foundation.store.begin(attempt).await? {
            Begin::Begun(begun) => {
                let exchange =
                    Exchange { inner: self, id, holder, asked_at, replay, by, begun: &begun };
                return Ok(exchange.run().await);
            }
            Begin::Held { remaining } => Refreshed::Held { remaining },
            Begin::Undecided { remaining } => self.undecided(id, remaining, lease).await,
            Begin::NotDue { due_in, attempts } => Refreshed::NotDue { due_in, attempts },
            Begin::NotRefreshable => Refreshed::Not("not_refreshable"),
            Begin::Inactive(Status::Revoked) => Refreshed::Not("revoked"),
            Begin::Inactive(Status::Orphaned) => Refreshed::Not("orphaned"),
            Begin::Inactive(_) => Refreshed::Not("inactive"),
            Begin::Absent => Refreshed::Not("absent"),
        }))
    }
}

/// How an exchange ended.
pub(super) enum Ended {
    /// With tokens, and this is what came of them.
    Answered(Refreshed),
    /// Without, and with this.
    With(Refreshed),
    /// It did not begin.
    Unbegun(Refreshed),
    /// The refresh token was refused, and a sibling of it is current now and due.
    Switched(ExchangeError),
}

/// One exchange under a lease. How it ends is in `settle`.
pub(super) struct Exchange<'a> {
    pub(super) inner: &'a Inner,
    pub(super) id: &'a ConnectionId,
    pub(super) begun: &'a Begun,
    /// When the lease was asked for.
    pub(super) asked_at: Instant,
    pub(super) replay: ReplayPolicy,
    /// Who wants it.
    pub(super) by: By<'a>,
    holder: Digest,
}

/// What an exchange has before it sends anything.
pub(super) struct Ready<'a> {
    pub(super) connector: &'a Connector,
    pub(super) secret: CredentialSecret,
    /// The commit's request, which is the name of its entry in the journal.
    pub(super) commit: Digest,
    /// What the answer is sealed under: in the record, and in the entry.
    pub(super) keys: [WrappedKey; 2],
}

impl Ended {
    /// The outcome's word, for metrics and traces.
    const fn as_str(&self) -> &'static str {
        match self {
            Self::With(Refreshed::Failed(error)) => error.class.as_str(),
            Self::Answered(other) | Self::With(other) | Self::Unbegun(other) => other.as_str(),
            Self::Switched(_) => "switched",
        }
    }
}

impl Exchange<'_> {
    async fn run(&self) -> Ended {
        let connector = self.label();
        let span = tracing::info_span!("vestibule.refresh", connection = %self.id,
            %connector, fence = self.begun.fence, outcome = Empty);
        let ended = self.proceed().instrument(span.clone()).await;
        span.record("outcome", ended.as_str());
        metric::REFRESHES.named(connector, &[ended.as_str()]).increment(1);
        ended
    }

    async fn proceed(&self) -> Ended {
        match self.ready().await {
            Ok(ready) => match self.exchanged(ready.connector, &ready.secret).await {
                Ok((answer, started)) => {
                    Ended::Answered(self.commit(&ready, answer, started).await)
                }
                Err(error) => self.fail(error).await,
            },
            Err(error) => self.leave_to_others(error).await,
        }
    }

    /// An error is this replica's.
    async fn ready(&self) -> Result<Ready<'_>, ExchangeError> {
        let registry = &self.inner.config.registry;
        let connector = registry
            .lookup(&self.begun.connector)
            .map_err(|error| ExchangeError::new(ExchangeClass::Config, &error.to_string()))?;
        let failed = |what: &'static str| {
            move |error: SealError| {
                tracing::error!(connection = %self.id, %error, "{what}");
                ExchangeError::new(ExchangeClass::Config, what)
            }
        };
        let seal = &self.inner.foundation.seal;
        let opened = seal.open_long(self.inner.binding(&self.place()), &self.begun.secret).await;
        let secret = opened.map_err(failed("the stored credential does not open"))?;
        let commit = RequestId::random().digest();
        let keys = tokio::try_join!(
            self.inner.wrapped_key(self.id, self.begun.owner, &self.begun.connector),
            Entry::wrapped_key(self.inner, &commit),
        );
        let (record, entry) = keys.map_err(failed("there is no key to seal an answer with"))?;
        Ok(Ready { connector, secret, commit, keys: [record, entry] })
    }

    /// Whether it is too late to send anything: another may have begun meanwhile, or what was
    /// forgiven when this began is not any more.
    fn is_too_late(&self) -> bool {
        let (late, lease) = (self.asked_at.elapsed(), self.replay.lease());
        let forgiven = self.replay.forgiven();
        let lapsed = self
            .begun
            .undecided_since
            .is_some_and(|ago| ago < forgiven && ago + late + SPARE >= forgiven);
        lapsed
            || if self.replay.renews() {
                late + SPARE > lease
            } else {
                late + self.replay.patience() + SPARE > lease
            }
    }

    /// Presents the refresh token, renewing the lease as long as the provider takes.
    async fn exchanged(
        &self,
        connector: &Connector,
        secret: &CredentialSecret,
    ) -> Result<(TokenAnswer, Instant), ExchangeError> {
        let patience = self.replay.patience();
        if self.is_too_late() {
            let what = "too little of the lease was left: nothing was sent";
            return Err(ExchangeError::new(ExchangeClass::Transient, what));
        }
        if let Some(ago) = self.begun.undecided_since {
            tracing::warn!(connection = %self.id, ago_ms = ago.as_millis(),
                forgiven = ago < self.replay.forgiven(),
                "taking over an undecided exchange: the refresh token is presented again");
            metric::TAKEOVERS.named(self.label(), &[]).increment(1);
        }
        let started = Instant::now();
        let port = &self.inner.config.exchange;
        let exchange = match &secret.refresh_token {
            Some(refresh_token) => port.exchange_refresh_token(connector, refresh_token),
            None if connector.auth == AuthType::ClientCredentials => {
                port.exchange_client_credentials(connector)
            }
            None => {
                let what = "no refresh token is stored";
                return Err(ExchangeError::new(ExchangeClass::Config, what));
            }
        };
        let answer = tokio::select! {
            answer = timeout(patience, exchange) => answer,
            never = self.keep_lease() => match never {},
        };
        metric::EXCHANGE_SECONDS.named(self.label(), &[]).record(started.elapsed());
        match answer {
            Ok(answer) => answer.map(|answer| (answer, started)).map_err(ExchangeError::cleaned),
            Err(_) => Err(ExchangeError::new(ExchangeClass::Undecided, "no answer in time")),
        }
    }

    /// Renews the lease until dropped, if it is of that kind. A lost one does not stop the exchange: its request is sent,
    /// and only its answer can save the account.
    async fn keep_lease(&self) -> Infallible {
        if !self.replay.renews() {
            return pending().await;
        }
        let lease = self.replay.lease();
        loop {
            sleep(RENEW_EVERY).await;
            match self.inner.foundation.store.renew(self.id, self.holder, lease).await {
                Ok(Renewal::Renewed) => {}
                Ok(Renewal::Lost | Renewal::Absent) => {
                    metric::LEASES_LOST.of(&[]).increment(1);
                    tracing::warn!(connection = %self.id, "the lease was lost during the exchange");
                }
                Err(error) => {
                    tracing::warn!(connection = %self.id, %error, "the lease is not renewed");
                }
            }
        }
    }

    /// What its connector is called where things are counted.
    pub(super) fn label(&self) -> SharedString {
        self.inner.config.registry.label(&self.begun.connector)
    }

    pub(super) fn place(&self) -> String {
        Inner::place(self.id, self.begun.owner, &self.begun.connector)
    }

    /// How long ago the refresh token was first presented without a verdict.
    pub(super) fn undecided_for(&self) -> Duration {
        self.begun.undecided_since.unwrap_or_default()
    }
}
