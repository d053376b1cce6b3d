//! The answers that this process is committing: a replay leaves them alone.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::digest::Digest;

/// By the names of their entries. A std Mutex, never held across an await.
#[derive(Debug, Clone, Default)]
pub(in crate::connection) struct InFlight(Arc<Mutex<HashSet<Digest>>>);

/// Until it is dropped.
pub(in crate::connection) struct Flight {
    all: InFlight,
    name: Digest,
}

impl InFlight {
    /// Before the entry can be read.
    pub(in crate::connection) fn enter(&self, name: Digest) -> Flight {
        self.lock().insert(name);
        Flight { all: self.clone(), name }
    }

    pub(super) fn has(&self, name: Digest) -> bool {
        self.lock().contains(&name)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.all.lock().remove(&self.name);
    }
}
