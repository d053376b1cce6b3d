//! Ciphertexts where they do not belong, and sealers that do not fit.

use redis::AsyncCommands;
use vestibule::{
    Keys, RequestId,
    connection::ConnectionError,
    pkce::PkceError,
    seal::{Seal, SealError},
};

use super::{CANARY, OWNER, Scene, connections, message};

/// The sealed body: what follows the head, the display line and three digests.
fn split(record: &[u8]) -> (&[u8], &[u8]) {
    let offset: usize = std::str::from_utf8(&record[55..59]).unwrap().parse().unwrap();
    record.split_at(offset + 48)
}

/// a body that is moved to another state's record does not open, alone or with its head.
#[tokio::test]
async fn a_body_does_not_open_in_another_record() {
    let mut scene = Scene::new().await;
    let states = scene.states();
    for whole in [false, true] {
        let ((_, from), (state, to)) = (scene.live(&states).await, scene.live(&states).await);
        let mine: Vec<u8> = scene.raw.get(&to).await.unwrap();
        let other: Vec<u8> = scene.raw.get(&from).await.unwrap();
        let forged = if whole { other.clone() } else { [split(&mine).0, split(&other).1].concat() };
        let _: () = scene.raw.pset_ex(&to, forged, 660_000).await.unwrap();
        let request = RequestId::random();
        let error = states.take_as(&request, &state).await.unwrap_err();
        assert!(
            matches!(error, PkceError::Open { source: SealError::DoesNotOpen(_) }),
            "{error:?}"
        );
        assert!(message(&error).contains("moved from another record or prefix"), "{error}");
        // What was taken is not lost: put right, it opens for the same request.
        let now: Vec<u8> = scene.raw.get(&to).await.unwrap();
        let mended = [split(&now).0, split(&mine).1].concat();
        let _: () = scene.raw.pset_ex(&to, mended, 60_000).await.unwrap();
        assert!(states.take_as(&request, &state).await.is_ok());
    }
    scene.nothing_leaked();
}

/// nor does one that is moved to another prefix of the same keys.
#[tokio::test]
async fn a_body_does_not_open_under_another_prefix() {
    let (mut scene, other) = (Scene::new().await, Scene::new().await);
    let (state, from) = scene.live(&scene.states()).await;
    let to = from.replace(&scene.prefix, &other.prefix);
    let record: Vec<u8> = scene.raw.get(&from).await.unwrap();
    let _: () = scene.raw.pset_ex(&to, record, 660_000).await.unwrap();
    let there = Scene { keys: scene.keys.clone(), ..other };
    let error = there.states().take(&state).await.unwrap_err();
    assert!(matches!(error, PkceError::Open { source: SealError::DoesNotOpen(_) }), "{error:?}");
    message(&error);
    assert!(scene.states().take(&state).await.is_ok(), "here it does");
}

/// X-9, V-5: a secret that is moved to another connection, of the same owner even, is not vended.
#[tokio::test]
async fn a_secret_does_not_open_in_another_connection() {
    let mut scene = Scene::new().await;
    let connections = scene.connections();
    let (one, two) = (scene.credential(&connections).await, scene.credential(&connections).await);
    let secret: Vec<u8> = scene.raw.hget(&one.1, "secret").await.unwrap();
    let own: Vec<u8> = scene.raw.hget(&two.1, "secret").await.unwrap();
    let _: () = scene.raw.hset(&two.1, "secret", &secret).await.unwrap();
    let error = connections.vend(OWNER, &two.0).await.unwrap_err();
    assert!(matches!(error, ConnectionError::Seal(SealError::DoesNotOpen(_))), "{error:?}");
    message(&error);

    // A state's body is for another purpose, and of another form.
    let (_, key) = scene.live(&scene.states()).await;
    let record: Vec<u8> = scene.raw.get(&key).await.unwrap();
    let _: () = scene.raw.hset(&two.1, "secret", split(&record).1).await.unwrap();
    let error = connections.vend(OWNER, &two.0).await.unwrap_err();
    assert!(matches!(error, ConnectionError::Seal(_)), "{error:?}");
    message(&error);

    let _: () = scene.raw.hset(&two.1, "secret", &own).await.unwrap();
    assert!(connections.vend(OWNER, &two.0).await.is_ok());
    scene.nothing_leaked();
}

/// K-3, K-4: a ring without the key says which one is missing, and touches nothing; with the key
/// it opens.
#[tokio::test]
async fn a_missing_key_is_named() {
    let mut scene = Scene::new().await;
    let (right, wrong) =
        (scene.connections(), connections(&scene.vestibule(Seal::new(Keys::random().ring))));
    let (id, key) = scene.credential(&right).await;
    let before = scene.dump(&key).await;
    let key_id = scene.keys.ring.key_ids().next().unwrap();
    let error = wrong.vend(OWNER, &id).await.unwrap_err();
    assert!(
        matches!(error, ConnectionError::Seal(SealError::UnknownKey(id)) if id == key_id),
        "{error:?}"
    );
    assert!(message(&error).contains(&format!("{key_id}, which is not in the key ring")));
    assert_eq!(scene.dump(&key).await, before);
    assert!(right.vend(OWNER, &id).await.is_ok());

    let (state, request) = (scene.live(&scene.states()).await.0, RequestId::random());
    let wrong = scene.vestibule(Seal::new(Keys::random().ring)).pkce();
    let error = wrong.take_as(&request, &state).await.unwrap_err();
    assert!(
        matches!(error, PkceError::Open { source: SealError::UnknownKey(id) } if id == key_id),
        "{error:?}"
    );
    assert!(scene.logs.text().lines().any(|line| {
        line.contains("ERROR")
            && line.contains(&key_id.to_string())
            && line.contains("does not open")
    }));
    assert!(scene.states().take_as(&request, &state).await.is_ok());
    scene.nothing_leaked();
}

/// K-4: what a development process wrote in the open is refused by a ring, and the other way round.
#[tokio::test]
async fn sealed_and_open_records_do_not_mix() {
    let mut scene = Scene::new().await;
    let open = scene.vestibule(Seal::passthrough_for_development());
    assert!(scene.logs.contain("SECRETS ARE NOT SEALED"), "loudly");
    let (open_states, states) = (open.pkce(), scene.states());
    let (state, key) = scene.live(&open_states).await;
    let value: Vec<u8> = scene.raw.get(&key).await.unwrap();
    assert!(String::from_utf8_lossy(&value).contains(CANARY), "it is open indeed");
    let request = RequestId::random();
    let error = states.take_as(&request, &state).await.unwrap_err();
    assert!(matches!(error, PkceError::Open { source: SealError::NotSealed }), "{error:?}");
    message(&error);
    assert!(open_states.take_as(&request, &state).await.is_ok());

    let (state, _) = scene.live(&states).await;
    let request = RequestId::random();
    let error = open_states.take_as(&request, &state).await.unwrap_err();
    assert!(matches!(error, PkceError::Open { source: SealError::SealedByARing }), "{error:?}");
    assert!(message(&error).contains("give it the key file"), "{error}");
    assert!(states.take_as(&request, &state).await.is_ok());

    let (opened, sealed) = (connections(&open), scene.connections());
    let (open_id, _) = scene.credential(&opened).await;
    let (sealed_id, _) = scene.credential(&sealed).await;
    let error = sealed.vend(OWNER, &open_id).await.unwrap_err();
    assert!(matches!(error, ConnectionError::Seal(SealError::NotSealed)), "{error:?}");
    let error = opened.vend(OWNER, &sealed_id).await.unwrap_err();
    assert!(matches!(error, ConnectionError::Seal(SealError::SealedByARing)), "{error:?}");
    assert!(
        opened.vend(OWNER, &open_id).await.is_ok() && sealed.vend(OWNER, &sealed_id).await.is_ok()
    );
    scene.nothing_leaked();
}
