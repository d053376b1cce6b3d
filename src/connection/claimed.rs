//! What the worker does with a connection that it claimed: one that this process cannot refresh is
//! left for those who can, without a word on the record.

use std::{fmt::Display, sync::Arc};

use super::{ConnectionError, CredentialSecret, Inner, Refreshed, ReplayPolicy};
use crate::{
    seal::SealError,
    store::{Class, ConnectionId},
};

impl Inner {
    pub(super) async fn refresh_claimed(
        inner: &Arc<Self>,
        id: &ConnectionId,
    ) -> Result<Refreshed, ConnectionError> {
        let row = match inner.foundation.store.read_credential(id).await {
            Ok(Some(row)) => row,
            // It is gone: its place in the index is cleared by the begin.
            Ok(None) => return Self::refresh(inner, id, None, ReplayPolicy::Strict).await,
            Err(error) if error.class() == Class::Corrupt => {
                return Ok(inner.left(id, None, "damaged", &error));
            }
            Err(error) => return Err(error.into()),
        };
        let ver = Some(row.ver);
        if inner.poison.skips(id, ver) {
            return Ok(Refreshed::Not("skipped"));
        }
        let connector = match inner.config.registry.lookup(&row.connector) {
            Ok(connector) => connector,
            Err(error) => return Ok(inner.left(id, ver, "unknown_connector", &error)),
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
            Err(error) => return Ok(inner.left(id, ver, "does_not_open", &error)),
        }
        match Self::refresh(inner, id, None, connector.replay).await {
            Err(ConnectionError::Store(error)) if error.class() == Class::Corrupt => {
                Ok(inner.left(id, ver, "damaged", &error))
            }
            outcome => {
                inner.poison.forget(id);
                outcome
            }
        }
    }

    fn left(
        &self,
        id: &ConnectionId,
        ver: Option<u64>,
        why: &'static str,
        error: &dyn Display,
    ) -> Refreshed {
        if self.poison.note(id, ver) {
            metrics::counter!("vestibule_left_total", "why" => why).increment(1);
            tracing::error!(connection = %id, why, %error,
                "it cannot be refreshed here: left for those who can, and skipped for a while");
        }
        Refreshed::Not(why)
    }
}
