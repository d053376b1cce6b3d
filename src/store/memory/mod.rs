//! The store in the process: no server, no replicas, gone when the process ends.
//!
//! The default for a first run, for a host's unit tests and for single-process deployments. It is
//! also the executable specification: what the scripts must answer is written here in plain Rust.
//! It knows verbs, not Redis commands. Each runs under one lock at one reading of the clock, which
//! is what makes it atomic.

mod clock;
mod device;
mod due;
mod event;
mod fading;
mod headers;
mod limit;
mod living;
mod one_shot;
mod pending;
mod recent;
mod sweep;
mod telling;
mod token;
mod trimming;

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use self::{
    clock::{Clock, after},
    device::Polls,
    event::Events,
    headers::HeaderRecords,
    limit::Providers,
    living::Connections,
    one_shot::OneShots,
    pending::Pendings,
    sweep::Turns,
    telling::Telling,
    token::Tokens,
};
use crate::{
    digest::Digest,
    store::{
        Actor, Attempt, Backlog, Begin, By, Claim, Commit, CommitOutcome, ConnectionId,
        CredentialRow, Fail, FailOutcome, NewCredential, NewRecord, Put, RecordName, Renewal,
        Retry, Store, StoreError, Stored, Take, WakeHub,
        changes::{ChangeHub, Hearing},
    },
};

/// The [`Store`] in memory. Cheap to share behind an `Arc`; nothing outlives it.
///
/// ```
/// # use std::time::Duration;
/// use vestibule::store::{Store, memory::MemoryStore};
///
/// let store = MemoryStore::new();
/// let before = store.now_ms();
/// store.advance(Duration::from_secs(60));
/// assert!(store.now_ms() >= before + 60_000);
/// ```
pub struct MemoryStore {
    prefix: String,
    clock: Clock,
    /// The std one: no verb awaits while it holds it.
    state: Mutex<State>,
    hub: WakeHub,
    changes: ChangeHub,
    /// Nothing is missed here.
    _hearing: Hearing,
}

impl MemoryStore {
    /// An empty store under the default prefix, `vst`.
    #[must_use]
    pub fn new() -> Self {
        let changes = ChangeHub::default();
        Self {
            prefix: "vst".to_owned(),
            clock: Clock::start(),
            state: Mutex::default(),
            hub: WakeHub::default(),
            _hearing: changes.hear_all(),
            changes,
        }
    }

    /// Another prefix. It names nothing here, but sealed bodies are bound to it.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Moves the store's time forward, for a host's tests: what would end within `by` ends now.
    /// Time that is sealed into a body is not the store's, and stays. A test that has paused tokio's
    /// time has paused the store's, too.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The state, and the time that the verb runs at: read under the lock, so that a later verb
    /// never has an earlier time.
    fn enter(&self) -> (MutexGuard<'_, State>, u64) {
        // A verb that panicked is a bug in that verb; the other records are still whole.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now_ms();
        (state, now)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// The records are left out: they are secrets, if sealed ones.
impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn put(&self, record: NewRecord<'_>) -> Result<Put, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.one_shots.put(&record, now))
    }

    async fn take(&self, name: &RecordName, request: Digest) -> Result<Take, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.one_shots.take(name, request, now))
    }

    async fn store_credential(&self, credential: NewCredential<'_>) -> Result<Stored, StoreError> {
        let (mut state, now) = self.enter();
        let stored = {
            let (connections, telling) = state.telling(credential.by, now);
            connections.store(&credential, telling)
        };
        drop(state);
        if matches!(stored, Stored::Stored { .. }) {
            self.changes.tell(credential.id);
        }
        Ok(stored)
    }

    async fn read_credential(
        &self,
        id: &ConnectionId,
    ) -> Result<Option<CredentialRow>, StoreError> {
        Ok(self.enter().0.connections.read(id))
    }

    async fn claim_due(&self, claim: Claim) -> Result<Vec<ConnectionId>, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.connections.claim(&claim, now))
    }

    async fn give_back(
        &self,
        id: &ConnectionId,
        _request: Digest,
        wait: Duration,
    ) -> Result<(), StoreError> {
        let (mut state, now) = self.enter();
        state.connections.give_back(id, wait, now);
        Ok(())
    }

    async fn begin(&self, attempt: Attempt<'_>) -> Result<Begin, StoreError> {
        let (mut state, now) = self.enter();
        let begin = {
            let (connections, telling) = state.telling(attempt.by, now);
            connections.begin(&attempt, telling)
        };
        drop(state);
        // Perhaps only since now.
        if matches!(begin, Begin::Inactive(_)) {
            self.changes.tell(attempt.id);
        }
        Ok(begin)
    }

    async fn renew(
        &self,
        id: &ConnectionId,
        holder: Digest,
        lease: Duration,
    ) -> Result<Renewal, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.connections.renew(id, holder, lease, now))
    }

    async fn commit(&self, commit: Commit<'_>) -> Result<CommitOutcome, StoreError> {
        let (mut state, now) = self.enter();
        let outcome = {
            let (connections, telling) = state.telling(commit.by, now);
            connections.commit(&commit, telling)
        };
        drop(state);
        if matches!(outcome, CommitOutcome::Committed { .. }) {
            self.changes.tell(commit.id);
        }
        Ok(outcome)
    }

    async fn fail(&self, fail: Fail<'_>) -> Result<FailOutcome, StoreError> {
        let (mut state, now) = self.enter();
        let outcome = {
            let (connections, telling) = state.telling(fail.by, now);
            connections.fail(&fail, telling)
        };
        drop(state);
        if outcome.is_a_change(fail.kind) {
            self.changes.tell(fail.id);
        }
        Ok(outcome)
    }

    async fn retry(
        &self,
        id: &ConnectionId,
        request: Digest,
        actor: Actor,
    ) -> Result<Retry, StoreError> {
        let (mut state, now) = self.enter();
        let (connections, telling) = state.telling(By { actor, idp_host: "" }, now);
        Ok(connections.retry(id, request, telling))
    }

    async fn due_backlog(&self) -> Result<Backlog, StoreError> {
        let (state, now) = self.enter();
        Ok(state.connections.due.backlog(now))
    }
}

#[derive(Default)]
struct State {
    one_shots: OneShots,
    pendings: Pendings,
    polls: Polls,
    tokens: Tokens,
    connections: Connections,
    providers: Providers,
    turns: Turns,
    headers: HeaderRecords,
    events: Events,
}

impl State {
    /// The connections, and where their verbs tell what they changed.
    fn telling<'a>(&'a mut self, by: By<'a>, now: u64) -> (&'a mut Connections, Telling<'a>) {
        (&mut self.connections, Telling { events: &mut self.events, by, now })
    }

    /// The header credentials, likewise.
    fn telling_headers(&mut self, actor: Actor, now: u64) -> (&mut HeaderRecords, Telling<'_>) {
        let by = By { actor, idp_host: "" };
        (&mut self.headers, Telling { events: &mut self.events, by, now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{GRACE, Kind};

    #[test]
    fn what_is_past_its_grace_is_gone_even_if_nobody_asks() {
        let store = MemoryStore::new();
        for n in 0..100 {
            assert_eq!(put(&store, n), Put::Stored);
        }
        store.advance(Duration::from_secs(10) + GRACE);
        for n in 100..150 {
            assert_eq!(put(&store, n), Put::Stored);
        }
        assert_eq!(store.enter().0.one_shots.len(), 50);
    }

    #[test]
    fn debug_shows_no_record() {
        let store = MemoryStore::new().with_prefix("mine");
        assert_eq!(put(&store, 1), Put::Stored);
        assert_eq!(format!("{store:?}"), r#"MemoryStore { prefix: "mine", .. }"#);
    }

    fn put(store: &MemoryStore, n: u8) -> Put {
        let digest = Digest::from_bytes(&[n; 16]).unwrap();
        let (mut state, now) = store.enter();
        let record = NewRecord {
            name: RecordName::alone(Kind::Pkce, digest),
            request: digest,
            ttl: Duration::from_secs(10),
            display: &[],
            body: b"sealed",
        };
        state.one_shots.put(&record, now)
    }
}
