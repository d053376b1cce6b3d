//! A credential on its way into the store.

use std::time::Duration;

use super::{ConnectionError, Connector, CredentialSecret, Inner, TokenAnswer, schedule};
use crate::{
    digest::{Digest, RequestId},
    store::{ConnectionId, NewCredential, Stored},
};

/// Sealed, named, and with a request id: storing it again is the same.
pub(super) struct Prepared {
    id: ConnectionId,
    request: Digest,
    owner: Digest,
    connector: String,
    sealed: Vec<u8>,
    refresh_token: Option<Digest>,
    expires_in: Option<Duration>,
    next_in: Option<Duration>,
}

impl Prepared {
    /// With a request that others can make again.
    pub(super) fn requested_as(self, request: Digest) -> Self {
        Self { request, ..self }
    }
}

impl Inner {
    pub(super) async fn prepare(
        &self,
        owner: &str,
        connector: &str,
        id: Option<&ConnectionId>,
        answer: &TokenAnswer,
    ) -> Result<Prepared, ConnectionError> {
        let connector = self.config.registry.lookup(connector)?;
        if connector.auth.is_key() {
            return Err(ConnectionError::other_auth(connector));
        }
        let secret = CredentialSecret::from_answer(answer, None);
        self.prepare_secret(owner, connector, id, &secret, answer.expires_in).await
    }

    pub(super) async fn prepare_secret(
        &self,
        owner: &str,
        connector: &Connector,
        id: Option<&ConnectionId>,
        secret: &CredentialSecret,
        expires_in: Option<Duration>,
    ) -> Result<Prepared, ConnectionError> {
        let owner = self.owner(owner)?;
        let id = id.cloned().unwrap_or_else(|| ConnectionId::random(owner));
        if id.shard().number() != owner.as_bytes()[0] {
            // Another owner's: its index would be out of reach.
            return Err(ConnectionError::NotFound);
        }
        let place = Self::place(&id, owner, &connector.slug);
        let sealed = self.foundation.seal.seal_long(self.binding(&place), secret).await?;
        let refresh_token = self.renewed_with(&connector.slug, secret);
        let next = |life| schedule::next_refresh(life, connector.refresh_lead, &id);
        let next_in = refresh_token.and(expires_in).map(next);
        Ok(Prepared {
            request: RequestId::random().digest(),
            owner,
            connector: connector.slug.clone(),
            sealed,
            refresh_token,
            expires_in,
            next_in,
            id,
        })
    }

    pub(super) async fn store(&self, new: &Prepared) -> Result<ConnectionId, ConnectionError> {
        let credential = NewCredential {
            id: &new.id,
            request: new.request,
            owner: new.owner,
            connector: &new.connector,
            secret: &new.sealed,
            refresh_token: new.refresh_token,
            expires_in: new.expires_in,
            next_in: new.next_in,
        };
        match self.foundation.store.store_credential(credential).await? {
            Stored::Stored { grant } => {
                tracing::info!(connection = %new.id, connector = %new.connector, grant,
                    "credential stored");
                Ok(new.id.clone())
            }
            Stored::Foreign => Err(ConnectionError::NotFound),
        }
    }
}
