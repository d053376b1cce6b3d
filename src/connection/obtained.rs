//! What a sign-in of another kind needs: a place for its connection before there is a credential,
//! and a store that whoever learns of the credential may carry out, once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    ConnectionError, Connections, Connector, CredentialSecret, Inner, TokenAnswer, storing::Lives,
};
use crate::{
    digest::Digest,
    store::{Class, ConnectionId, ConnectionRow, Status, millis},
};

/// The connection that a sign-in is for, chosen at its start.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) id: ConnectionId,
    /// Of one to be re-authorised: when it had been revoked or withdrawn; 0 if it had not.
    pub(crate) known_end_ms: Option<u64>,
}

/// What a sign-in was given, and where it belongs. Sealed into how that sign-in ended, it outlives
/// the process that was given it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Obtained {
    owner: String,
    connector: String,
    connection: String,
    #[serde(default)]
    known_end_ms: Option<u64>,
    secret: CredentialSecret,
    expires_in_ms: Option<u64>,
    #[serde(default)]
    refresh_expires_in_ms: Option<u64>,
}

impl Obtained {
    pub(crate) fn new(place: &Place, owner: &str, connector: &str, answer: &TokenAnswer) -> Self {
        let lives = Lives::of(answer);
        Self {
            owner: owner.to_owned(),
            connector: connector.to_owned(),
            connection: place.id.to_string(),
            known_end_ms: place.known_end_ms,
            secret: CredentialSecret::from_answer(answer, None),
            expires_in_ms: lives.access.map(millis),
            refresh_expires_in_ms: lives.refresh.map(millis),
        }
    }

    /// Where it belongs.
    pub(crate) fn place(&self) -> Result<ConnectionId, ConnectionError> {
        self.connection.parse().map_err(|_| ConnectionError::NotFound)
    }
}

impl Inner {
    /// A connection of this owner and connector, as it stands.
    pub(super) async fn stands(
        &self,
        owner: Digest,
        connector: &Connector,
        id: &ConnectionId,
    ) -> Result<Place, ConnectionError> {
        let row = self.row_of(owner, connector, id).await?;
        Ok(Place { id: id.clone(), known_end_ms: Some(end_of(&row)) })
    }

    /// When a connection ended that something is to be stored over, if it did. One that cannot be
    /// read is mended by what is stored.
    pub(super) async fn known_end(
        &self,
        owner: Digest,
        connector: &Connector,
        id: &ConnectionId,
    ) -> Result<Option<u64>, ConnectionError> {
        match self.row_of(owner, connector, id).await {
            Ok(row) => Ok(Some(end_of(&row))),
            Err(ConnectionError::Store(error)) if error.class() == Class::Corrupt => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Before a code is spent on a connection that was ended meanwhile, which the store would leave so.
    pub(super) async fn still_stands(
        &self,
        owner: Digest,
        connector: &Connector,
        id: &ConnectionId,
        known_end_ms: Option<u64>,
    ) -> Result<(), ConnectionError> {
        let Some(known) = known_end_ms else { return Ok(()) };
        let row = self.row_of(owner, connector, id).await?;
        let end = end_of(&row);
        if end != 0 && end != known {
            return Err(ConnectionError::ended(Some(row.status)));
        }
        Ok(())
    }

    async fn row_of(
        &self,
        owner: Digest,
        connector: &Connector,
        id: &ConnectionId,
    ) -> Result<ConnectionRow, ConnectionError> {
        let row = self.foundation.store.read_connection(owner, id).await?;
        row.filter(|row| row.connector == connector.slug).ok_or(ConnectionError::NotFound)
    }
}

impl Connections {
    pub(crate) fn connector(&self, slug: &str) -> Result<&Connector, ConnectionError> {
        self.inner.config.registry.lookup(slug)
    }

    pub(crate) fn instance(&self) -> &str {
        &self.inner.config.instance
    }

    /// The place of the connection to re-authorise, or of a new one.
    pub(crate) async fn place(
        &self,
        owner: &str,
        connector: &str,
        reauthorises: Option<&ConnectionId>,
    ) -> Result<Place, ConnectionError> {
        let owner = self.inner.owner(owner)?;
        let connector = self.connector(connector)?;
        match reauthorises {
            None => Ok(Place { id: ConnectionId::random(owner), known_end_ms: None }),
            Some(id) => self.inner.stands(owner, connector, id).await,
        }
    }

    /// Whether what this sign-in obtained is, or was, stored: by its own receipt, not by a grant
    /// that another sign-in, or a revocation, may have raised.
    pub(crate) async fn has_stored(
        &self,
        sign_in: &str,
        place: &ConnectionId,
    ) -> Result<bool, ConnectionError> {
        let request = self.obtained_by(sign_in, place);
        Ok(self.inner.foundation.store.has_stored(place, request).await?)
    }

    /// Stores what a sign-in obtained so long ago. Any number of callers may, on any replica: it is
    /// stored once.
    pub(crate) async fn store_obtained(
        &self,
        sign_in: &str,
        obtained: &Obtained,
        age: Duration,
    ) -> Result<(), ConnectionError> {
        let (place, connector) = (obtained.place()?, self.connector(&obtained.connector)?);
        let lives = Lives {
            access: obtained.expires_in_ms.map(Duration::from_millis),
            refresh: obtained.refresh_expires_in_ms.map(Duration::from_millis),
        };
        let left = lives.after(age);
        let Obtained { owner, secret, .. } = obtained;
        let new = self.inner.prepare_secret(owner, connector, Some(&place), secret, left).await?;
        let new = new.requested_as(self.obtained_by(sign_in, &place));
        let new = new.with_known_end(obtained.known_end_ms);
        self.inner.store(&new).await.map(drop)
    }

    /// The store's request, which every caller can make again.
    fn obtained_by(&self, sign_in: &str, place: &ConnectionId) -> Digest {
        let parts = [sign_in.as_bytes(), place.as_str().as_bytes()];
        self.inner.foundation.naming.digest("obtained", &parts)
    }
}

/// When it was revoked or withdrawn; 0 if it is not.
fn end_of(row: &ConnectionRow) -> u64 {
    match row.status {
        Status::Revoked | Status::Orphaned => row.status_at_ms.unwrap_or(1),
        _ => 0,
    }
}
