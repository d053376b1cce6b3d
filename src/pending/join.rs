//! What makes two pendings the same, and looking for the one that is out already.

use serde::{Serialize, de::DeserializeOwned};

use super::{Namespace, Pending, PendingError, Pendings, Spec};
use crate::digest::Digest;

impl<T: Serialize + DeserializeOwned + Sync> Pendings<T> {
    /// The live pending that one of this spec would join; `None` if there is none, or no
    /// [`Dedup`](super::Dedup). The spec's payload does not matter: it need not be known yet.
    ///
    /// It saves a caller the making of a payload. Only [`create`](Self::create) decides: of two
    /// callers who find none, one joins the other.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn find<U>(
        &self,
        namespace: &Namespace,
        spec: &Spec<U>,
    ) -> Result<Option<Pending<T>>, PendingError> {
        let namespace = self.namespace(namespace);
        let Some(dedup) = self.dedup(namespace, spec) else { return Ok(None) };
        match self.foundation.store.find_pending(namespace, dedup).await? {
            Some(id) => self.get(id).await,
            None => Ok(None),
        }
    }

    /// The namespace is part of it: namespaces share shards, and must never share prompts.
    pub(super) fn dedup<U>(&self, namespace: Digest, spec: &Spec<U>) -> Option<Digest> {
        let text = spec.dedup_text()?;
        let parts: [&[u8]; 2] = [namespace.as_bytes(), text.as_bytes()];
        Some(self.foundation.naming.digest("dedup", &parts))
    }
}
