//! Credentials: stored, read, removed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Binding, HeaderCredentials, Headers, HeadersError, Inner, Status, map};
use crate::{
    digest::{Digest, RequestId},
    foundation::Foundation,
    metric, seal,
    store::{
        BindingName, HeadersId, HeadersMode, HeadersRow, NewHeaders, Reaped, RemovedHeaders,
        SubmittedFlow, UpsertedHeaders,
    },
};

/// A credential that was stored. Times are in ms since 1970, by the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredHeaders {
    /// Its id, the same for all that are stored of its binding until it is removed.
    pub id: HeadersId,
    /// When the first one was stored.
    pub created_at_ms: u64,
    /// When this one was.
    pub updated_at_ms: u64,
    /// Counts those that were stored.
    pub ver: u64,
}

/// A credential with its headers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HeaderCredential {
    /// All but the headers. It is active or needs an update; never an orphan.
    pub row: HeadersRow,
    /// The headers; of one that needs an update, the ones that were not accepted.
    pub headers: Headers,
}

/// What is sealed of a credential.
#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(with = "map::in_sealed")]
    headers: Headers,
}

impl HeaderCredentials {
    /// Stores the credential of a binding, new or anew. It is active then, whatever it was before.
    /// Whether the headers are any good the host has found out before.
    ///
    /// # Errors
    ///
    /// [`HeadersError::Seal`] or [`HeadersError::NotAvailable`]. A lost reply is asked for again
    /// inside; for a retry beyond that, use [`upsert_as`](Self::upsert_as).
    pub async fn upsert(
        &self,
        binding: &Binding,
        headers: &Headers,
    ) -> Result<StoredHeaders, HeadersError> {
        self.upsert_as(&RequestId::random(), binding, headers).await
    }

    /// [`upsert`](Self::upsert) with a request id of the caller's, who may then retry it for a
    /// minute: what was stored or removed since is left alone.
    ///
    /// # Errors
    ///
    /// As [`upsert`](Self::upsert).
    pub async fn upsert_as(
        &self,
        request: &RequestId,
        binding: &Binding,
        headers: &Headers,
    ) -> Result<StoredHeaders, HeadersError> {
        self.inner.upsert(request.digest(), binding, headers, None).await
    }

    /// The credential of a binding, if its access was not withdrawn. One that needs an update is
    /// served too, to fill a form with: whoever sends headers asks [`vend`](Self::vend).
    ///
    /// With a [cache](super::HeadersConfig::cache) it may come from memory, with its status.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotFound`], [`HeadersError::Seal`] or [`HeadersError::NotAvailable`].
    pub async fn get(&self, binding: &Binding) -> Result<HeaderCredential, HeadersError> {
        let name = self.inner.name(binding);
        let Some(cache) = &self.inner.cache else {
            return counted(self.inner.read(name).await, "read");
        };
        if let Some((kept, _)) = cache.get((), &name.digest) {
            return counted(Ok(kept), "cached");
        }
        let task = self.inner.clone();
        let read = async move { Ok((task.read(name).await?, Duration::MAX)) };
        let store = &*self.inner.foundation.store;
        counted(cache.fill(store, (), &name.digest, read).await, "read")
    }

    /// The headers to send, of an active credential of this binding and of no other.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`HeadersError::NeedsUpdate`].
    pub async fn vend(&self, binding: &Binding) -> Result<Headers, HeadersError> {
        let HeaderCredential { row, headers } = self.get(binding).await?;
        match row.status {
            Status::Active => Ok(headers),
            _ => Err(HeadersError::NeedsUpdate { reason: row.reason.unwrap_or_default() }),
        }
    }

    /// Removes a credential. One that is not there is [absent](RemovedHeaders::Absent), which is no
    /// error. Whose it is the host has found out before.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotAvailable`].
    pub async fn delete(&self, id: HeadersId) -> Result<RemovedHeaders, HeadersError> {
        self.delete_as(&RequestId::random(), id).await
    }

    /// [`delete`](Self::delete) with a request id of the caller's, who may then retry it for a
    /// minute.
    ///
    /// # Errors
    ///
    /// As [`delete`](Self::delete).
    pub async fn delete_as(
        &self,
        request: &RequestId,
        id: HeadersId,
    ) -> Result<RemovedHeaders, HeadersError> {
        let removed = self.inner.foundation.store.delete_headers(id, request.digest()).await?;
        if removed == RemovedHeaders::Removed {
            tracing::info!(headers = %id, "header credential deleted");
        }
        Ok(removed)
    }

    /// Removes a credential that has been an orphan for `retention` at least: whether it still is
    /// one, the store judges in the same step. For the sweep.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotAvailable`].
    pub async fn reap(&self, id: HeadersId, retention: Duration) -> Result<Reaped, HeadersError> {
        let request = RequestId::random().digest();
        Ok(self.inner.foundation.store.reap_headers(id, retention, request).await?)
    }
}

impl Inner {
    async fn read(&self, name: BindingName) -> Result<HeaderCredential, HeadersError> {
        let found = self.foundation.store.read_headers(name).await?;
        let found = found.filter(|found| found.row.status != Status::Orphaned);
        let found = found.ok_or(HeadersError::NotFound)?;
        let row = found.row;
        let place = place(row.mode, row.identity, row.client);
        let opened = self.foundation.seal.open_long(self.binding(&place), &found.secret).await;
        let Body { headers } = opened.inspect_err(|error| {
            tracing::error!(headers = %row.id, %error, "a header credential does not open");
        })?;
        Ok(HeaderCredential { row, headers })
    }

    pub(super) async fn upsert(
        &self,
        request: Digest,
        binding: &Binding,
        headers: &Headers,
        flow: Option<SubmittedFlow<'_>>,
    ) -> Result<StoredHeaders, HeadersError> {
        let (identity, name) = (self.identity(binding.identity()), self.name(binding));
        let (mode, client) = (binding.identity().mode(), self.client(binding.client()));
        let place = place(mode, identity, client);
        let body = Body { headers: headers.clone() };
        let sealed = self.foundation.seal.seal_long(self.binding(&place), &body).await?;
        let key = self.foundation.seal.sealed_by().to_string();
        // The id is of the request, so that a retry asks for the same.
        let unique: [&[u8]; 2] = [request.as_bytes(), name.digest.as_bytes()];
        let new = NewHeaders {
            id: HeadersId::of(name.shard, self.foundation.naming.digest("headers-id", &unique)),
            request,
            binding: name,
            mode,
            identity,
            client,
            client_name: binding.client_name(),
            secret: &sealed,
            key: &key,
            flow,
        };
        let upserted = self.foundation.store.upsert_headers(new).await;
        let word = match &upserted {
            Ok(UpsertedHeaders::Upserted { .. }) => "stored",
            Ok(UpsertedHeaders::NotClaimed) => "not_claimed",
            Ok(UpsertedHeaders::FlowEnded(_)) => "ended",
            Ok(UpsertedHeaders::FlowGone) => "gone",
            Err(error) => error.class().as_str(),
        };
        metric::PUTS.of(&["headers", word]).increment(1);
        match upserted? {
            UpsertedHeaders::Upserted { id, created_at_ms, updated_at_ms, ver } => {
                tracing::info!(headers = %id, mode = mode.as_str(), ver, "header credential stored");
                Ok(StoredHeaders { id, created_at_ms, updated_at_ms, ver })
            }
            UpsertedHeaders::NotClaimed => Err(HeadersError::NotClaimed),
            UpsertedHeaders::FlowEnded(how) => Err(HeadersError::FlowEnded(how)),
            UpsertedHeaders::FlowGone => Err(HeadersError::FlowGone),
        }
    }

    fn binding<'a>(&'a self, place: &'a str) -> seal::Binding<'a> {
        Self::bound_to(&self.foundation, place)
    }

    pub(super) fn bound_to<'a>(foundation: &'a Foundation, place: &'a str) -> seal::Binding<'a> {
        let prefix = foundation.store.prefix();
        seal::Binding { purpose: "headers", prefix, name: place.as_bytes() }
    }
}

/// Counts what became of asking for a credential.
fn counted(
    found: Result<HeaderCredential, HeadersError>,
    path: &'static str,
) -> Result<HeaderCredential, HeadersError> {
    let word = match &found {
        Ok(_) => path,
        Err(HeadersError::NotFound) => "not_found",
        Err(_) => "failed",
    };
    metric::HEADERS_READ.of(&[word]).increment(1);
    found
}

/// What a credential is bound to: a writer to Redis who moves it to another record, or says that it
/// is for another client, makes it unopenable.
pub(super) fn place(mode: HeadersMode, identity: Digest, client: Digest) -> String {
    format!("{}:{identity}:{client}", mode.as_str())
}
