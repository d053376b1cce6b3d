//! What a host's handler calls: the namespace from the caller, the id from here, the URL from the
//! host.

use std::{fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{Completion, Created, NamespaceProvider, PendingError, Pendings, Spec};
use crate::store::PendingId;

/// Builds the URL that a person is sent to.
pub type CallbackUrl = Arc<dyn Fn(PendingId) -> String + Send + Sync>;

/// Creates and ends pendings for callers. It cannot be made without its three parts, so it cannot
/// be misconfigured.
#[derive(Clone)]
pub struct PendingManager<T> {
    pendings: Pendings<T>,
    provider: Arc<dyn NamespaceProvider>,
    callback_url: CallbackUrl,
}

impl<T: Serialize + DeserializeOwned + Sync> PendingManager<T> {
    /// From its parts.
    #[must_use]
    pub fn new(
        pendings: Pendings<T>,
        provider: Arc<dyn NamespaceProvider>,
        callback_url: CallbackUrl,
    ) -> Self {
        Self { pendings, provider, callback_url }
    }

    /// Creates a pending in the caller's namespace, or joins one; returns it and where to send the
    /// person. One that was joined has its prompt out already.
    ///
    /// # Errors
    ///
    /// [`PendingError::Namespace`] if the caller's namespace cannot be told; as
    /// [`Pendings::create`] otherwise. There is no id then.
    pub async fn create(
        &self,
        bearer_token: Option<&str>,
        spec: &Spec<T>,
    ) -> Result<(Created, String), PendingError> {
        let namespace = self.provider.namespace(bearer_token).await?;
        let created = self.pendings.create(&namespace, spec).await?;
        Ok((created, (self.callback_url)(created.id)))
    }

    /// What it creates: to read, list, clear and await.
    #[must_use]
    pub fn pendings(&self) -> &Pendings<T> {
        &self.pendings
    }

    /// As [`Pendings::complete`].
    ///
    /// # Errors
    ///
    /// As [`Pendings::complete`].
    pub async fn complete<A: Serialize>(
        &self,
        id: PendingId,
        subject: Option<&str>,
        answer: &A,
    ) -> Result<Completion<T>, PendingError> {
        self.pendings.complete(id, subject, answer).await
    }

    /// As [`Pendings::cancel`].
    ///
    /// # Errors
    ///
    /// As [`Pendings::cancel`].
    pub async fn cancel(
        &self,
        id: PendingId,
        subject: Option<&str>,
    ) -> Result<Completion<T>, PendingError> {
        self.pendings.cancel(id, subject).await
    }
}

impl<T> fmt::Debug for PendingManager<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingManager").field("pendings", &self.pendings).finish_non_exhaustive()
    }
}
