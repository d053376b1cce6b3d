//! The verbs of the port, with what does not matter to a test filled in.

pub mod headers;

use std::time::Duration;

use vestibule::{
    Digest, RequestId,
    store::{
        Actor, Attempt, Begin, BeginTurn, Begun, By, Claim, Commit, CommitOutcome, ConnectionId,
        DeletedConnection, EndTurn, Fail, FailOutcome, FailureKind, Handed, Kind, NewConnection,
        NewCredential, NewRecord, Orphan, OrphanPage, Put, ReapConnection, Reaped, RecordName,
        Renewal, Reseal, Resealed, RestoredConnection, Retry, Revoke, RevokedConnection,
        SealedName, SealedPage, Shard, Store, StoreError, Stored, SweepName, Take, Turn, TurnEnd,
        WithdrawConnection, WithdrawnConnection,
    },
};

/// What [`put`] stores.
pub const BODY: &[u8] = b"a sealed body, as far as a store can tell";
/// What [`due`] stores.
pub const SECRET: &[u8] = b"a sealed secret";
/// What [`commit`] stores.
pub const NEW_SECRET: &[u8] = b"the next sealed secret";
/// Who does all this.
pub const BY: By<'static> = By { actor: Actor::BackgroundRefresh, idp_host: "idp.example" };
pub const LEASE: Duration = Duration::from_secs(12);

pub fn request() -> Digest {
    RequestId::random().digest()
}

/// One that is known from its byte.
pub fn digest(byte: u8) -> Digest {
    Digest::from_bytes(&[byte; 16]).unwrap()
}

/// A name that no other record has.
pub fn name() -> RecordName {
    RecordName::alone(Kind::Pkce, request())
}

pub async fn put(store: &dyn Store, name: &RecordName) -> Result<Put, StoreError> {
    put_as(store, name, request()).await
}

pub async fn put_as(
    store: &dyn Store,
    name: &RecordName,
    request: Digest,
) -> Result<Put, StoreError> {
    let ttl = Duration::from_secs(600);
    store
        .put(NewRecord { name: *name, request, ttl, display: &[("kind", "test")], body: BODY })
        .await
}

/// A record that is there.
pub async fn live(store: &dyn Store) -> RecordName {
    let name = name();
    assert_eq!(put(store, &name).await.unwrap(), Put::Stored);
    name
}

pub fn body() -> Take {
    Take::Taken(Handed::now(BODY.to_vec()))
}

/// What [`store_credential`] stores: due at once.
pub fn credential(id: &ConnectionId, request: Digest) -> NewCredential<'_> {
    NewCredential {
        id,
        request,
        owner: owner_of(id),
        connector: "demo",
        secret: SECRET,
        sealed_by: 1,
        refresh_token: Some(Digest::NONE),
        expires_in: Some(Duration::from_secs(3600)),
        refresh_expires_in: None,
        next_in: Some(Duration::ZERO),
        known_end: None,
        by: BY,
    }
}

pub async fn store_credential(store: &dyn Store, id: &ConnectionId) -> Result<Stored, StoreError> {
    store.store_credential(credential(id, request())).await
}

pub fn connection() -> ConnectionId {
    ConnectionId::random(request())
}

/// A connection that is due, in a shard of its own choice.
pub async fn due(store: &dyn Store) -> ConnectionId {
    let id = connection();
    assert_eq!(store_credential(store, &id).await.unwrap(), Stored::Stored { grant: 1 });
    id
}

pub async fn begin(
    store: &dyn Store,
    id: &ConnectionId,
    holder: Digest,
) -> Result<Begin, StoreError> {
    store.begin(attempt(id, holder)).await
}

/// What [`begin`] asks for.
pub fn attempt(id: &ConnectionId, holder: Digest) -> Attempt<'_> {
    let grace = Duration::from_secs(3600);
    Attempt {
        id,
        holder,
        owner: None,
        lease: LEASE,
        instance: "test",
        forgiven: grace,
        settled: grace,
        lifetime: None,
        by: BY,
    }
}

/// An attempt that may begin.
pub async fn begin_as(store: &dyn Store, attempt: Attempt<'_>) -> Begun {
    match store.begin(attempt).await.unwrap() {
        Begin::Begun(begun) => begun,
        other => panic!("{other:?}"),
    }
}

/// A connection whose exchange is under way.
pub async fn begun(store: &dyn Store, holder: Digest) -> (ConnectionId, Begun) {
    let id = due(store).await;
    let begun = begin_as(store, attempt(&id, holder)).await;
    (id, begun)
}

pub async fn commit(
    store: &dyn Store,
    id: &ConnectionId,
    begun: &Begun,
    request: Digest,
) -> Result<CommitOutcome, StoreError> {
    store.commit(answer(id, begun, request)).await
}

/// What [`commit`] stores: the answer to what was presented.
pub fn answer<'a>(id: &'a ConnectionId, begun: &Begun, request: Digest) -> Commit<'a> {
    Commit {
        id,
        request,
        fence: begun.fence,
        grant: begun.grant,
        presented: begun.refresh_token,
        secret: NEW_SECRET,
        refresh_token: Some(digest(1)),
        expires_in: Some(Duration::from_secs(3600)),
        next_in: Some(Duration::from_secs(3300)),
        answered_ago: Duration::ZERO,
        sealed_by: 0,
        refresh_expires_in: None,
        by: BY,
    }
}

pub async fn fail(
    store: &dyn Store,
    id: &ConnectionId,
    begun: &Begun,
) -> Result<FailOutcome, StoreError> {
    fail_as(store, id, begun, request()).await
}

pub async fn fail_as(
    store: &dyn Store,
    id: &ConnectionId,
    begun: &Begun,
    request: Digest,
) -> Result<FailOutcome, StoreError> {
    store.fail(failure(id, begun, request)).await
}

/// What [`fail`] records.
pub fn failure<'a>(id: &'a ConnectionId, begun: &Begun, request: Digest) -> Fail<'a> {
    Fail {
        id,
        request,
        fence: begun.fence,
        grant: begun.grant,
        presented: begun.refresh_token,
        kind: FailureKind::Transient,
        reason: "try later",
        backoff: Duration::from_secs(30),
        horizon: None,
        by: BY,
    }
}

pub async fn claim(store: &dyn Store, shard: Shard) -> Result<Vec<ConnectionId>, StoreError> {
    store.claim_due(Claim { shard, request: request(), limit: 100, hide: LEASE }).await
}

/// Every verb once, with the outcome that it must have; `between` runs before each.
pub async fn every_verb(store: &dyn Store, mut between: impl AsyncFnMut()) {
    between().await;
    store.ping().await.unwrap();
    between().await;
    let name = live(store).await;
    between().await;
    assert_eq!(store.take(&name, request()).await.unwrap(), body());
    between().await;
    let id = due(store).await;
    between().await;
    // The store's idea of Redis's time may be a moment behind.
    while store.due_backlog().await.unwrap().due == 0 {}
    between().await;
    assert!(claim(store, id.shard()).await.unwrap().contains(&id));
    between().await;
    store.give_back(&id, request(), Duration::ZERO).await.unwrap();
    between().await;
    let holder = request();
    let Begin::Begun(begun) = begin(store, &id, holder).await.unwrap() else { panic!("begun") };
    between().await;
    assert_eq!(store.renew(&id, holder, LEASE).await.unwrap(), Renewal::Renewed);
    between().await;
    assert_eq!(fail(store, &id, &begun).await.unwrap(), FailOutcome::Recorded { attempts: 1 });
    between().await;
    assert_eq!(store.retry(&id, request(), Actor::Operator).await.unwrap(), Retry::Retried);
    between().await;
    let committed = commit(store, &id, &begun, request()).await.unwrap();
    assert_eq!(committed, CommitOutcome::Committed { ver: 2, recovered: false });
    between().await;
    let row = store.read_credential(&id).await.unwrap().unwrap();
    assert_eq!((row.secret.as_slice(), row.ver, row.grant), (NEW_SECRET, 2, 1));
    headers::every_verb(store, &mut between).await;
    every_verb_of_an_owner(store, between).await;
}

async fn every_verb_of_an_owner(store: &dyn Store, mut between: impl AsyncFnMut()) {
    between().await;
    let id = &connection();
    let (request, owner) = (request(), owner_of(id));
    let new = NewConnection { id, request, owner, connector: "demo", reason: "new" };
    store.create_connection(new).await.unwrap();
    between().await;
    assert_eq!(store.read_connection(owner, id).await.unwrap().unwrap().grant, 0);
    between().await;
    let page = store.list_connections(owner, None, 100).await.unwrap();
    assert!(page.connections.iter().any(|row| row.id == *id));
    between().await;
    let revoke = Revoke { id, request, owner, reason: "x", by: BY };
    let revoked = store.revoke_connection(revoke).await.unwrap();
    assert_eq!(revoked, RevokedConnection::Revoked { grant: 1 });
    between().await;
    let deleted = store.delete_connection(owner, id, request, BY).await.unwrap();
    assert_eq!(deleted, DeletedConnection::Deleted);
    every_verb_of_a_sweep(store, between).await;
}

async fn every_verb_of_a_sweep(store: &dyn Store, mut between: impl AsyncFnMut()) {
    between().await;
    let id = &due(store).await;
    let (request, owner) = (request(), owner_of(id));
    let name = &SealedName::Connection(id.clone());
    between().await;
    let page = SealedPage { shard: id.shard(), not_by: 2, skip: 0, limit: 100 };
    assert!(store.list_sealed(page).await.unwrap().iter().any(|it| it.name == *name));
    between().await;
    assert!(store.count_sealed(id.shard()).await.unwrap().iter().any(|(by, _)| *by == 1));
    reseal(store, name, &mut between).await;
    between().await;
    let withdraw = WithdrawConnection { id, request, owner, reason: "lost" };
    let withdrawn = store.withdraw_connection(withdraw.clone()).await.unwrap();
    assert_eq!(withdrawn, WithdrawnConnection::Withdrawn);
    between().await;
    let restored = store.restore_connection(owner, id, request).await.unwrap();
    assert_eq!(restored, RestoredConnection::Restored);
    between().await;
    let request = self::request();
    store.withdraw_connection(WithdrawConnection { request, ..withdraw }).await.unwrap();
    let (shard, retention) = (id.shard(), Duration::ZERO);
    between().await;
    // The store's idea of Redis's time may be a moment behind.
    while store.count_orphans(shard, retention).await.unwrap() == 0 {}
    between().await;
    let page = OrphanPage { shard, retention, skip: 0, limit: 100 };
    let orphan = Orphan::Connection { id: id.clone(), owner: Some(owner) };
    assert!(store.list_orphans(page).await.unwrap().contains(&orphan));
    between().await;
    let (sweep, not_within) = (SweepName::Orphans, Duration::ZERO);
    let begin = BeginTurn { sweep, shard, request, lease: LEASE, not_within };
    assert!(matches!(store.begin_turn(begin).await.unwrap(), Turn::Begun { .. }));
    between().await;
    let reap = ReapConnection { id, request, owner, retention };
    assert_eq!(store.reap_connection(reap).await.unwrap(), Reaped::Reaped);
    between().await;
    let end = EndTurn { sweep, shard, request, cursor: None, found: 1, done: 1 };
    assert_eq!(store.end_turn(end).await.unwrap(), TurnEnd::Ended);
}

/// Whatever is sealed under a name.
async fn reseal(store: &dyn Store, name: &SealedName, between: &mut impl AsyncFnMut()) {
    between().await;
    let found = store.read_sealed(name).await.unwrap().unwrap();
    let (old, new) = (&*found.sealed, NEW_SECRET);
    between().await;
    let reseal = Reseal { name, request: request(), old, new, sealed_by: 2 };
    assert_eq!(store.reseal(reseal).await.unwrap(), Resealed::Resealed);
}

/// The owner of a connection that [`connection`] made, as far as its shard goes.
pub fn owner_of(id: &ConnectionId) -> Digest {
    let mut bytes = [9; 16];
    bytes[0] = id.shard().number();
    Digest::from_bytes(&bytes).unwrap()
}
