//! What breaks in the middle: neither a change without its event, nor an event without its change.

use std::{sync::Arc, time::Duration};

use redis::{AsyncCommands, aio::MultiplexedConnection};
use vestibule::{
    Digest,
    store::{
        Begun, Class, ConnectionId, FailureKind, NewCredential, Revoke, Store, StoreError,
        redis::RedisStore,
    },
};

use super::{Scene, said};
use crate::support::{
    contents::contents,
    proxy::Proxy,
    server::{self, TestServer},
    stores::{fresh_prefix, store, store_at},
    verbs::{self, BY, request},
};

/// All that a verb may touch, and what is in it.
async fn dump(
    raw: &mut MultiplexedConnection,
    prefix: &str,
    id: &ConnectionId,
) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let owned = format!("owner:{}", verbs::owner_of(id));
    for name in [format!("conn:{id}"), "due".into(), "sealed".into(), owned] {
        let key = format!("{prefix}:{{{}}}:{name}", id.shard());
        all.push(contents(raw, &key).await);
    }
    all
}

/// Each verb that tells, on a connection that it can change.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Store,
    Commit,
    Fail,
    Revoke,
    Delete,
    Retry,
    EndOfLife,
}

impl Verb {
    const ALL: [Self; 7] = [
        Self::Store,
        Self::Commit,
        Self::Fail,
        Self::Revoke,
        Self::Delete,
        Self::Retry,
        Self::EndOfLife,
    ];

    async fn prepared(self, scene: &Scene) -> Prepared {
        let id = scene.id.clone();
        match self {
            Self::Store => {}
            Self::EndOfLife => {
                let dead = NewCredential {
                    refresh_token: None,
                    expires_in: Some(Duration::ZERO),
                    ..verbs::credential(&id, request())
                };
                scene.store.store_credential(dead).await.unwrap();
            }
            _ => scene.stored(request(), 1).await,
        }
        let begun = match self {
            Self::Commit | Self::Fail | Self::Retry => Some(scene.begun().await),
            _ => None,
        };
        if let (Self::Retry, Some(begun)) = (self, &begun) {
            scene.fail(begun, request(), FailureKind::Transient, true).await;
        }
        Prepared { verb: self, id, begun, request: request() }
    }
}

/// A verb with its request: the same, however often it is run.
struct Prepared {
    verb: Verb,
    id: ConnectionId,
    begun: Option<Begun>,
    request: Digest,
}

impl Prepared {
    async fn run(&self, store: &dyn Store) -> Result<(), StoreError> {
        let (id, request, owner) = (&self.id, self.request, verbs::owner_of(&self.id));
        let begun = || self.begun.as_ref().unwrap();
        match self.verb {
            Verb::Store => store.store_credential(verbs::credential(id, request)).await.map(drop),
            Verb::Commit => verbs::commit(store, id, begun(), request).await.map(drop),
            Verb::Fail => verbs::fail_as(store, id, begun(), request).await.map(drop),
            Verb::Revoke => {
                let revoke = Revoke { id, request, owner, reason: "x", by: BY };
                store.revoke_connection(revoke).await.map(drop)
            }
            Verb::Delete => store.delete_connection(owner, id, request, BY).await.map(drop),
            Verb::Retry => store.retry(id, request, BY.actor).await.map(drop),
            Verb::EndOfLife => verbs::begin(store, id, request).await.map(drop),
        }
    }

    /// What it tells, in words.
    fn tells(&self) -> &'static [&'static str] {
        match self.verb {
            Verb::Store => &["connect_completed"],
            Verb::Commit => &["refresh_succeeded"],
            Verb::Fail => &["refresh_failed_transient"],
            Verb::Revoke => &["token_deleted_revoked"],
            Verb::Delete => &["token_deleted_admin"],
            Verb::Retry => &["recovered"],
            Verb::EndOfLife => &["refresh_skipped_no_token", "needs_reauth"],
        }
    }
}

/// The kinds of what was told since the last look.
async fn kinds(scene: &mut Scene) -> Vec<String> {
    let told = scene.told().await;
    told.iter().map(|said| said.split(' ').next().unwrap().to_owned()).collect()
}

/// a stream of another type, in either place: nothing is changed, by any verb; and once it is
/// mended, the same request goes on.
#[tokio::test]
async fn a_stream_that_is_none_changes_nothing() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let store = store(server, &prefix).await;
    let mut raw = server.raw().await;
    for verb in Verb::ALL {
        for stream in ["history", "outbox"] {
            let mut scene = Scene::new(store.clone());
            let prepared = verb.prepared(&scene).await;
            kinds(&mut scene).await;
            let key = format!("{prefix}:{{{}}}:{stream}", scene.id.shard());
            let good: Option<Vec<u8>> =
                redis::cmd("DUMP").arg(&key).query_async(&mut raw).await.unwrap();
            let _: () = raw.set(&key, "text").await.unwrap();
            let before = dump(&mut raw, &prefix, &scene.id).await;
            let error = prepared.run(&*store).await.unwrap_err();
            assert_eq!(error.class(), Class::Corrupt, "{verb:?} {stream}: {error}");
            assert_eq!(dump(&mut raw, &prefix, &scene.id).await, before, "{verb:?} {stream}");

            let _: () = raw.del(&key).await.unwrap();
            if let Some(good) = good {
                let mut restore = redis::cmd("RESTORE");
                restore.arg(&key).arg(0).arg(good);
                restore.query_async::<()>(&mut raw).await.unwrap();
            }
            prepared.run(&*store).await.unwrap();
            assert_eq!(kinds(&mut scene).await, prepared.tells(), "{verb:?} {stream}");
        }
    }
}

/// without the right to add to a stream nothing is changed; without one that the change
/// needs, nothing is told. Both are there once the same request has its rights.
#[tokio::test]
async fn a_missing_right_leaves_neither_a_change_nor_an_event_alone() {
    const PASSWORD: &str = "narrow";
    let (server, prefix) = (TestServer::builder().start().await, fresh_prefix());
    let direct = store(&server, &prefix).await;
    let mut raw = server.raw().await;
    let mut grant = async |without: &str| {
        let rule = format!("ACL SETUSER narrow reset on >{PASSWORD} ~* &* +@all {without}");
        let mut words = rule.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query_async::<()>(&mut raw).await.unwrap();
    };
    grant("").await;
    let narrow = store_at(&server.url_as("narrow", PASSWORD), &prefix).await.unwrap();
    let mut own = server.raw().await;
    for verb in Verb::ALL {
        for without in
            ["-xadd", "-xlen", "-hset", "resetkeys ~*:conn:* ~*:due ~*:owner:* ~*:sealed"]
        {
            let mut scene = Scene::new(direct.clone());
            let prepared = verb.prepared(&scene).await;
            kinds(&mut scene).await;
            let before = dump(&mut own, &prefix, &scene.id).await;
            grant(without).await;
            let error = prepared.run(&*narrow).await.unwrap_err();
            assert_eq!(error.class(), Class::Operator, "{verb:?} {without}: {error}");
            assert!(kinds(&mut scene).await.is_empty(), "{verb:?} {without}: told");
            // An index may be ahead of its record, which is not written.
            if without != "-hset" {
                let after = dump(&mut own, &prefix, &scene.id).await;
                assert_eq!(after, before, "{verb:?} {without}: changed");
            }
            grant("").await;
            prepared.run(&*narrow).await.unwrap();
            assert_eq!(kinds(&mut scene).await, prepared.tells(), "{verb:?} {without}");
        }
    }
}

/// a verb whose reply is lost runs again, and tells nothing twice.
#[tokio::test]
async fn a_lost_reply_tells_nothing_twice() {
    let server = TestServer::builder().start().await;
    let (proxy, prefix) = (Proxy::start(server.port()), fresh_prefix());
    let direct = store(&server, &prefix).await;
    let store: Arc<RedisStore> = store_at(&proxy.url(), &prefix).await.unwrap();
    for verb in Verb::ALL {
        let mut scene = Scene::new(direct.clone());
        // A reply that is lost shall not be NOSCRIPT.
        verb.prepared(&scene).await.run(&*store).await.unwrap();
        scene = Scene::new(direct.clone());
        let prepared = verb.prepared(&scene).await;
        kinds(&mut scene).await;
        let before = proxy.dropped_replies();
        proxy.drop_reply(1.0, 1);
        let lose = async {
            while proxy.dropped_replies() == before {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            proxy.pass();
        };
        let (ran, ()) = tokio::join!(prepared.run(&*store), lose);
        ran.unwrap();
        assert_eq!(kinds(&mut scene).await, prepared.tells(), "{verb:?}");
    }
}

/// while somebody is to be told, the outbox has what the history has, under the same ids;
/// before that it is not there.
#[tokio::test]
async fn the_outbox_has_what_the_history_has() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let scene = Scene::new(store(server, &prefix).await);
    let mut raw = server.raw().await;
    let [outbox, history] =
        ["outbox", "history"].map(|stream| format!("{prefix}:{{{}}}:{stream}", scene.id.shard()));
    scene.stored(request(), 1).await;
    let there: bool = raw.exists(&outbox).await.unwrap();
    assert!(!there, "nobody is to be told");
    let open = redis::cmd("XGROUP").arg(&["CREATE", &outbox, "log", "$", "MKSTREAM"]).to_owned();
    open.query_async::<()>(&mut raw).await.unwrap();
    let begun = scene.begun().await;
    scene.fail(&begun, request(), FailureKind::NeedsReauth, false).await;
    let range = |key: &str| redis::cmd("XRANGE").arg(&[key, "-", "+"]).to_owned();
    let outbox: Vec<redis::Value> = range(&outbox).query_async(&mut raw).await.unwrap();
    let history: Vec<redis::Value> = range(&history).query_async(&mut raw).await.unwrap();
    assert_eq!(outbox.len(), 2);
    assert_eq!(history[1..], outbox);
    assert_eq!(scene.events().await.iter().map(said).count(), 3);
}

/// V-10: what an event says is one line of printable words, whatever a provider said.
#[tokio::test]
async fn a_hostile_reason_is_one_word() {
    for mut scene in Scene::on_both().await {
        scene.stored(request(), 1).await;
        scene.told().await;
        let reason = format!("a\r\nb type=forged \u{2028}\u{1f480}{}", "x".repeat(500));
        let revoke = Revoke {
            id: &scene.id,
            request: request(),
            owner: scene.owner,
            reason: &reason,
            by: BY,
        };
        scene.store.revoke_connection(revoke).await.unwrap();
        let event = scene.events().await.pop().unwrap();
        assert!(event.detail.len() <= 400, "{}", event.detail.len());
        assert!(event.detail.bytes().all(|b| (b' '..=b'~').contains(&b)), "{}", event.detail);
        assert_eq!(event.detail.split(' ').count(), 2, "{}", event.detail);
    }
}
