//! A credential on its way into the store.

use std::time::Duration;

use super::{ConnectionError, Connector, CredentialSecret, Inner, TokenAnswer, schedule};
use crate::{
    digest::{Digest, RequestId},
    store::{Actor, By, ConnectionId, NewCredential, Stored},
};

/// Sealed, named, and with a request id: storing it again is the same.
pub(super) struct Prepared {
    id: ConnectionId,
    request: Digest,
    owner: Digest,
    connector: String,
    sealed: Vec<u8>,
    sealed_by: u32,
    refresh_token: Option<Digest>,
    lives: Lives,
    next_in: Option<Duration>,
    known_end: Option<u64>,
    idp_host: String,
}

/// How long what was given lives; `None` where that is undisclosed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lives {
    pub(super) access: Option<Duration>,
    pub(super) refresh: Option<Duration>,
}

impl Lives {
    /// As a provider said it.
    pub(super) fn of(answer: &TokenAnswer) -> Self {
        Self {
            access: answer.expires_in,
            refresh: answer.refresh_expires_in.filter(|it| !it.is_zero()),
        }
    }

    /// So much later.
    pub(super) fn after(self, ago: Duration) -> Self {
        let left = |life: Duration| life.saturating_sub(ago);
        Self { access: self.access.map(left), refresh: self.refresh.map(left) }
    }
}

impl Prepared {
    /// With a request that others can make again.
    pub(super) fn requested_as(self, request: Digest) -> Self {
        Self { request, ..self }
    }

    /// For a connection that is re-authorised, and may have been ended meanwhile.
    pub(super) fn with_known_end(self, known_end: Option<u64>) -> Self {
        Self { known_end, ..self }
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
        self.prepare_secret(owner, connector, id, &secret, Lives::of(answer)).await
    }

    pub(super) async fn prepare_secret(
        &self,
        owner: &str,
        connector: &Connector,
        id: Option<&ConnectionId>,
        secret: &CredentialSecret,
        lives: Lives,
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
        let next_in = Self::next_in(connector, refresh_token.is_some(), lives, None, &id);
        Ok(Prepared {
            request: RequestId::random().digest(),
            owner,
            connector: connector.slug.clone(),
            sealed,
            sealed_by: self.foundation.seal.sealed_by().number(),
            refresh_token,
            lives,
            next_in,
            known_end: None,
            idp_host: connector.idp_host().to_owned(),
            id,
        })
    }

    /// When what was given is to be refreshed, so long after its owner signed in; without anything
    /// to refresh it with, it is looked at when it ends.
    pub(super) fn next_in(
        connector: &Connector,
        refreshable: bool,
        lives: Lives,
        signed_in_for: Option<Duration>,
        id: &ConnectionId,
    ) -> Option<Duration> {
        if !refreshable {
            return lives.access;
        }
        let signed_in_for = signed_in_for.unwrap_or_default();
        let rest = connector.max_lifetime.map(|most| most.saturating_sub(signed_in_for));
        let deadline = lives.refresh.into_iter().chain(rest).min();
        schedule::next_due(lives.access, connector.refresh_lead, deadline, id)
    }

    /// Under a new id; or of an existing connection, which a form that stayed open does not bring
    /// back if it was deleted meanwhile.
    pub(super) async fn store_over(
        &self,
        existing: Option<&ConnectionId>,
        new: Prepared,
    ) -> Result<ConnectionId, ConnectionError> {
        let known_end = match existing {
            Some(id) => {
                let connector = self.config.registry.lookup(&new.connector)?;
                self.known_end(new.owner, connector, id).await?
            }
            None => None,
        };
        self.store(&new.with_known_end(known_end)).await
    }

    pub(super) async fn store(&self, new: &Prepared) -> Result<ConnectionId, ConnectionError> {
        let credential = NewCredential {
            id: &new.id,
            request: new.request,
            owner: new.owner,
            connector: &new.connector,
            secret: &new.sealed,
            sealed_by: new.sealed_by,
            refresh_token: new.refresh_token,
            expires_in: new.lives.access,
            refresh_expires_in: new.lives.refresh,
            next_in: new.next_in,
            known_end: new.known_end,
            by: By { actor: Actor::Owner, idp_host: &new.idp_host },
        };
        match self.foundation.store.store_credential(credential).await? {
            Stored::Stored { grant } => {
                tracing::info!(connection = %new.id, connector = %new.connector, grant,
                    "credential stored");
                Ok(new.id.clone())
            }
            Stored::Foreign => Err(ConnectionError::NotFound),
            Stored::Ended { status } => {
                tracing::warn!(connection = %new.id, "ended while its owner signed in: left so");
                Err(ConnectionError::ended(status))
            }
        }
    }
}
