//! What a sign-in of another kind needs: a place for its connection before there is a credential,
//! and a store that does not give up the credential easily.

use super::{ConnectionError, Connections, Connector, TokenAnswer, settle};
use crate::store::ConnectionId;

/// Where the connection of a sign-in will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: ConnectionId,
    /// The grant that it has now; 0 if there is none of this id yet.
    pub(crate) grant: u64,
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
        let slug = &self.connector(connector)?.slug;
        let Some(id) = reauthorises else {
            return Ok(Place { id: ConnectionId::random(owner), grant: 0 });
        };
        let row = self.inner.foundation.store.read_credential(id).await?;
        let row = row.filter(|row| row.owner == owner && row.connector == *slug);
        let grant = row.ok_or(ConnectionError::NotFound)?.grant;
        Ok(Place { id: id.clone(), grant })
    }

    /// Whether a credential was stored there since.
    pub(crate) async fn is_filled(&self, place: &Place) -> Result<bool, ConnectionError> {
        let row = self.inner.foundation.store.read_credential(&place.id).await?;
        Ok(row.is_some_and(|row| row.grant > place.grant))
    }

    /// Stores a credential there. What it was obtained with is spent: it is kept trying until the
    /// store decides, for a minute.
    pub(crate) async fn fill(
        &self,
        place: &Place,
        owner: &str,
        connector: &str,
        answer: &TokenAnswer,
    ) -> Result<ConnectionId, ConnectionError> {
        let new = self.inner.prepare(owner, connector, Some(&place.id), answer).await?;
        settle::persist(|| self.inner.store(&new)).await
    }
}
