//! Records that are not what this library writes: told as that, and left as they are.

use std::collections::BTreeMap;

use redis::{AsyncCommands, aio::MultiplexedConnection};
use vestibule::{
    headers::HeadersError,
    store::{Class, RemovedHeaders},
};

use super::{Host, alice, base, bearer, key_of, value};
use crate::support::server;

fn expect_corrupt<T: std::fmt::Debug>(outcome: Result<T, HeadersError>, words: &[&str]) {
    let error = match outcome {
        Err(HeadersError::NotAvailable(error)) => error,
        other => panic!("{words:?}: {other:?}"),
    };
    assert_eq!(error.class(), Class::Corrupt, "{words:?}: {error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

/// H-1: a mode or a status that this version does not know is an error that names the key and the
/// field; the record is left as it is, hides no others, and can be stored anew or deleted.
#[tokio::test]
async fn what_is_unknown_is_named_and_left() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    host.one.upsert(&key_of(1), &bearer("other")).await.unwrap();
    for (field, bad, what) in [
        ("mode", "team", "its mode is unknown"),
        ("status", "asleep", "its status is unknown"),
        ("was", "asleep", "its `was` is unknown"),
        ("identity", "alice", "it has no identity"),
        ("client", "", "it has no client"),
        ("created_at", "yesterday", "its created_at is no time"),
        ("ver", "-1", "its ver is no number"),
    ] {
        let id = host.one.upsert(&alice(), &bearer("mine")).await.unwrap().id;
        let key = host.key(id);
        let client = host.one.list("weather", None, None, 100).await.unwrap().credentials;
        assert_eq!(client.len(), 2, "{field}");
        let _: () = raw.hset(&key, field, bad).await.unwrap();
        let before = fields(&mut raw, &key).await;
        expect_corrupt(host.one.get(&alice()).await, &[&key, what, "left untouched"]);
        expect_corrupt(host.one.vend(&alice()).await, &[&key, what]);
        let page = host.one.list("weather", None, None, 100).await.unwrap();
        assert_eq!((page.credentials.len(), page.damaged), (1, vec![id]), "{field}");
        if field == "status" {
            expect_corrupt(host.one.withdraw_access(&alice(), "x").await, &[&key, what]);
            expect_corrupt(host.one.restore_access(&alice()).await, &[&key]);
        }
        assert_eq!(fields(&mut raw, &key).await, before, "{field}: written");
        if field == "client" {
            assert_eq!(host.one.delete(id).await.unwrap(), RemovedHeaders::Removed);
        } else {
            host.one.upsert(&alice(), &bearer("anew")).await.unwrap();
            assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "anew", "{field}");
        }
    }
}

/// Of an orphan whose `was` is lost nobody knows what it was.
#[tokio::test]
async fn an_orphan_that_was_nothing_is_not_guessed() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    let id = host.one.upsert(&alice(), &bearer("mine")).await.unwrap().id;
    host.one.withdraw_access(&alice(), "left").await.unwrap();
    let _: () = raw.hdel(host.key(id), "was").await.unwrap();
    let before = fields(&mut raw, &host.key(id)).await;
    expect_corrupt(host.one.restore_access(&alice()).await, &[&host.key(id), "`was`"]);
    assert_eq!(fields(&mut raw, &host.key(id)).await, before);
}

/// A key of another type in the place of any that a verb touches: nothing is written then, to none
/// of them.
#[tokio::test]
async fn a_key_of_another_type_stops_all() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    let id = host.one.upsert(&alice(), &bearer("mine")).await.unwrap().id;
    let flow = host.one.initiate(&alice(), &base()).await.unwrap().flow;
    let claim = host.one.claim(flow).await.unwrap();
    host.one.upsert(&key_of(1), &bearer("other")).await.unwrap();
    let mut keys = Vec::new();
    for kind in ["headers", "binding", "client", "sealed", "orphans"] {
        let shard = host.side.key(id.shard(), kind);
        let found = host.keys(kind).await.into_iter().find(|key| key.starts_with(&shard));
        keys.push(found.unwrap_or(shard));
    }
    for damaged in &keys {
        let good = dump(&mut raw, damaged).await;
        let _: () = raw.del(damaged).await.unwrap();
        let _: () = raw.lpush(damaged, "no").await.unwrap();
        let mut before = Vec::new();
        for key in &keys {
            before.push(seen(&mut raw, key).await);
        }
        let wrong = &["another type"];
        expect_corrupt(host.one.upsert(&alice(), &bearer("late")).await, wrong);
        expect_corrupt(host.one.delete(id).await, wrong);
        if *damaged == host.key(id) {
            let page = host.one.list("weather", None, None, 10).await.unwrap();
            assert_eq!((page.credentials.len(), page.damaged), (1, vec![id]), "it hides no others");
            assert_eq!(host.one.mark_needs_update("weather", "x").await.unwrap(), 1);
        }
        let mut after = Vec::new();
        for key in &keys {
            after.push(seen(&mut raw, key).await);
        }
        assert_eq!(after, before, "{damaged}: written");
        let _: () = raw.del(damaged).await.unwrap();
        if let Some(good) = good {
            let mut restore = redis::cmd("RESTORE");
            restore.arg(damaged).arg(0).arg(good).exec_async(&mut raw).await.unwrap();
        }
    }
    // The flow's as well.
    let claimed = host.side.key(flow.shard(), format!("claim:{flow}"));
    let _: () = raw.del(&claimed).await.unwrap();
    let _: () = raw.lpush(&claimed, "no").await.unwrap();
    expect_corrupt(host.one.submit(&claim, &bearer("late")).await, &["another type"]);
    assert!(host.one.flow(flow).await.unwrap().is_some());
    assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "mine");
}

/// Sealed headers open in their own place alone: not under another identity, mode or client.
#[tokio::test]
async fn sealed_headers_cannot_be_moved() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    let mine = host.key(host.one.upsert(&alice(), &bearer("mine")).await.unwrap().id);
    let theirs = host.key(host.one.upsert(&key_of(1), &bearer("theirs")).await.unwrap().id);
    let secret: Vec<u8> = raw.hget(&theirs, "secret").await.unwrap();
    let own: Vec<u8> = raw.hget(&mine, "secret").await.unwrap();
    let _: () = raw.hset(&mine, "secret", secret).await.unwrap();
    let moved = host.one.get(&alice()).await.unwrap_err();
    assert!(matches!(moved, HeadersError::Seal(_)), "{moved}");
    let _: () = raw.hset(&mine, "secret", own).await.unwrap();
    for (field, other) in [("mode", "vk"), ("client", "0123456789abcdef0123456789abcdef")] {
        let was: String = raw.hget(&mine, field).await.unwrap();
        let _: () = raw.hset(&mine, field, other).await.unwrap();
        assert!(matches!(host.one.get(&alice()).await, Err(HeadersError::Seal(_))), "{field}");
        let _: () = raw.hset(&mine, field, was).await.unwrap();
    }
    // A binding that leads to another's record leads nowhere, and is mended by the next store.
    let binding = host.keys("binding").await;
    let near = host.side.prefix().to_owned();
    let id = mine.rsplit(':').next().unwrap().to_owned();
    let of_mine = async |raw: &mut MultiplexedConnection| {
        for key in &binding {
            if raw.get::<_, String>(key).await.unwrap() == id {
                return key.clone();
            }
        }
        panic!("no binding of {near}");
    };
    let key = of_mine(&mut raw).await;
    let shard = &id[..2];
    let copy = format!("{}:{{{shard}}}:headers:{shard}{}", host.side.prefix(), "e".repeat(32));
    let fields: Vec<(String, Vec<u8>)> = raw.hgetall(&theirs).await.unwrap();
    for (field, value) in fields {
        let _: () = raw.hset(&copy, field, value).await.unwrap();
    }
    let _: () = raw.set(&key, copy.rsplit(':').next().unwrap()).await.unwrap();
    assert!(matches!(host.one.get(&alice()).await, Err(HeadersError::NotFound)));
    host.one.upsert(&alice(), &bearer("anew")).await.unwrap();
    assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "anew");
    assert_eq!(raw.hget::<_, _, String>(&copy, "mode").await.unwrap(), "vk", "left as it is");
}

type Fields = BTreeMap<String, Vec<u8>>;

/// The hash that a key has, if it has one: a dump's order is not certain.
async fn fields(raw: &mut MultiplexedConnection, key: &str) -> Option<Fields> {
    raw.hgetall(key).await.ok()
}

/// All of a key, whatever it is.
async fn seen(raw: &mut MultiplexedConnection, key: &str) -> (Option<Fields>, Option<Vec<u8>>) {
    match fields(raw, key).await {
        Some(fields) => (Some(fields), None),
        None => (None, dump(raw, key).await),
    }
}

async fn dump(raw: &mut MultiplexedConnection, key: &str) -> Option<Vec<u8>> {
    redis::cmd("DUMP").arg(key).query_async(raw).await.unwrap()
}
