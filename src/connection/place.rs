//! What things of a connection are called in the store, and what its secret is bound to.

use super::{AuthType, ConnectionError, CredentialSecret, Inner, RefreshToken};
use crate::{
    digest::Digest,
    foundation::Foundation,
    seal::{Binding, SealError, WrappedKey},
    store::{ConnectionId, CredentialRow},
};

impl Inner {
    /// The owner's digest: what is stored of an owner.
    pub(super) fn owner(&self, owner: &str) -> Result<Digest, ConnectionError> {
        if owner.is_empty() || owner.len() > 512 {
            return Err(ConnectionError::InvalidOwner { length: owner.len() });
        }
        Ok(self.foundation.naming.digest("owner", &[owner.as_bytes()]))
    }

    fn refresh_token_digest(&self, refresh_token: &RefreshToken) -> Digest {
        self.foundation.naming.digest("refresh-token", &[refresh_token.secret().as_bytes()])
    }

    /// What a credential is bound to: its connection, and to whom and where it may go. A writer to
    /// Redis who changes the owner or the connector makes it unopenable.
    pub(super) fn place(id: &ConnectionId, owner: Digest, connector: &str) -> String {
        format!("{id}:{owner}:{connector}")
    }

    pub(super) fn binding<'a>(&'a self, place: &'a str) -> Binding<'a> {
        Self::bound_to(&self.foundation, place)
    }

    pub(super) fn bound_to<'a>(foundation: &'a Foundation, place: &'a str) -> Binding<'a> {
        let prefix = foundation.store.prefix();
        Binding { purpose: "credential", prefix, name: place.as_bytes() }
    }

    /// The digest of what the next access token is had for: of the refresh token; where the host
    /// presents its own credentials, of the connector. `None` if there is no next one.
    pub(super) fn renewed_with(
        &self,
        connector: &str,
        secret: &CredentialSecret,
    ) -> Option<Digest> {
        if let Some(refresh_token) = &secret.refresh_token {
            return Some(self.refresh_token_digest(refresh_token));
        }
        let auth = self.config.registry.lookup(connector).ok()?.auth;
        (auth == AuthType::ClientCredentials)
            .then(|| self.foundation.naming.digest("client-credentials", &[connector.as_bytes()]))
    }

    /// A key for the record of a connection, wrapped before there is anything to seal.
    pub(super) async fn wrapped_key(
        &self,
        id: &ConnectionId,
        owner: Digest,
        connector: &str,
    ) -> Result<WrappedKey, SealError> {
        let place = Self::place(id, owner, connector);
        self.foundation.seal.wrapped_key(self.binding(&place)).await
    }

    /// The secret of a record.
    pub(super) async fn open_secret(
        &self,
        id: &ConnectionId,
        row: &CredentialRow,
    ) -> Result<CredentialSecret, ConnectionError> {
        let place = Self::place(id, row.owner, &row.connector);
        let opened = self.foundation.seal.open_long(self.binding(&place), &row.secret).await;
        Ok(opened.inspect_err(|error| {
            tracing::error!(connection = %id, %error, "a credential does not open");
        })?)
    }
}
