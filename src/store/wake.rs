//! Who waits in this process, and how they are woken.
//!
//! A waiter registers *before* it reads, so that what is told after the read wakes it. A wake-up is
//! a hint: whoever is woken reads again.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::PendingId;
use crate::metric::{self, Raised};

/// The waiters of one process, by pending. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct WakeHub {
    /// A std Mutex: map operations only, never held across an await. The last waiter of a pending,
    /// who is counted, takes its entry along.
    waiting: Arc<Mutex<Waiting>>,
}

/// By pending: how many wait, and what wakes them.
type Waiting = HashMap<PendingId, (usize, Arc<Notify>)>;

/// One waiter. Told of a wake-up from the moment that it exists.
#[derive(Debug)]
pub struct Waiter {
    hub: WakeHub,
    id: PendingId,
    notify: Arc<Notify>,
    _counted: Raised,
}

impl WakeHub {
    /// Registers a waiter.
    #[must_use]
    pub fn register(&self, id: PendingId) -> Waiter {
        let counted = metric::WAITERS.raise(&["pending"]);
        let mut waiting = self.lock();
        let (count, notify) = waiting.entry(id).or_default();
        *count += 1;
        let notify = notify.clone();
        Waiter { hub: self.clone(), id, notify, _counted: counted }
    }

    /// Wakes those who wait for this one.
    pub fn wake(&self, id: PendingId) {
        if let Some((_, notify)) = self.lock().get(&id) {
            notify.notify_waiters();
        }
    }

    /// Wakes all: something may have been missed.
    pub fn wake_all(&self) {
        for (_, notify) in self.lock().values() {
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

    fn lock(&self) -> MutexGuard<'_, Waiting> {
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
        if let Entry::Occupied(mut entry) = self.hub.lock().entry(self.id) {
            entry.get_mut().0 -= 1;
            if entry.get().0 == 0 {
                entry.remove();
            }
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

    /// All are woken at once, and leave at once.
    #[test]
    fn waiters_that_leave_together_leave_nothing() {
        let hub = WakeHub::default();
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for number in 0..20_000_u32 {
                        let mut unique = [0; 16];
                        unique[..4].copy_from_slice(&number.to_le_bytes());
                        let unique = Digest::from_bytes(&unique).unwrap();
                        let waiter = hub.register(PendingId::of(Digest::NONE, unique));
                        barrier.wait();
                        drop(waiter);
                    }
                });
            }
        });
        assert_eq!(hub.len(), 0);
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
