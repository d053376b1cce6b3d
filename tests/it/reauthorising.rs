//! A connection is ended while its owner signs in to it again: what was revoked, withdrawn or
//! deleted stays so, and whoever sets out after that is welcome.

use std::time::Duration;

use vestibule::{
    connection::{Callback, ConnectionError, Connections, Finished, SignIn, SignInError, Started},
    store::{ConnectionId, NewCredential, Revoke, Status, Stored},
};

use crate::support::{
    replicas::Replicas,
    side::Side,
    sign_in::{consent, param, sign_in},
    verbs::{BY, connection, credential, owner_of, request},
};

/// What ends it.
#[derive(Debug, Clone, Copy)]
enum End {
    Revoke,
    Withdraw,
    Delete,
}

const ENDS: [End; 3] = [End::Revoke, End::Withdraw, End::Delete];

impl End {
    async fn end(self, all: &Connections, id: &ConnectionId) {
        match self {
            Self::Revoke => drop(all.revoke("alice", id, "test").await.unwrap()),
            Self::Withdraw => drop(all.withdraw_access("alice", id).await.unwrap()),
            Self::Delete => drop(all.delete("alice", id).await.unwrap()),
        }
    }

    fn is_told(self, error: &ConnectionError) -> bool {
        match self {
            Self::Revoke => matches!(error, ConnectionError::Revoked),
            Self::Withdraw => matches!(error, ConnectionError::Withdrawn),
            Self::Delete => matches!(error, ConnectionError::NotFound),
        }
    }
}

impl Replicas {
    async fn again(&self, id: &ConnectionId) -> Result<Started, SignInError> {
        let mut again = SignIn::new("alice", "demo", "s", "http://127.0.0.1:9/callback");
        again.reauthorises = Some(id);
        self.one.start(again).await
    }

    async fn finish(&self, params: &[(String, String)]) -> Result<Finished, SignInError> {
        let callback = Callback {
            state: param(params, "state").unwrap_or_default(),
            code: param(params, "code"),
            error: None,
            iss: param(params, "iss"),
            session: "s",
            ..Callback::default()
        };
        self.two.finish(callback).await
    }

    async fn is_ended(&self, end: End, id: &ConnectionId) {
        let error = self.one.vend("alice", id).await.unwrap_err();
        assert!(end.is_told(&error), "{end:?}: {error}");
    }
}

/// K-5, X-6: ended before the callback: the code is not even spent. Whoever sets out after it was
/// revoked or withdrawn has it back.
#[tokio::test]
async fn what_ends_before_the_callback_stays_ended() {
    for end in ENDS {
        let scene = Replicas::start().await;
        let id = sign_in(&scene.one, "alice").await;
        let started = scene.again(&id).await.unwrap();
        let params = consent(started.authorize_url.as_str()).await;
        let before = scene.provider.counts().code_exchanges;
        end.end(&scene.two, &id).await;
        let error = scene.finish(&params).await.unwrap_err();
        assert!(matches!(&error, SignInError::Connection(error) if end.is_told(error)), "{error}");
        assert_eq!(scene.provider.counts().code_exchanges, before, "{end:?}");
        scene.is_ended(end, &id).await;

        let started = scene.again(&id).await;
        if let End::Delete = end {
            let error = started.err().unwrap();
            assert!(matches!(error, SignInError::Connection(ConnectionError::NotFound)), "{error}");
            continue;
        }
        let params = consent(started.unwrap().authorize_url.as_str()).await;
        assert_eq!(scene.finish(&params).await.unwrap().connection, id);
        scene.one.vend("alice", &id).await.unwrap();
    }
}

/// K-5, X-6: ended while the code is exchanged: what it brought is dropped in the script.
#[tokio::test]
async fn what_ends_during_the_exchange_stays_ended() {
    for end in ENDS {
        let scene = Replicas::start().await;
        let id = sign_in(&scene.one, "alice").await;
        let params = consent(scene.again(&id).await.unwrap().authorize_url.as_str()).await;
        scene.provider.set_answer_delay(Duration::from_secs(2));
        let (finished, ()) = tokio::join!(scene.finish(&params), async {
            scene.in_flight().await;
            end.end(&scene.one, &id).await;
        });
        let error = finished.unwrap_err();
        assert!(matches!(&error, SignInError::Connection(error) if end.is_told(error)), "{error}");
        scene.is_ended(end, &id).await;
    }
}

/// V-5: another owner's connection, or none, is not found before anything is stored.
#[tokio::test]
async fn nobody_sets_out_for_anothers_connection() {
    let scene = Replicas::start().await;
    let foreign = sign_in(&scene.one, "mallory").await;
    let elsewhere = ConnectionId::random(owner_of(&connection()));
    for id in [foreign, elsewhere] {
        let error = scene.again(&id).await.err().unwrap();
        assert!(matches!(error, SignInError::Connection(ConnectionError::NotFound)), "{error}");
    }
}

/// on both stores; and without the guard it would come back. A retry of what was stored in
/// time is told so, whatever came since.
#[tokio::test]
async fn the_store_leaves_it_ended() {
    for Side { store, .. } in Side::both().await {
        let id = connection();
        let owner = owner_of(&id);
        let new = |request, known_end| NewCredential { known_end, ..credential(&id, request) };
        store.store_credential(credential(&id, request())).await.unwrap();
        let in_time = request();
        let stored = store.store_credential(new(in_time, Some(0))).await.unwrap();
        assert_eq!(stored, Stored::Stored { grant: 2 });

        let revoke = |request| Revoke { id: &id, request, owner, reason: "test", by: BY };
        store.revoke_connection(revoke(request())).await.unwrap();
        let late = store.store_credential(new(request(), Some(0))).await.unwrap();
        assert_eq!(late, Stored::Ended { status: Some(Status::Revoked) });
        let retried = store.store_credential(new(in_time, Some(0))).await.unwrap();
        assert_eq!(retried, Stored::Stored { grant: 3 }, "the grant is the current one");
        let unguarded = store.store_credential(new(request(), None)).await.unwrap();
        assert_eq!(unguarded, Stored::Stored { grant: 4 }, "this is what the guard is for");
        store.revoke_connection(revoke(request())).await.unwrap();
        let known = store.read_connection(owner, &id).await.unwrap().unwrap().status_at_ms;
        let stored = store.store_credential(new(request(), known)).await.unwrap();
        assert_eq!(stored, Stored::Stored { grant: 6 }, "its owner knew");

        store.delete_connection(owner, &id, request(), BY).await.unwrap();
        let late = store.store_credential(new(request(), Some(0))).await.unwrap();
        assert_eq!(late, Stored::Ended { status: None });
        let unguarded = store.store_credential(new(request(), None)).await.unwrap();
        assert!(matches!(unguarded, Stored::Stored { .. }), "and this");
    }
}
