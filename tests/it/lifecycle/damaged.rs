//! Records that are not what this library writes: told as that, and left as they are.

use redis::{AsyncCommands, aio::MultiplexedConnection};
use vestibule::{
    connection::ConnectionError,
    store::{Class, DeletedConnection, RevokedConnection},
};

use super::Host;
use crate::support::{contents::contents, server};

fn expect_corrupt<T: std::fmt::Debug>(outcome: Result<T, ConnectionError>, what: &str) {
    let error = match outcome {
        Err(ConnectionError::Store(error)) => error,
        other => panic!("{what}: {other:?}"),
    };
    assert_eq!(error.class(), Class::Corrupt, "{what}: {error}");
    assert!(error.to_string().contains("left untouched"), "{what}: {error}");
}

/// A record without its owner, and a key of another type in the place of any that a verb touches:
/// nothing is written then, to none of them.
#[tokio::test]
async fn what_is_damaged_is_left_as_it_is() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    let (all, id) = (&host.connections, host.stored("alice").await);
    let due = host.side.key(id.shard(), "due");
    let owner: Vec<String> = raw.keys(format!("{}:*:owner:*", host.side.prefix())).await.unwrap();
    let keys = [host.key(&id), due, owner[0].clone()];
    let good = dump(&mut raw, &keys).await;
    for (damaged, key) in keys.iter().enumerate() {
        let what = &format!("{key} is damaged");
        if damaged == 0 {
            let _: () = raw.hdel(key, "owner").await.unwrap();
        } else {
            let _: () = raw.set(key, "text").await.unwrap();
        }
        let before = all_contents(&mut raw, &keys).await;
        if damaged != 2 {
            expect_corrupt(all.revoke("alice", &id, "x").await, what);
        }
        expect_corrupt(all.delete("alice", &id).await, what);
        match damaged {
            0 => expect_corrupt(all.get("alice", &id).await, what),
            2 => expect_corrupt(all.list("alice", None, 10).await, what),
            _ => {}
        }
        assert_eq!(all_contents(&mut raw, &keys).await, before, "{what}: written");
        restore(&mut raw, key, &good[damaged]).await;
    }
    assert!(all.get("alice", &id).await.is_ok(), "put right, it is there again");
}

/// What is damaged in another way can still be ended by its owner.
#[tokio::test]
async fn what_is_damaged_can_be_ended() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    for field in ["status", "grant", "connector", "secret", "fence", "stored", "revoked"] {
        for garbage in ["", "gar bage"] {
            let (one, two) = (host.stored("alice").await, host.stored("alice").await);
            for id in [&one, &two] {
                let _: () = raw.hset(host.key(id), field, garbage).await.unwrap();
            }
            let revoked = host.connections.revoke("alice", &one, "x").await.unwrap();
            assert!(matches!(revoked, RevokedConnection::Revoked { .. }), "{field}: {revoked:?}");
            let deleted = host.connections.delete("alice", &two).await.unwrap();
            assert_eq!(deleted, DeletedConnection::Deleted, "{field}");
            assert_eq!(raw.hget::<_, _, Option<String>>(host.key(&one), "secret").await, Ok(None));
            assert!(host.vended("alice", &one).await.is_err() && host.listed("alice").await < 20);
        }
    }
}

async fn dump(raw: &mut MultiplexedConnection, keys: &[String]) -> Vec<Option<Vec<u8>>> {
    let mut dumps = Vec::new();
    for key in keys {
        dumps.push(redis::cmd("DUMP").arg(key).query_async(raw).await.unwrap());
    }
    dumps
}

async fn all_contents(raw: &mut MultiplexedConnection, keys: &[String]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for key in keys {
        all.push(contents(raw, key).await);
    }
    all
}

async fn restore(raw: &mut MultiplexedConnection, key: &str, dump: &Option<Vec<u8>>) {
    let mut restore = redis::cmd("RESTORE");
    restore.arg(key).arg(0).arg(dump.as_ref().unwrap()).arg("REPLACE");
    restore.exec_async(raw).await.unwrap();
}
