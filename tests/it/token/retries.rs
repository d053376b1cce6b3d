//! The same request again: the same answer, and nothing that was ended comes back.

use std::time::Duration;

use redis::AsyncCommands;
use vestibule::{
    RequestId,
    store::{Revocation, StoreError},
    token::{MCP_AUTH, MintSpec, NotFound, TokenError},
};

use super::{LIMITED, MAX_TTL, PATH, RESOURCE, Scene, cause, get, replicas, spec};

/// a retried mint gets the same token, from any replica, for a minute; another request or
/// resource does not.
#[tokio::test]
async fn a_retried_mint_gets_the_same_token() {
    for [a, b] in replicas().await {
        let request = RequestId::derived("alice", "mint 1");
        let one = a.mint_as(&request, &spec(MCP_AUTH)).await.unwrap();
        let two = b.mint_as(&request, &spec(MCP_AUTH)).await.unwrap();
        assert_eq!((one.token.secret(), one.id), (two.token.secret(), two.id));
        assert!(two.expires_in <= one.expires_in);
        assert_eq!(a.list(MCP_AUTH, RESOURCE, None, 10).await.unwrap().tokens.len(), 1);

        let other = RequestId::derived("alice", "mint 2");
        let other = a.mint_as(&other, &spec(MCP_AUTH)).await.unwrap();
        let elsewhere = MintSpec::new(MCP_AUTH, "flow-2", MAX_TTL);
        let elsewhere = a.mint_as(&request, &elsewhere).await.unwrap();
        for different in [other, elsewhere] {
            assert_ne!(different.token.secret(), one.token.secret());
        }
    }
}

/// A retried mint answers, and does not bring back what was revoked in between, by whatever means.
#[tokio::test]
async fn a_retried_mint_revives_nothing() {
    for [a, b] in replicas().await {
        for (how, expected) in [
            ("text", NotFound::Revoked),
            ("resource", NotFound::Dropped),
            ("scope", NotFound::Dropped),
        ] {
            let request = RequestId::random();
            let minted = a.mint_as(&request, &spec(MCP_AUTH)).await.unwrap();
            assert!(get(&b, &minted).await.is_ok());
            match how {
                "text" => {
                    b.revoke(minted.token.secret()).await.unwrap();
                }
                "resource" => assert_eq!(b.revoke_resource(MCP_AUTH, RESOURCE).await.unwrap(), 1),
                _ => assert_eq!(b.revoke_scope(MCP_AUTH).await.unwrap().tokens, 1),
            }
            for replica in [&a, &b] {
                let again = replica.mint_as(&request, &spec(MCP_AUTH)).await.unwrap();
                assert_eq!(again.token.secret(), minted.token.secret());
                assert_eq!(cause(get(replica, &again).await), expected, "{how}");
            }
            assert!(a.list(MCP_AUTH, RESOURCE, None, 10).await.unwrap().tokens.is_empty(), "{how}");
        }
    }
}

/// Nor does a mint that is retried later than a minute, when it mints another token; and not when
/// all that is known of the first is gone.
#[tokio::test]
async fn a_late_retry_of_a_mint_revives_nothing() {
    let mut scene = Scene::new().await;
    let request = RequestId::random();
    let minted = scene.tokens.mint_as(&request, &spec(MCP_AUTH)).await.unwrap();
    scene.tokens.revoke(minted.token.secret()).await.unwrap();
    scene.age(Duration::from_secs(59)).await;
    let again = scene.tokens.mint_as(&request, &spec(MCP_AUTH)).await.unwrap();
    assert_eq!((again.token.secret(), again.id), (minted.token.secret(), minted.id));
    // TTL and grace are 960 s together: the last retry comes when there is no tombstone any more.
    for (passed, expected) in
        [(2, NotFound::Revoked), (890, NotFound::Revoked), (70, NotFound::Absent)]
    {
        scene.age(Duration::from_secs(passed)).await;
        let other = scene.tokens.mint_as(&request, &spec(MCP_AUTH)).await.unwrap();
        assert!(get(&scene.tokens, &other).await.is_ok(), "{passed}");
        assert_ne!(other.token.secret(), minted.token.secret(), "{passed}");
        assert_eq!(cause(get(&scene.tokens, &minted).await), expected, "{passed}");
    }
}

/// What a retry gets is in Redis for a minute, sealed; a mint without a request id leaves nothing.
/// What is damaged there is an error, and nothing is minted.
#[tokio::test]
async fn a_receipt_is_sealed() {
    let mut scene = Scene::new().await;
    scene.mint(MCP_AUTH).await;
    assert!(scene.keys().await.iter().all(|key| !key.contains(":rcpt:")));
    let request = RequestId::random();
    let minted = scene.tokens.mint_as(&request, &spec(MCP_AUTH)).await.unwrap();
    let key = scene.key("rcpt").await;
    let value: Vec<u8> = scene.raw.get(&key).await.unwrap();
    assert!(value.starts_with(minted.id.digest().to_hex().as_bytes()));
    let text = &minted.token.secret().as_bytes()[36..];
    assert!(value.windows(text.len()).all(|part| part != text));
    assert!((1..=60_000).contains(&scene.raw.pttl::<_, i64>(&key).await.unwrap()));

    let _: () = scene.raw.pset_ex(&key, &value[..value.len() - 1], 60_000).await.unwrap();
    let error = scene.tokens.mint_as(&request, &spec(MCP_AUTH)).await.unwrap_err();
    assert!(matches!(error, TokenError::Seal(_)), "{error}");
    let _: () = scene.raw.pset_ex(&key, "x", 60_000).await.unwrap();
    let error = scene.tokens.mint_as(&request, &spec(MCP_AUTH)).await.unwrap_err();
    assert!(matches!(error, TokenError::Store(StoreError::Corrupt { .. })), "{error}");
    assert_eq!(scene.tokens.list(MCP_AUTH, RESOURCE, None, 9).await.unwrap().tokens.len(), 2);
}

/// A use that is asked for again is counted once; and not at all once the token is revoked.
#[tokio::test]
async fn a_retried_use_is_counted_once() {
    for [a, b] in replicas().await {
        let minted = a.mint(&spec(LIMITED)).await.unwrap();
        let text = minted.token.secret();
        let (one, two) = (RequestId::random(), RequestId::random());
        for replica in [&a, &b, &a] {
            let used = replica.validate_as(&one, text, "GET", PATH, None).await.unwrap();
            assert_eq!(used.uses_left, Some(2));
        }
        assert_eq!(a.validate_as(&two, text, "GET", PATH, None).await.unwrap().uses_left, Some(1));
        assert_eq!(get(&a, &minted).await.unwrap().uses_left, Some(0));
        assert_eq!(cause(get(&a, &minted).await), NotFound::UsedUp);
        assert!(b.validate_as(&one, text, "GET", PATH, None).await.is_ok(), "its own answer");
        b.revoke_id(minted.id).await.unwrap();
        let late = a.validate_as(&one, text, "GET", PATH, None).await;
        assert_eq!(cause(late), NotFound::Revoked);
    }
}

/// A revocation that is asked for again says what it said; what was minted since lives on.
#[tokio::test]
async fn a_retried_revocation_says_the_same() {
    for [a, b] in replicas().await {
        let minted = a.mint(&spec(MCP_AUTH)).await.unwrap();
        let (one, two) = (RequestId::random(), RequestId::random());
        for replica in [&a, &b] {
            let text = minted.token.secret();
            assert_eq!(replica.revoke_as(&one, text).await.unwrap(), Revocation::Revoked);
            assert_eq!(replica.revoke_as(&two, text).await.unwrap(), Revocation::Already);
        }
        for _ in 0..3 {
            a.mint(&spec(MCP_AUTH)).await.unwrap();
        }
        let request = RequestId::random();
        assert_eq!(a.revoke_resource_as(&request, MCP_AUTH, RESOURCE).await.unwrap(), 3);
        let since = a.mint(&spec(MCP_AUTH)).await.unwrap();
        assert_eq!(b.revoke_resource_as(&request, MCP_AUTH, RESOURCE).await.unwrap(), 3);
        assert!(get(&b, &since).await.is_ok(), "it came after");
    }
}
