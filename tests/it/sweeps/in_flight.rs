//! What is in flight when access is withdrawn: an answer is kept, for a rotated refresh token is the
//! only one there is; and nobody gets it.

use std::time::Duration;

use vestibule::{
    connection::ConnectionError,
    store::{
        Begin, CommitOutcome, FailOutcome, RestoredConnection, Status, Store, WithdrawConnection,
        WithdrawnConnection,
    },
};

use crate::{
    lifecycle::Host,
    support::{replicas::Replicas, verbs},
};

async fn withdraw(store: &dyn Store, id: &vestibule::store::ConnectionId) {
    let (request, owner) = (verbs::request(), verbs::owner_of(id));
    let withdraw = WithdrawConnection { id, request, owner, reason: "lost" };
    let withdrawn = store.withdraw_connection(withdraw).await.unwrap();
    assert_eq!(withdrawn, WithdrawnConnection::Withdrawn);
}

/// X-6, H-9: the answer is stored, the orphan stays one, and what is given back has it.
#[tokio::test]
async fn an_answer_in_flight_is_kept_by_the_orphan() {
    for host in Host::both().await {
        let store = &*host.side.store;
        let (id, begun) = verbs::begun(store, verbs::request()).await;
        withdraw(store, &id).await;
        let commit = verbs::request();
        let outcome = verbs::commit(store, &id, &begun, commit).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Withdrawn { ver: 2 });
        let again = verbs::commit(store, &id, &begun, commit).await.unwrap();
        assert_eq!(again, CommitOutcome::AlreadyCommitted { ver: 2 });
        let row = store.read_credential(&id).await.unwrap().unwrap();
        assert_eq!((row.status, row.secret.as_slice()), (Status::Orphaned, verbs::NEW_SECRET));
        // It is not due, however much time passes.
        host.pass(4000).await;
        assert_eq!(verbs::claim(store, id.shard()).await.unwrap(), []);
        let begin = verbs::begin(store, &id, verbs::request()).await.unwrap();
        assert_eq!(begin, Begin::Inactive(Status::Orphaned));

        let owner = verbs::owner_of(&id);
        let restored = store.restore_connection(owner, &id, verbs::request()).await.unwrap();
        assert_eq!(restored, RestoredConnection::Restored);
        assert_eq!(verbs::claim(store, id.shard()).await.unwrap(), std::slice::from_ref(&id));
        let begin = verbs::begin(store, &id, verbs::request()).await.unwrap();
        let Begin::Begun(begun) = begin else { panic!("{begin:?}") };
        assert_eq!(begun.secret, verbs::NEW_SECRET);
    }
}

/// A verdict on an attempt is none on the orphan: it is tried again when it is given back.
#[tokio::test]
async fn a_failure_in_flight_condemns_no_orphan() {
    for host in Host::both().await {
        let store = &*host.side.store;
        let (id, begun) = verbs::begun(store, verbs::request()).await;
        withdraw(store, &id).await;
        assert_eq!(verbs::fail(store, &id, &begun).await.unwrap(), FailOutcome::Stale);
        let row = store.read_credential(&id).await.unwrap().unwrap();
        assert_eq!((row.status, row.attempts), (Status::Orphaned, 0));
    }
}

/// H-9, C-7: against a provider that rotates: who waits for the refresh is refused, and when access
/// returns the rotated credential lives, without a sign-in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_while_access_is_withdrawn_is_not_lost() {
    let replicas = Replicas::start().await;
    let Replicas { provider, one, two, .. } = &replicas;
    let id = replicas.ran_out().await;
    provider.set_answer_delay(Duration::from_secs(2));
    let refreshes = provider.counts().refreshes;
    let withdraws = async {
        replicas.in_flight().await;
        two.withdraw_access("alice", &id).await.unwrap();
    };
    let (waited, ()) = tokio::join!(one.vend("alice", &id), withdraws);
    assert!(matches!(waited, Err(ConnectionError::Withdrawn)), "{waited:?}");
    one.drained().await;
    assert_eq!(provider.counts().refreshes, refreshes + 1, "it did rotate");
    assert_eq!(two.get("alice", &id).await.unwrap().status, Status::Orphaned);

    two.restore_access("alice", &id).await.unwrap();
    let vended = two.vend("alice", &id).await.unwrap();
    assert!(provider.is_access_token_live(vended.access_token.secret()));
    let counts = provider.counts();
    assert_eq!((counts.refreshes, counts.family_revocations), (refreshes + 1, 0));
}
