//! Calls to a provider while a person waits: sign-ins, by code or by device, and the host's own
//! tokens. They keep to the connector's caps like refreshes, but do not stand in line.

use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};

use super::{
    ConnectionError, Connections, Connector, ExchangeClass, ExchangeError, Inner, Refreshed,
    limits::HeldPlace,
};
use crate::store::{Actor, By, Class};

/// How long a person's call waits for a place at the most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The longest that a call may take, whatever its client says.
const LONGEST_CALL: Duration = Duration::from_secs(35);
/// How long a place is held, if nobody gives it up: longer than any call takes.
const LEASE: Duration = Duration::from_secs(40);

impl Connections {
    /// Runs a call from a place at the connector's provider, for which it waits so long.
    /// `refusal` finds the code of an answer that refuses something.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::AtCap`], [`ConnectionError::ConnectorPaused`] or a failure of the store:
    /// then nothing was sent. What came of the call is inside.
    pub(crate) async fn ask<T>(
        &self,
        connector: &Connector,
        patience: Duration,
        call: impl Future<Output = Result<T, ExchangeError>>,
        refusal: fn(&T) -> Option<&str>,
    ) -> Result<Result<T, ExchangeError>, ConnectionError> {
        self.inner.ask(connector, patience, call, refusal).await
    }
}

impl Inner {
    /// [`Connections::ask`].
    pub(super) async fn ask<T>(
        &self,
        connector: &Connector,
        patience: Duration,
        call: impl Future<Output = Result<T, ExchangeError>>,
        refusal: fn(&T) -> Option<&str>,
    ) -> Result<Result<T, ExchangeError>, ConnectionError> {
        let by = By { actor: Actor::Owner, idp_host: connector.idp_host() };
        let place = self.place_within(connector, patience).await?;
        // A host's own client may know no end.
        let answer = timeout(LONGEST_CALL, call).await.unwrap_or_else(|_| {
            Err(ExchangeError::new(ExchangeClass::Undecided, "no answer in time"))
        });
        let answer = answer.map_err(ExchangeError::cleaned);
        let refused = match &answer {
            Ok(answer) => {
                refusal(answer).map(|code| ExchangeError::new(ExchangeClass::of_code(code), code))
            }
            Err(error) => Some(error.clone()),
        };
        let accepted = refused.as_ref().is_none_or(|error| error.class == ExchangeClass::Rejected);
        if let Some(error) = &refused {
            self.pause_for(&connector.slug, None, error, by).await;
        }
        if let Some(place) = place {
            place.leave(true, accepted, by).await;
        }
        Ok(answer)
    }

    /// Before a person is sent to a provider that would not be asked afterwards.
    pub(super) async fn not_paused(&self, connector: &Connector) -> Result<(), ConnectionError> {
        let store = &self.foundation.store;
        let paused = store.read_pause(self.name_of(connector)).await?;
        let left = paused.as_ref().map_or(0, |row| row.until_ms.saturating_sub(store.now_ms()));
        match paused {
            Some(row) if left > 0 => Err(ConnectionError::ConnectorPaused {
                connector: connector.slug.clone(),
                reason: row.reason,
                remaining: Duration::from_millis(left),
            }),
            _ => Ok(()),
        }
    }

    /// On a full Redis there is none: what a person has begun is ended without.
    async fn place_within<'a>(
        &'a self,
        connector: &'a Connector,
        patience: Duration,
    ) -> Result<Option<HeldPlace<'a>>, ConnectionError> {
        let deadline = Instant::now() + patience;
        loop {
            let told = match self.place_at(connector, LEASE, false).await {
                Ok(Ok(place)) => return Ok(Some(place)),
                Ok(Err(told)) => told,
                Err(error) if error.class() == Class::Resource => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let connector = connector.slug.clone();
            let retry_in = match told {
                Refreshed::Paused { remaining, reason } => {
                    return Err(ConnectionError::ConnectorPaused { connector, reason, remaining });
                }
                Refreshed::AtCap { wait } => wait,
                _ => Duration::ZERO,
            };
            // All who wait are told the same moment.
            let spread = rand::rng().random_range(0.0..0.25);
            let pause = retry_in.mul_f64(1.0 + spread);
            if Instant::now() + pause > deadline {
                return Err(ConnectionError::AtCap { connector, retry_in });
            }
            sleep(pause).await;
        }
    }
}
