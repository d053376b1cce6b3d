//! What a header credential is, and how it is read.

use super::HeadersId;
use crate::{digest::Digest, store::Shard};

/// In whose name headers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeadersMode {
    /// A person's.
    User,
    /// A virtual key's.
    VirtualKey,
    /// A session's, for as long as it lasts.
    Session,
    /// The host's own, for everybody.
    Admin,
}

/// Where a header credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeadersStatus {
    /// Its headers are used.
    Active,
    /// Its headers are not accepted any more: its owner must submit others.
    NeedsUpdate,
    /// Access was withdrawn. It is kept for a while.
    Orphaned,
}

/// Names a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingName {
    /// The shard of whose it is: all of one's are in it.
    pub shard: Shard,
    /// The digest of mode, identity and client.
    pub digest: Digest,
}

/// What a header credential is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadersBinding {
    /// What it is found by.
    pub name: BindingName,
    /// In whose name it is sent.
    pub mode: HeadersMode,
    /// The digest of whose it is: the namespace of its flows.
    pub identity: Digest,
}

/// All that may be known of a header credential. Times are in ms since 1970, by the store's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadersRow {
    /// Which.
    pub id: HeadersId,
    /// In whose name it is sent.
    pub mode: HeadersMode,
    /// The digest of whose it is.
    pub identity: Digest,
    /// The digest of what it is for.
    pub client: Digest,
    /// What that is called, if it may be told.
    pub client_name: Option<String>,
    /// Where it stands.
    pub status: HeadersStatus,
    /// Why, if it is not active: a word.
    pub reason: Option<String>,
    /// Since when.
    pub status_at_ms: u64,
    /// What an orphan will be when it is restored.
    pub was: Option<HeadersStatus>,
    /// When the first one of this binding was stored.
    pub created_at_ms: u64,
    /// When something of it changed last.
    pub updated_at_ms: u64,
    /// Counts those that were stored.
    pub ver: u64,
}

/// A credential with its sealed headers.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedHeaders {
    /// All but the headers.
    pub row: HeadersRow,
    /// The sealed headers.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for SealedHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedHeaders").field("row", &self.row).finish_non_exhaustive()
    }
}

/// Where a page begins: behind this credential, or if it is gone meanwhile, with those that were
/// created when it was. So every one that stays is seen at least once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadersPlace {
    pub(crate) after: HeadersId,
    pub(crate) from_ms: u64,
}

/// A page of a client's credentials in a shard, by their creation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeadersPage {
    /// The credentials.
    pub rows: Vec<HeadersRow>,
    /// Those whose records cannot be read: they are left as they are, and hide no others.
    pub damaged: Vec<HeadersId>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<HeadersPlace>,
}

impl HeadersMode {
    /// The word that stands for it in Redis, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::VirtualKey => "vk",
            Self::Session => "session",
            Self::Admin => "admin",
        }
    }

    /// Reads the word; `None` for one that this version does not know.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::User, Self::VirtualKey, Self::Session, Self::Admin];
        all.into_iter().find(|mode| mode.as_str() == word)
    }
}

impl HeadersStatus {
    /// The word that stands for it in Redis, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NeedsUpdate => "needs_update",
            Self::Orphaned => "orphaned",
        }
    }

    /// Reads the word; `None` for one that this version does not know.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Active, Self::NeedsUpdate, Self::Orphaned];
        all.into_iter().find(|status| status.as_str() == word)
    }
}
