//! Connections with a field that is missing, or holds something else.

use std::time::Duration;

use redis::AsyncCommands;
use vestibule::store::{Begin, Class, CommitOutcome, FailOutcome, Store, StoreError, Stored};

use super::{Scene, message};
use crate::support::verbs::{self, NEW_SECRET};

/// Instead of a field's value: nothing at all, and what is no number, word or digest.
const GARBAGE: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"gar bage"), Some(b"\xff\xfe\0")];

/// A verb's answer, or a typed error: never a fault of the library, never *unknown*.
fn is_typed<T: std::fmt::Debug>(outcome: Result<T, StoreError>, what: &str) -> Option<T> {
    outcome
        .inspect_err(|error| {
            assert_eq!(error.class(), Class::Corrupt, "{what}: {error}");
            assert!(message(error).contains("left untouched"), "{what}: {error}");
        })
        .ok()
}

/// Each field damaged in each way, against each verb: what cannot be read is left as it is, and
/// what was exchanged at a provider is not lost.
#[tokio::test]
async fn a_damaged_field_is_typed_and_loses_no_token() {
    let mut scene = Scene::new().await;
    let store = scene.store.clone();
    let store: &dyn Store = &*store;
    let (holder, other) = (verbs::request(), verbs::request());
    let (id, begun) = verbs::begun(store, holder).await;
    let key = scene.connection_key(&id);
    let good = scene.dump(&key).await.unwrap();
    let fields: Vec<String> = scene.raw.hkeys(&key).await.unwrap();
    assert!(fields.len() > 15, "{fields:?}");

    for field in &fields {
        for garbage in GARBAGE {
            let what = format!("{field} = {:?}", garbage.map(String::from_utf8_lossy));
            // Before each verb, and after one that failed, it is as it was damaged.
            let damage = async |scene: &mut Scene| {
                scene.restore(&key, &good).await;
                let _: () = match garbage {
                    None => scene.raw.hdel(&key, field).await.unwrap(),
                    Some(value) => scene.raw.hset(&key, field, value).await.unwrap(),
                };
                scene.dump(&key).await
            };

            let before = damage(&mut scene).await;
            is_typed(store.read_credential(&id).await, &what);
            for request in [holder, other] {
                if is_typed(verbs::begin(store, &id, request).await, &what).is_none() {
                    assert_eq!(scene.dump(&key).await, before, "{what}: written by begin");
                }
                damage(&mut scene).await;
            }
            is_typed(store.give_back(&id, other, Duration::ZERO).await, &what);
            assert_eq!(scene.dump(&key).await, before, "{what}: written by give_back");
            is_typed(store.renew(&id, holder, verbs::LEASE).await, &what);

            damage(&mut scene).await;
            match is_typed(verbs::fail(store, &id, &begun).await, &what).unwrap() {
                FailOutcome::Recorded { attempts } => assert_eq!(attempts, 1, "{what}"),
                FailOutcome::Stale => assert_eq!(scene.dump(&key).await, before, "{what}"),
                FailOutcome::Gone => assert_eq!(field, "status", "{what}"),
                FailOutcome::Switched { .. } | FailOutcome::Exhausted { .. } => {
                    panic!("{what}: no sibling is kept, and there is no horizon")
                }
            }

            damage(&mut scene).await;
            match is_typed(verbs::commit(store, &id, &begun, other).await, &what).unwrap() {
                CommitOutcome::Committed { .. } => {
                    let secret: Vec<u8> = scene.raw.hget(&key, "secret").await.unwrap();
                    assert_eq!(secret, NEW_SECRET, "{what}");
                }
                // Without these it cannot be known whose secret it would replace.
                outcome => {
                    assert!(["status", "grant", "token"].contains(&field.as_str()), "{what}");
                    assert_eq!(scene.dump(&key).await, before, "{what}: {outcome:?}");
                }
            }

            // Signing in again mends whatever was damaged, but for whose it is.
            damage(&mut scene).await;
            match is_typed(verbs::store_credential(store, &id).await, &what).unwrap() {
                Stored::Stored { .. } => {
                    let row = store.read_credential(&id).await.unwrap().unwrap();
                    assert_eq!(row.secret, verbs::SECRET, "{what}");
                    let begun = verbs::begin(store, &id, other).await.unwrap();
                    assert!(matches!(begun, Begin::Begun(_)), "{what}: {begun:?}");
                }
                Stored::Foreign => {
                    assert!(["owner", "connector"].contains(&field.as_str()), "{what}");
                    assert_eq!(scene.dump(&key).await, before, "{what}");
                }
                Stored::Ended { .. } => panic!("{what}: nothing was re-authorised"),
            }
        }
    }
}
