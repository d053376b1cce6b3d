//! What a sign-in of another kind needs: a place for its connection before there is a credential,
//! and a store that whoever learns of the credential may carry out, once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    ConnectionError, Connections, Connector, CredentialSecret, TokenAnswer, storing::Lives,
};
use crate::{
    digest::Digest,
    store::{ConnectionId, millis},
};

/// What a sign-in was given, and where it belongs. Sealed into how that sign-in ended, it outlives
/// the process that was given it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Obtained {
    owner: String,
    connector: String,
    connection: String,
    secret: CredentialSecret,
    expires_in_ms: Option<u64>,
    #[serde(default)]
    refresh_expires_in_ms: Option<u64>,
}

impl Obtained {
    pub(crate) fn new(
        place: &ConnectionId,
        owner: &str,
        connector: &str,
        answer: &TokenAnswer,
    ) -> Self {
        let lives = Lives::of(answer);
        Self {
            owner: owner.to_owned(),
            connector: connector.to_owned(),
            connection: place.to_string(),
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
    ) -> Result<ConnectionId, ConnectionError> {
        let owner = self.inner.owner(owner)?;
        let slug = &self.connector(connector)?.slug;
        let Some(id) = reauthorises else { return Ok(ConnectionId::random(owner)) };
        let row = self.inner.foundation.store.read_credential(id).await?;
        match row {
            Some(row) if row.owner == owner && row.connector == *slug => Ok(id.clone()),
            _ => Err(ConnectionError::NotFound),
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
        self.inner.store(&new).await.map(drop)
    }

    /// The store's request, which every caller can make again.
    fn obtained_by(&self, sign_in: &str, place: &ConnectionId) -> Digest {
        let parts = [sign_in.as_bytes(), place.as_str().as_bytes()];
        self.inner.foundation.naming.digest("obtained", &parts)
    }
}
