//! Who in this process keeps credentials, and how they are told that one has changed.
//!
//! What is kept is only as good as what is heard. So a keeper is told two things: which credential
//! is another now, and whether *all* changes reach this process. While they may not, it keeps
//! nothing.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::ConnectionId;
use crate::digest::Digest;

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// This connection's credential is another now, or none.
    Connection(ConnectionId),
    /// The header credential of the binding with this digest is.
    Headers(Digest),
    /// Any header credential may be.
    AllHeaders,
}

impl Change {
    /// As it is said to other processes: `headers:<digest>`, `headers:*`, or a connection's id.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word.strip_prefix("headers:") {
            Some("*") => Some(Self::AllHeaders),
            Some(binding) => Digest::from_hex(binding).map(Self::Headers),
            None => word.parse().ok().map(Self::Connection),
        }
    }
}

impl From<&ConnectionId> for Change {
    fn from(id: &ConnectionId) -> Self {
        Self::Connection(id.clone())
    }
}

/// Keeps something of credentials. It is told while a lock is held: it must be quick, and must not
/// call the store.
pub trait Keeper: Send + Sync + Debug {
    /// Whether all changes are told from now on. Until the first `true`, and after a `false`, some
    /// are missed: what is kept is worth nothing then.
    fn hears_all(&self, all: bool);

    /// What has changed. Told at least once, also for this process's own changes.
    fn changed(&self, change: &Change);
}

/// The keepers of one process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct ChangeHub {
    /// A std Mutex, never held across an await.
    inner: Arc<Mutex<Keepers>>,
}

#[derive(Debug, Default)]
struct Keepers {
    keepers: Vec<Weak<dyn Keeper>>,
    hears_all: bool,
}

/// All changes are heard for as long as this lives.
#[derive(Debug)]
pub(super) struct Hearing(ChangeHub);

impl ChangeHub {
    /// From now on it is told, until it is dropped.
    pub(super) fn register(&self, keeper: Weak<dyn Keeper>) {
        let mut inner = self.lock();
        inner.keepers.retain(|known| known.strong_count() > 0);
        if let Some(new) = keeper.upgrade() {
            new.hears_all(inner.hears_all);
        }
        inner.keepers.push(keeper);
    }

    pub(super) fn tell(&self, change: impl Into<Change>) {
        let change = change.into();
        for keeper in self.lock().keepers.iter().filter_map(Weak::upgrade) {
            keeper.changed(&change);
        }
    }

    pub(super) fn hear_all(&self) -> Hearing {
        self.set(true);
        Hearing(self.clone())
    }

    fn set(&self, all: bool) {
        let mut inner = self.lock();
        inner.hears_all = all;
        for keeper in inner.keepers.iter().filter_map(Weak::upgrade) {
            keeper.hears_all(all);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Keepers> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[derive(Debug, Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Keeper for Notes {
        fn hears_all(&self, all: bool) {
            self.0.lock().unwrap().push(all.to_string());
        }

        fn changed(&self, change: &Change) {
            self.0.lock().unwrap().push(format!("{change:?}"));
        }
    }

    #[test]
    fn a_change_is_read_from_its_word() {
        let (id, digest) = (ConnectionId::random(Digest::NONE), Digest::NONE);
        for (word, change) in [
            (id.to_string(), Some(Change::Connection(id.clone()))),
            (format!("headers:{digest}"), Some(Change::Headers(digest))),
            ("headers:*".to_owned(), Some(Change::AllHeaders)),
            ("headers:".to_owned(), None),
            (format!("headers:{digest}0"), None),
            ("something else".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(Change::from_word(&word), change, "{word}");
        }
    }

    #[test]
    fn a_keeper_is_told_from_its_registration_to_its_end() {
        let (hub, id) = (ChangeHub::default(), ConnectionId::random(Digest::NONE));
        let early = Arc::new(Notes::default());
        let weak: Weak<dyn Keeper> = Arc::downgrade(&early) as _;
        hub.register(weak);
        let hearing = hub.hear_all();
        let late = Arc::new(Notes::default());
        let weak: Weak<dyn Keeper> = Arc::downgrade(&late) as _;
        hub.register(weak);
        hub.tell(&id);
        drop(hearing);
        let told = format!("{:?}", Change::from(&id));
        assert_eq!(*early.0.lock().unwrap(), ["false", "true", &told, "false"]);
        assert_eq!(*late.0.lock().unwrap(), ["true", &told, "false"]);
        drop((early, late));
        hub.tell(&id);
        hub.register(Weak::<Notes>::new());
        assert_eq!(hub.lock().keepers.len(), 1, "who is gone is forgotten");
    }
}
