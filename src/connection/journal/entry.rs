//! What an entry tells: all that the commit needs, whoever runs it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::JournalEntry;
use crate::{
    connection::{CredentialSecret, Inner},
    digest::Digest,
    seal::{Binding, SealError, WrappedKey},
    store::{By, Commit, ConnectionId, millis},
};

/// An answer of a provider that Redis has not decided about.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::connection) struct Entry {
    pub(in crate::connection) connection: String,
    pub(in crate::connection) owner: [u8; 16],
    pub(in crate::connection) connector: String,
    /// Of the commit: also the entry's name.
    pub(in crate::connection) request: [u8; 16],
    pub(in crate::connection) fence: u64,
    pub(in crate::connection) grant: u64,
    /// The digest of the refresh token that was presented: the base of the secret.
    pub(in crate::connection) presented: [u8; 16],
    pub(in crate::connection) secret: CredentialSecret,
    /// When the exchange began, by the clock of the store; the three below count from it.
    pub(in crate::connection) began_at_ms: u64,
    pub(in crate::connection) expires_in_ms: Option<u64>,
    #[serde(default)]
    pub(in crate::connection) refresh_expires_in_ms: Option<u64>,
    pub(in crate::connection) next_in_ms: Option<u64>,
}

/// An entry that is ready to be committed: its secret is sealed for the record.
pub(in crate::connection) struct Sealed {
    id: ConnectionId,
    secret: Vec<u8>,
    key: u32,
    refresh_token: Option<Digest>,
}

impl Sealed {
    pub(in crate::connection) fn id(&self) -> &ConnectionId {
        &self.id
    }
}

impl Entry {
    pub(in crate::connection) fn name(&self) -> Digest {
        digest(&self.request)
    }

    /// Whether the refresh token that was presented is of no more use.
    pub(in crate::connection) fn rotates(&self, sealed: &Sealed) -> bool {
        sealed.refresh_token != Some(digest(&self.presented))
    }

    pub(in crate::connection) fn owner(&self) -> Digest {
        digest(&self.owner)
    }

    /// A key for the entry of this name.
    pub(in crate::connection) async fn wrapped_key(
        inner: &Inner,
        name: &Digest,
    ) -> Result<WrappedKey, SealError> {
        inner.foundation.seal.wrapped_key(binding(inner, name)).await
    }

    /// As the journal keeps it, under its key.
    pub(in crate::connection) fn seal(
        &self,
        inner: &Inner,
        key: &WrappedKey,
    ) -> Result<JournalEntry, SealError> {
        let name = self.name();
        let sealed = inner.foundation.seal.seal_with(key, binding(inner, &name), self)?;
        Ok(JournalEntry { name, sealed })
    }

    pub(in crate::connection) async fn open(
        inner: &Inner,
        kept: &JournalEntry,
    ) -> Result<Self, SealError> {
        inner.foundation.seal.open_long(binding(inner, &kept.name), &kept.sealed).await
    }

    /// As the record keeps it. `None` if the connection's id is not one.
    pub(in crate::connection) async fn seal_secret(
        &self,
        inner: &Inner,
    ) -> Result<Option<Sealed>, SealError> {
        let Ok(id) = self.connection.parse() else { return Ok(None) };
        let key = inner.wrapped_key(&id, self.owner(), &self.connector).await?;
        self.seal_secret_with(inner, id, &key).map(Some)
    }

    /// As the record of this id keeps it, under its key.
    pub(in crate::connection) fn seal_secret_with(
        &self,
        inner: &Inner,
        id: ConnectionId,
        key: &WrappedKey,
    ) -> Result<Sealed, SealError> {
        let place = Inner::place(&id, self.owner(), &self.connector);
        let secret = inner.foundation.seal.seal_with(key, inner.binding(&place), &self.secret)?;
        let refresh_token = inner.renewed_with(&self.connector, &self.secret);
        Ok(Sealed { id, secret, key: key.sealed_by().number(), refresh_token })
    }

    /// The commit, so long after the exchange began. Its beginning, because a process that was
    /// paused cannot tell when the answer came.
    pub(in crate::connection) fn commit<'a>(
        &self,
        sealed: &'a Sealed,
        elapsed: Duration,
        by: By<'a>,
    ) -> Commit<'a> {
        let left = |ms: u64| Duration::from_millis(ms.saturating_sub(millis(elapsed)));
        Commit {
            id: &sealed.id,
            request: self.name(),
            fence: self.fence,
            grant: self.grant,
            presented: digest(&self.presented),
            secret: &sealed.secret,
            sealed_by: sealed.key,
            refresh_token: sealed.refresh_token,
            expires_in: self.expires_in_ms.map(left),
            refresh_expires_in: self.refresh_expires_in_ms.map(left),
            next_in: self.next_in_ms.map(left),
            answered_ago: elapsed,
            by,
        }
    }
}

fn binding<'a>(inner: &'a Inner, name: &'a Digest) -> Binding<'a> {
    let prefix = inner.foundation.store.prefix();
    Binding { purpose: "journal", prefix, name: name.as_bytes() }
}

fn digest(bytes: &[u8; 16]) -> Digest {
    Digest::from_bytes(bytes).unwrap_or(Digest::NONE)
}
