//! One poller of a process for each pending, however many wait there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::store::PendingId;

/// The gates of one process. Only whoever holds a pending's gate asks for its turns; the next one
/// who waits gets it when that one leaves.
#[derive(Debug, Default)]
pub(super) struct Gates {
    /// A std Mutex: map operations only. Weak: the last who waits takes the entry along.
    gates: Mutex<HashMap<PendingId, Weak<Gate>>>,
}

type Gate = tokio::sync::Mutex<()>;

impl Gates {
    pub(super) fn of(&self, id: PendingId) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(&id).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Gate::default());
        gates.insert(id, Arc::downgrade(&gate));
        gate
    }
}
