//! The journal: what a provider answered, kept outside Redis until Redis has decided about it.
//!
//! Under a strict provider the answer to a refresh is the only proof of access there is, from the
//! moment it is given: the token that was presented is dead. So an answer goes to the journal
//! first, sealed, and only then to Redis. A process that dies in between, or a Redis that is away,
//! costs nothing then: the entry is [replayed](super::Connections::replay_journal), at start and
//! every so often, with the commit's own request id, and judged like the commit that it is. So it
//! never crosses a changed grant, and a second replay does nothing.
//!
//! What is lost is what dies between the provider's answer and the end of
//! [`append`](Journal::append), and what was on a disk that is gone: the directory must outlive the
//! process. An `emptyDir` outlives a container, not its pod.

#[cfg(unix)]
mod directory;
#[cfg(unix)]
mod disk;
mod entry;
#[cfg(unix)]
mod file;
mod in_flight;
mod replay;
mod round;
mod settled;

use std::{fmt::Debug, io, sync::Arc};

use async_trait::async_trait;

#[cfg(unix)]
pub use self::directory::DirectoryJournal;
pub(super) use self::entry::{Entry, Sealed};
pub(super) use self::in_flight::InFlight;
pub use self::replay::Replay;
pub(super) use self::round::Rounds;
use crate::digest::Digest;

/// The port: where answers are kept until they are decided. [`NoJournal`] is the default,
/// `DirectoryJournal` (on Unix) the one for production.
#[async_trait]
pub trait Journal: Send + Sync + Debug {
    /// Makes an entry durable: when this returns, it outlives the process and the machine's power.
    async fn append(&self, entry: JournalEntry) -> Result<(), JournalError>;

    /// Forgets an entry: it is decided, or was never here.
    async fn decided(&self, name: Digest) -> Result<(), JournalError>;

    /// Up to `limit` entries that are not decided, of this process and of those that died: where
    /// there are more, the next call goes on behind these. `None` if another process replays them.
    async fn undecided(&self, limit: usize) -> Result<Option<Undecided>, JournalError>;

    /// Puts an entry aside that cannot be used: it is not among the undecided any more, and kept
    /// for people to see.
    async fn quarantine(&self, name: Digest) -> Result<(), JournalError>;
}

/// One entry, as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The digest of the commit's request id.
    pub name: Digest,
    /// The answer, sealed.
    pub sealed: Vec<u8>,
}

/// The sealed part is left out: it is a secret, if a sealed one.
impl Debug for JournalEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a journal holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undecided {
    /// What can be read.
    pub entries: Vec<JournalEntry>,
    /// How many places cannot; they have been put aside.
    pub damaged: usize,
}

/// What can go wrong with a journal.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Too much is undecided: Redis has been away for long, or nobody replays.
    #[error("the journal holds {capacity} undecided answers already: is Redis away?")]
    Full {
        /// How many it may hold.
        capacity: usize,
    },
    /// The directory cannot be used.
    #[error("the journal at {path}: {doing}: {source}; it needs a directory that it may write")]
    Io {
        /// Where it is.
        path: String,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// The process is ending.
    #[error("the journal's write was cut off: the process is ending")]
    CutOff,
}

/// Keeps nothing: what dies between the provider's answer and the commit is lost under a strict
/// provider, and asked for again inside a grace.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJournal;

#[async_trait]
impl Journal for NoJournal {
    async fn append(&self, _: JournalEntry) -> Result<(), JournalError> {
        Ok(())
    }

    async fn decided(&self, _: Digest) -> Result<(), JournalError> {
        Ok(())
    }

    async fn undecided(&self, _: usize) -> Result<Option<Undecided>, JournalError> {
        Ok(Some(Undecided::default()))
    }

    async fn quarantine(&self, _: Digest) -> Result<(), JournalError> {
        Ok(())
    }
}
