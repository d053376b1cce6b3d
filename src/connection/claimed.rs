//! What the worker does with a connection that it claimed: one that this process cannot refresh is
//! left for those who can, without a word on the record.

use std::{fmt::Display, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{ConnectionError, Connector, CredentialSecret, Inner, Refreshed, limits::spread_out};
use crate::{
    digest::RequestId,
    metric,
    seal::SealError,
    store::{Class, ConnectionId, Status},
};

/// How long a claimed connection waits here for its turn, and in all: well within the time that it
/// is hidden from others.
const SOON: Duration = Duration::from_secs(1);
const IN_ALL: Duration = Duration::from_secs(2);
/// No turn is further off.
const END_OF_LINE: Duration = Duration::from_secs(60);
/// How long it waits if its connector has too many slow exchanges here.
const SLOW_PAUSE: Duration = Duration::from_secs(15);
/// How long what cannot be refreshed here is kept from the others' sweeps too, at the most.
const LONGEST_ASIDE: Duration = Duration::from_secs(120);

impl Inner {
    pub(super) async fn refresh_claimed(
        inner: &Arc<Self>,
        id: &ConnectionId,
    ) -> Result<Refreshed, ConnectionError> {
        let row = match inner.foundation.store.read_credential(id).await {
            Ok(Some(row)) if row.status == Status::Active => row,
            // Its place in the index is cleared by the begin; unless it became active meanwhile.
            Ok(row) => {
                let found = row.map(|row| inner.config.registry.lookup(&row.connector));
                return Self::refresh(inner, id, None, found.and_then(Result::ok)).await;
            }
            Err(error) if error.class() == Class::Corrupt => {
                return Ok(inner.left(id, None, "damaged", &error).await);
            }
            Err(error) => return Err(error.into()),
        };
        let ver = Some(row.ver);
        if inner.poison.skips(id, ver) {
            inner.set_aside(id).await;
            return Ok(Refreshed::Not("skipped"));
        }
        let connector = match inner.config.registry.lookup(&row.connector) {
            Ok(connector) => connector,
            Err(error) => return Ok(inner.left(id, ver, "unknown_connector", &error).await),
        };
        let place = Self::place(id, row.owner, &row.connector);
        let seal = &inner.foundation.seal;
        let opened = seal.open_long::<CredentialSecret>(inner.binding(&place), &row.secret).await;
        match opened {
            Ok(_) => {}
            // It may be back in a moment, for all of them.
            Err(error @ SealError::KeyService(_)) => {
                tracing::warn!(connection = %id, %error, "a credential is not opened now");
                return Ok(Refreshed::Not("does_not_open"));
            }
            Err(error) => return Ok(inner.left(id, ver, "does_not_open", &error).await),
        }
        match Self::refresh_in_turn(inner, id, connector).await {
            Err(ConnectionError::Store(error)) if error.class() == Class::Corrupt => {
                Ok(inner.left(id, ver, "damaged", &error).await)
            }
            outcome => {
                inner.poison.forget(id);
                outcome
            }
        }
    }

    /// Who is told to come again soon waits here; others give their turn to what can be refreshed.
    async fn refresh_in_turn(
        inner: &Arc<Self>,
        id: &ConnectionId,
        connector: &Connector,
    ) -> Result<Refreshed, ConnectionError> {
        let deadline = Instant::now() + IN_ALL;
        let outcome = loop {
            if inner.under_way.is_slow(&connector.slug) {
                break Refreshed::AtCap { wait: spread_out(SLOW_PAUSE, id) };
            }
            match Self::refresh(inner, id, None, Some(connector)).await? {
                Refreshed::AtCap { wait } if wait <= SOON && Instant::now() + wait <= deadline => {
                    sleep(wait).await;
                }
                outcome => break outcome,
            }
        };
        let wait = match outcome {
            // A turn in the line is its own; past its end they are all told the same.
            Refreshed::AtCap { wait } if wait < END_OF_LINE => wait,
            Refreshed::AtCap { wait } | Refreshed::Paused { remaining: wait, .. } => {
                spread_out(wait, id)
            }
            _ => return Ok(outcome),
        };
        let request = RequestId::random().digest();
        inner.foundation.store.give_back(id, request, wait).await?;
        Ok(outcome)
    }

    async fn left(
        &self,
        id: &ConnectionId,
        ver: Option<u64>,
        why: &'static str,
        error: &(dyn Display + Sync),
    ) -> Refreshed {
        if self.poison.note(id, ver) {
            metric::LEFT.of(&[why]).increment(1);
            tracing::error!(connection = %id, why, %error,
                "it cannot be refreshed here: left for those who can, and skipped for a while");
        }
        self.set_aside(id).await;
        Refreshed::Not(why)
    }

    /// Out of the sweeps' way for a while; a vend finds it due all the same.
    async fn set_aside(&self, id: &ConnectionId) {
        let (request, wait) = (RequestId::random().digest(), self.poison.left(id));
        let wait = wait.min(LONGEST_ASIDE);
        if let Err(error) = self.foundation.store.give_back(id, request, wait).await {
            tracing::debug!(connection = %id, %error, "it is claimed again soon");
        }
    }
}
