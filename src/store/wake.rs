//! Who waits in this process, and how they are woken.
//!
//! A waiter registers *before* it reads, so that what is told after the read wakes it. A wake-up is
//! a hint: whoever is woken reads again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

use super::PendingId;

/// The waiters of one process, by pending. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct WakeHub {
    /// A std Mutex: map operations only, never held across an await. Weak: the last waiter of a
    /// pending takes its entry along.
    waiting: Arc<Mutex<HashMap<PendingId, Weak<Notify>>>>,
}

/// One waiter. Told of a wake-up from the moment that it exists.
#[derive(Debug)]
pub struct Waiter {
    hub: WakeHub,
    id: PendingId,
    notify: Arc<Notify>,
}

impl WakeHub {
    /// Registers a waiter.
    #[must_use]
    pub fn register(&self, id: PendingId) -> Waiter {
        let mut waiting = self.lock();
        let known = waiting.get(&id).and_then(Weak::upgrade);
        let notify = known.unwrap_or_else(|| {
            let notify = Arc::new(Notify::new());
            waiting.insert(id, Arc::downgrade(&notify));
            notify
        });
        Waiter { hub: self.clone(), id, notify }
    }

    /// Wakes those who wait for this one.
    pub fn wake(&self, id: PendingId) {
        if let Some(notify) = self.lock().get(&id).and_then(Weak::upgrade) {
            notify.notify_waiters();
        }
    }

    /// Wakes all: something may have been missed.
    pub fn wake_all(&self) {
        for notify in self.lock().values().filter_map(Weak::upgrade) {
            notify.notify_waiters();
        }
    }

    /// For how many pendings somebody waits here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nobody waits here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PendingId, Weak<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Runs `read`, then waits for a wake-up that came after it began. Nothing in between is lost.
    pub async fn woken_after<T>(
        &self,
        read: impl Future<Output = T>,
    ) -> (T, impl Future<Output = ()>) {
        let mut woken = Box::pin(self.notify.notified());
        woken.as_mut().enable();
        (read.await, woken)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.hub.lock();
        // This one and nobody else holds it: the entry goes too.
        if Arc::strong_count(&self.notify) == 1 {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[tokio::test]
    async fn what_comes_during_the_read_is_not_lost() {
        let hub = WakeHub::default();
        let id = PendingId::random(Digest::NONE);
        let waiter = hub.register(id);
        let ((), woken) = waiter.woken_after(async { hub.wake(id) }).await;
        woken.await;
    }

    #[test]
    fn the_last_waiter_leaves_nothing() {
        let hub = WakeHub::default();
        let id = PendingId::random(Digest::NONE);
        let (one, two) = (hub.register(id), hub.register(id));
        assert_eq!(hub.len(), 1);
        drop(one);
        assert_eq!(hub.len(), 1);
        drop(two);
        assert!(hub.is_empty());
    }
}
