//! What a provider takes: every call that exchanges something has a place before it begins.
//!
//! **Caps** are counted over all replicas, and a refresh that finds no place leaves no trace on its
//! credential. The sweep's stand in line: each is told a time of its own. A vend's caller, or a person
//! who signs in, is in a hurry, and asks again.
//!
//! **A pause** is for what only an operator can mend: the provider does not accept the host itself.
//! Nobody asks it then, for 1 min at first and twice as long each time, up to 15 min; after that one
//! refresh does, and what comes of it decides. No credential is touched. Tokens that still live are
//! served.
//!
//! **A slow provider** holds up its own: so many exchanges that take their time may be under way in
//! one process, and the rest of that connector's wait, while others go on.

use std::time::Duration;

use super::{
    ConnectionError, Connections, Connector, ExchangeClass, ExchangeError, Inner, Refreshed,
    persisting::persist, refresh::Ended, schedule, telling::by, under_way::Entered,
};
use crate::{
    digest::{Digest, RequestId},
    metric,
    store::{
        Actor, By, Caps, ConnectionId, ConnectorName, Pause, PauseRow, Paused, Release, Reserve,
        Reserved, Resumed, Shard, StoreError,
    },
};

/// The first pause, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// What a place's lease has beyond the answer's time.
const SPARE: Duration = Duration::from_secs(5);

impl Connections {
    /// Why and until when a connector's provider is not asked; `None` if it is.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::UnknownConnector`], or a failure of the store.
    pub async fn paused(&self, connector: &str) -> Result<Option<PauseRow>, ConnectionError> {
        let connector = self.inner.config.registry.lookup(connector)?;
        Ok(self.inner.foundation.store.read_pause(self.inner.name_of(connector)).await?)
    }

    /// Ends a connector's pause, once its cause is mended. Its credentials are refreshed as they
    /// come due, at the latest when the pause would have ended; a caller who needs one is not held
    /// up.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::UnknownConnector`], or a failure of the store.
    pub async fn resume(&self, connector: &str) -> Result<Resumed, ConnectionError> {
        let connector = self.inner.config.registry.lookup(connector)?;
        let by = By { actor: Actor::Operator, idp_host: connector.idp_host() };
        self.inner.under_way.fits(&connector.slug);
        Ok(self.inner.resume(connector, by).await?)
    }
}

impl Inner {
    /// Begins from a place at the provider. Of no known connector there is none, and none needed.
    pub(super) async fn begin_in_place(
        &self,
        id: &ConnectionId,
        owner: Option<Digest>,
        connector: Option<&Connector>,
    ) -> Result<Ended, ConnectionError> {
        let Some(connector) = connector else {
            return self.begin_once(id, owner, None).await;
        };
        // Only the worker, which serves all owners, has the patience to stand in line.
        let lease = connector.replay.patience() + SPARE;
        let place = match self.place_at(connector, lease, owner.is_none()).await? {
            Ok(place) => place,
            Err(told) => return Ok(Ended::Unbegun(told)),
        };
        let begun = self.begin_once(id, owner, Some(connector)).await;
        let ended = begun.as_ref().ok();
        let made = ended.is_some_and(|ended| !matches!(ended, Ended::Unbegun(_)));
        place.leave(made, ended.is_some_and(accepts_the_host), by(owner, Some(connector))).await;
        begun
    }

    /// A place for one call, or when to come again.
    pub(super) async fn place_at<'a>(
        &'a self,
        connector: &'a Connector,
        lease: Duration,
        in_line: bool,
    ) -> Result<Result<HeldPlace<'a>, Refreshed>, StoreError> {
        let holder = RequestId::random().digest();
        let reserve = Reserve {
            connector: self.name_of(connector),
            holder,
            lease,
            caps: connector.caps(),
            in_line,
        };
        Ok(match self.foundation.store.reserve(reserve).await? {
            Reserved::Go { probe } => {
                let entered = self.under_way.enter(&connector.slug);
                Ok(HeldPlace { inner: self, connector, holder, probe, entered })
            }
            Reserved::Later(wait) => Err(Refreshed::AtCap { wait }),
            Reserved::Paused { remaining, reason } => Err(Refreshed::Paused { remaining, reason }),
        })
    }

    /// A failed exchange that is not the credential's fault: pauses the connector, and says for
    /// how long. `None` if it may be the credential's.
    pub(super) async fn pause_for(
        &self,
        connector: &str,
        id: Option<&ConnectionId>,
        error: &ExchangeError,
        by: By<'_>,
    ) -> Option<Duration> {
        let connector = self.config.registry.lookup(connector).ok()?;
        let host = match error.class {
            ExchangeClass::Client => true,
            // Of those, only what the provider said.
            ExchangeClass::Config => {
                ExchangeClass::of_code(&error.reason) == ExchangeClass::Config
                    && id.is_some_and(|id| self.under_way.misfit(&connector.slug, id))
            }
            _ => false,
        };
        if !host {
            return None;
        }
        let pause = Pause {
            connector: self.name_of(connector),
            request: RequestId::random().digest(),
            reason: &error.reason,
            first: FIRST_PAUSE,
            longest: LONGEST_PAUSE,
            by,
        };
        match persist(|| self.foundation.store.pause_connector(pause)).await {
            Ok(Paused::Paused { remaining }) => {
                let label = self.config.registry.label(&connector.slug);
                metric::PAUSED.named(label, &[]).increment(1);
                tracing::error!(
                    connector = connector.slug,
                    reason = error.reason,
                    for_s = remaining.as_secs(),
                    "connector_paused: the provider does not accept this host; mend its client"
                );
                Some(remaining)
            }
            Ok(Paused::Again { remaining }) => {
                tracing::warn!(
                    connector = connector.slug,
                    reason = error.reason,
                    for_s = remaining.as_secs(),
                    "the connector is still paused"
                );
                Some(remaining)
            }
            Ok(Paused::Still { remaining }) => Some(remaining),
            Err(error) => {
                tracing::error!(connector = connector.slug, %error, "a connector is not paused");
                Some(FIRST_PAUSE)
            }
        }
    }

    async fn resume(&self, connector: &Connector, by: By<'_>) -> Result<Resumed, StoreError> {
        let request = RequestId::random().digest();
        let resumed =
            self.foundation.store.resume_connector(self.name_of(connector), request, by).await?;
        if resumed == Resumed::Resumed {
            let label = self.config.registry.label(&connector.slug);
            metric::RESUMED.named(label, &[]).increment(1);
            tracing::info!(connector = connector.slug, "connector_resumed");
        }
        Ok(resumed)
    }

    pub(super) fn name_of<'a>(&self, connector: &'a Connector) -> ConnectorName<'a> {
        let digest = self.foundation.naming.digest("connector", &[connector.slug.as_bytes()]);
        ConnectorName { shard: Shard::new(digest.as_bytes()[0]), slug: &connector.slug }
    }
}

impl Connector {
    fn caps(&self) -> Caps {
        Caps { rate: self.rate.map(|rate| (rate.calls, rate.per)), at_once: self.concurrency }
    }
}

/// A place at a provider, held for one call.
pub(super) struct HeldPlace<'a> {
    inner: &'a Inner,
    connector: &'a Connector,
    holder: Digest,
    probe: bool,
    /// Dropped with its caller it is left all the same; its lease in Redis ends by itself then.
    entered: Entered<'a>,
}

impl HeldPlace<'_> {
    /// The call is over, or was never made; and if it shows that, the provider accepts the host.
    pub(super) async fn leave(self, made: bool, accepted: bool, by: By<'_>) {
        let Self { inner, connector, holder, probe, entered } = self;
        drop(entered);
        if accepted {
            inner.under_way.fits(&connector.slug);
            if probe && let Err(error) = inner.resume(connector, by).await {
                tracing::warn!(connector = connector.slug, %error,
                    "a pause is not ended: the next refresh will");
            }
        }
        let caps = connector.caps();
        if caps.is_none() && (made || !probe) {
            return;
        }
        let release = Release { connector: inner.name_of(connector), holder, caps, made };
        if let Err(error) = inner.foundation.store.release(release).await {
            tracing::debug!(connector = connector.slug, %error,
                "a place is not released: its lease will end");
        }
    }
}

/// Whether that shows that a provider accepts the host: it does before it judges a refresh token.
fn accepts_the_host(ended: &Ended) -> bool {
    match ended {
        Ended::Answered(_) | Ended::Switched(_) => true,
        Ended::With(Refreshed::Failed(error)) => error.class == ExchangeClass::Rejected,
        Ended::With(_) | Ended::Unbegun(_) => false,
    }
}

/// How long a claimed connection waits that was told so: never less, and up to a quarter more,
/// always the same for one connection, so that what waited together does not come together.
pub(super) fn spread_out(wait: Duration, id: &ConnectionId) -> Duration {
    wait + (wait / 4).mul_f64(schedule::spread(id))
}
