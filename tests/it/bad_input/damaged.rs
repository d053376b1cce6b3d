//! Records that are not what this library writes: typed, left as they are, and in nobody's way.

use std::time::Duration;

use redis::AsyncCommands;
use vestibule::{
    RequestId,
    pkce::{OauthState, PkceError},
    seal::SealError,
    store::{Class, Store, StoreError},
};

use super::{Scene, message};
use crate::support::{contents::contents, verbs};

/// Where the sealed body begins.
fn body_at(record: &[u8]) -> usize {
    std::str::from_utf8(&record[55..59]).unwrap().parse::<usize>().unwrap() + 48
}

/// A take of damaged bytes: corrupt and untouched, or taken and not to be opened with the body as
/// it was, or as good as new.
async fn take_damaged(scene: &mut Scene, state: &OauthState, key: &str, bytes: &[u8], what: &str) {
    let states = scene.states();
    let _: () = scene.raw.pset_ex(key, bytes, 660_000).await.unwrap();
    let outcome = states.take(state).await;
    let now: Vec<u8> = scene.raw.get(key).await.unwrap();
    match outcome {
        Ok(found) => assert_eq!(found.connection, "github", "{what}"),
        Err(error @ PkceError::Take { .. }) => {
            let PkceError::Take { source } = &error else { unreachable!() };
            assert_eq!(source.class(), Class::Corrupt, "{what}: {error}");
            let said = message(&error);
            assert!(said.contains(key) && said.contains("left untouched"), "{what}: {said}");
            assert_eq!(now, bytes, "{what}");
            let left: i64 = scene.raw.pttl(key).await.unwrap();
            assert!(left > 600_000, "{what}: {left}");
        }
        Err(error @ PkceError::Open { .. }) => {
            let PkceError::Open { source } = &error else { unreachable!() };
            use SealError::{Damaged, DoesNotOpen, NotSealed, UnknownKey};
            assert!(
                matches!(source, Damaged | DoesNotOpen(_) | UnknownKey(_) | NotSealed),
                "{what}: {error:?}"
            );
            message(&error);
            assert_eq!(now[body_at(&now)..], bytes[body_at(bytes)..], "{what}");
        }
        Err(error) => panic!("{what}: {error:?}"),
    }
}

/// Truncated at every length.
#[tokio::test]
async fn a_truncated_record_is_told_from_a_missing_one() {
    let mut scene = Scene::new().await;
    let (state, key) = scene.live(&scene.states()).await;
    let whole: Vec<u8> = scene.raw.get(&key).await.unwrap();
    for length in 0..whole.len() {
        take_damaged(&mut scene, &state, &key, &whole[..length], &format!("{length} bytes")).await;
    }
    let binary = body_at(&whole);
    for length in [0, 1, 59, 60, 61, binary - 1] {
        let _: () = scene.raw.pset_ex(&key, &whole[..length], 660_000).await.unwrap();
        let outcome = scene.states().take(&state).await;
        assert!(matches!(outcome, Err(PkceError::Take { .. })), "{length}: {outcome:?}");
        // The name is taken, whatever is under it.
        let put = scene.states().put(&state, &super::record()).await;
        assert!(matches!(put, Err(PkceError::StateCollision)), "{length}: {put:?}");
    }
    scene.nothing_leaked();
}

/// Every single byte altered, and some of the head replaced.
#[tokio::test]
async fn an_altered_record_is_never_another() {
    let mut scene = Scene::new().await;
    let (state, key) = scene.live(&scene.states()).await;
    let whole: Vec<u8> = scene.raw.get(&key).await.unwrap();
    for at in 0..whole.len() {
        for with in [whole[at] ^ 1, b'0', b' ', 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = with;
            take_damaged(&mut scene, &state, &key, &bytes, &format!("{with:#x} at {at}")).await;
        }
    }
    for offset in ["0000", "0001", "0047", "0059", "0060", "0061", "9999", "-001", " 104", "0x68"] {
        let bytes = [&whole[..55], offset.as_bytes(), &whole[59..]].concat();
        take_damaged(&mut scene, &state, &key, &bytes, &format!("offset {offset}")).await;
    }
    for head in ["v1 gone      ", "v2 live      ", "v1 live 0    ", "V1 LIVE      "] {
        let bytes = [head.as_bytes(), &whole[13..]].concat();
        take_damaged(&mut scene, &state, &key, &bytes, head).await;
    }
    scene.nothing_leaked();
}

/// Writes a key of a type.
const TYPES: [(&str, &[&str]); 6] = [
    ("SET", &["text"]),
    ("HSET", &["field", "value"]),
    ("RPUSH", &["item"]),
    ("SADD", &["member"]),
    ("ZADD", &["1", "member"]),
    ("XADD", &["*", "field", "value"]),
];

async fn replace(scene: &mut Scene, key: &str, (command, args): (&str, &[&str])) -> Vec<u8> {
    let _: () = scene.raw.del(key).await.unwrap();
    let mut write = redis::cmd(command);
    write.arg(key).arg(args).query_async::<redis::Value>(&mut scene.raw).await.unwrap();
    scene.dump(key).await.unwrap()
}

fn expect_corrupt<T: std::fmt::Debug>(outcome: Result<T, StoreError>, what: &str) {
    let error = outcome.unwrap_err();
    assert_eq!(error.class(), Class::Corrupt, "{what}: {error}");
    assert!(message(&error).contains("left untouched"), "{what}: {error}");
}

/// A key of another type where a state's record should be.
#[tokio::test]
async fn a_state_of_another_type_is_left_alone() {
    let mut scene = Scene::new().await;
    let states = scene.states();
    let (state, key) = scene.live(&states).await;
    for of in TYPES {
        let before = replace(&mut scene, &key, of).await;
        let error = states.take(&state).await.unwrap_err();
        let PkceError::Take { source } = error else { panic!("{}: {error:?}", of.0) };
        expect_corrupt(Err::<(), _>(source), of.0);
        let error = states.put_as(&RequestId::random(), &state, &super::record()).await;
        match error.unwrap_err() {
            PkceError::StateCollision => assert_eq!(of.0, "SET"),
            PkceError::Put { source } => expect_corrupt(Err::<(), _>(source), of.0),
            error => panic!("{}: {error:?}", of.0),
        }
        assert_eq!(scene.dump(&key).await.unwrap(), before, "{}", of.0);
    }
}

/// A key of another type where a connection, or one of its indexes, should be: no verb writes any
/// of its keys then.
#[tokio::test]
async fn a_connection_of_another_type_is_left_alone() {
    let mut scene = Scene::new().await;
    let store = scene.store.clone();
    let holder = verbs::request();
    let (id, begun) = verbs::begun(&*store, holder).await;
    let conn = scene.connection_key(&id);
    let due = format!("{}:{{{}}}:due", scene.prefix, id.shard());
    let owner = scene.keys_of("owner").await.remove(0);
    let keys = [conn.clone(), due.clone(), owner.clone()];
    let mut good = Vec::new();
    for key in &keys {
        good.push(scene.dump(key).await.unwrap());
    }

    for (damaged, key) in keys.iter().enumerate() {
        for of in TYPES {
            let is_right_type = matches!((damaged, of.0), (0, "HSET") | (1 | 2, "ZADD"));
            if is_right_type {
                continue;
            }
            replace(&mut scene, key, of).await;
            let mut before = Vec::new();
            for key in &keys {
                before.push(contents(&mut scene.raw, key).await);
            }
            let what = format!("{} at {key}", of.0);
            expect_corrupt(verbs::store_credential(&*store, &id).await, &what);
            if damaged < 2 {
                expect_corrupt(verbs::begin(&*store, &id, holder).await, &what);
                expect_corrupt(store.renew(&id, holder, verbs::LEASE).await, &what);
                let request = verbs::request();
                expect_corrupt(verbs::commit(&*store, &id, &begun, request).await, &what);
                expect_corrupt(verbs::fail(&*store, &id, &begun).await, &what);
                expect_corrupt(store.give_back(&id, verbs::request(), Duration::ZERO).await, &what);
            }
            match damaged {
                0 => expect_corrupt(store.read_credential(&id).await, &what),
                1 => expect_corrupt(verbs::claim(&*store, id.shard()).await, &what),
                _ => {}
            }
            for (key, before) in keys.iter().zip(before) {
                let after = contents(&mut scene.raw, key).await;
                assert_eq!(after, before, "{what}: {key} was written");
            }
            scene.restore(key, &good[damaged]).await;
        }
    }
    // Put right, it goes on where it was.
    let committed = verbs::commit(&*store, &id, &begun, verbs::request()).await.unwrap();
    assert_eq!(committed.as_str(), "committed");
}
