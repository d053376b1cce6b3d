//! What is not signed in to: keys that a user pastes, and tokens that the host is given for itself.

use super::{
    ApiKey, ApiSecret, AuthType, ConnectionError, Connections, CredentialSecret, PATIENCE,
    persisting, storing::Lives, vend,
};
use crate::store::{ConnectionId, Status};

/// Longer ones are mistakes.
const LONGEST_KEY: usize = 4096;

/// A key, as its user pasted it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VendedKey {
    /// The key.
    pub api_key: ApiKey,
    /// Its secret, where the connector is [`ApiKeyAndSecret`](AuthType::ApiKeyAndSecret).
    pub api_secret: Option<ApiSecret>,
}

impl Connections {
    /// Stores a key that its owner pasted, under a new connection or, with `id`, in place of the
    /// key of an existing one. It is never refreshed.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::OtherAuth`] if the connector works with something else, or needs a secret
    /// where there is none, or the reverse; [`ConnectionError::InvalidKey`]; and as
    /// [`store`](Self::store).
    pub async fn store_api_key(
        &self,
        owner: &str,
        connector: &str,
        id: Option<&ConnectionId>,
        api_key: ApiKey,
        api_secret: Option<ApiSecret>,
    ) -> Result<ConnectionId, ConnectionError> {
        let connector = self.connector(connector)?;
        let wanted = match api_secret {
            Some(_) => AuthType::ApiKeyAndSecret,
            None => AuthType::ApiKey,
        };
        if connector.auth != wanted {
            return Err(ConnectionError::other_auth(connector));
        }
        let texts = [Some(api_key.secret()), api_secret.as_ref().map(ApiSecret::secret)];
        if let Some(why) = texts.into_iter().flatten().find_map(fault) {
            return Err(ConnectionError::InvalidKey { why });
        }
        let secret = CredentialSecret::from_key(api_key, api_secret);
        let new =
            self.inner.prepare_secret(owner, connector, id, &secret, Lives::default()).await?;
        self.inner.store_over(id, new).await
    }

    /// Gives the owner the key: one read and one open.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::NotFound`] for another owner's connection, as for none;
    /// [`ConnectionError::Revoked`], [`ConnectionError::NeedsReauth`], [`ConnectionError::Withdrawn`];
    /// [`ConnectionError::OtherAuth`] for a connection without a key.
    pub async fn vend_api_key(
        &self,
        owner: &str,
        id: &ConnectionId,
    ) -> Result<VendedKey, ConnectionError> {
        let vended = self.read_key(owner, id).await;
        vend::count(vended.as_ref().map(|_| "key"));
        vended
    }

    async fn read_key(&self, owner: &str, id: &ConnectionId) -> Result<VendedKey, ConnectionError> {
        let owner = self.inner.owner(owner)?;
        let row = self.foundation().store.read_credential(id).await?;
        let row = row.filter(|row| row.owner == owner).ok_or(ConnectionError::NotFound)?;
        match row.status {
            Status::Active => {}
            Status::Revoked => return Err(ConnectionError::Revoked),
            Status::Orphaned => return Err(ConnectionError::Withdrawn),
            Status::NeedsReauth | Status::Exhausted => {
                let reason = row.reason.unwrap_or_default();
                return Err(ConnectionError::NeedsReauth { reason });
            }
        }
        let secret = self.inner.open_secret(id, &row).await?;
        let Some(api_key) = secret.api_key else {
            return Err(ConnectionError::other_auth(self.connector(&row.connector)?));
        };
        Ok(VendedKey { api_key, api_secret: secret.api_secret })
    }

    /// Asks the provider for an access token of the host's own (RFC 6749 section 4.4), and stores
    /// it under a new connection. [`vend`](Self::vend) gives it out; it is renewed as others are
    /// refreshed.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::OtherAuth`] if the connector works with something else;
    /// [`ConnectionError::AtCap`] after 5 s without a place there, [`ConnectionError::ConnectorPaused`],
    /// [`ConnectionError::Exchange`]; and as [`store`](Self::store).
    pub async fn connect_client(
        &self,
        owner: &str,
        connector: &str,
    ) -> Result<ConnectionId, ConnectionError> {
        let connector = self.connector(connector)?;
        if connector.auth != AuthType::ClientCredentials {
            return Err(ConnectionError::other_auth(connector));
        }
        let call = self.inner.config.exchange.exchange_client_credentials(connector);
        let answer = self.ask(connector, PATIENCE, call, |_| None).await??;
        let new = self.inner.prepare(owner, &connector.slug, None, &answer).await?;
        persisting::persist(|| self.inner.store(&new)).await
    }
}

/// Why a text is no key: it must fit a header.
fn fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("it is empty")
    } else if text.len() > LONGEST_KEY {
        Some("it is longer than 4096 bytes")
    } else if text.chars().any(char::is_control) || text.trim() != text {
        Some("it has a line end or a space around it: trim what was pasted")
    } else {
        None
    }
}
