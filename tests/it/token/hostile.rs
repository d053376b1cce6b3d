//! Texts, resources, records and clocks that are not as they should be.

use std::time::Duration;

use redis::AsyncCommands;
use vestibule::{
    Keys, Vestibule,
    seal::Seal,
    store::{Class, NewToken, PutToken, Revocation, StoreError, TokenId, TokenStore as _},
    token::{MCP_AUTH, MintSpec, NotFound, Scope, TokenError},
};

use super::{MAX_TTL, PATH, RESOURCE, Scene, cause, get, scopes, spec};
use crate::{
    properties::connect,
    support::{
        logs,
        proxy::Proxy,
        server::{self, TestServer},
        stopwatch::Stopwatch,
        stores::{self, fresh_prefix},
        verbs,
    },
};

/// A text that is not a token's is not found, and Redis is not asked: here it does not even answer.
#[tokio::test]
async fn a_text_that_is_no_tokens_asks_nobody() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    let tokens = connect(&proxy.url(), "vst").await.temp_tokens(scopes());
    let minted = tokens.mint(&spec(MCP_AUTH)).await.unwrap();
    let good = minted.token.secret();
    proxy.black_hole();
    // Whoever asked it would wait for a second each time, for five before it gave up.
    let watch = Stopwatch::start();
    for bad in [
        "",
        "vtt_",
        &good[..78],
        &format!("{good}x"),
        &good.to_uppercase(),
        &good.replace("vtt_", "VTT_"),
        &good.replace("vtt_", "ghp_"),
        &format!("{}{}", good[..36].to_uppercase(), &good[36..]),
        &format!("{}\n", &good[..78]),
        &"é".repeat(39),
        &"x".repeat(1 << 20),
    ] {
        let validated = tokens.validate(bad, "GET", PATH, None).await;
        assert_eq!(cause(validated), NotFound::Malformed, "{}", &bad[..bad.len().min(99)]);
        assert_eq!(tokens.revoke(bad).await.unwrap(), Revocation::Absent);
    }
    assert!(watch.took() < Duration::from_secs(4), "{watch:?}");
    proxy.pass();
}

/// No part of a text can be exchanged: not the index, not the random bytes, not their case.
#[tokio::test]
async fn no_part_of_a_text_can_be_exchanged() {
    let scene = Scene::new().await;
    let one = scene.mint(MCP_AUTH).await;
    let two = scene.tokens.mint(&MintSpec::new(MCP_AUTH, "flow-2", MAX_TTL)).await.unwrap();
    let (one, two) = (one.token.secret(), two.token.secret());
    let swapped: String =
        one[36..]
            .chars()
            .map(|c| {
                if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
            })
            .collect();
    for forged in [
        format!("{}{}", &one[..36], &two[36..]),
        format!("{}{}", &two[..36], &one[36..]),
        format!("{}{}", &one[..36], swapped),
    ] {
        for path in [PATH, "/api/flows/flow-2"] {
            let outcome = scene.tokens.validate(&forged, "GET", path, None).await;
            let found = cause(outcome);
            // Other bits than 32 bytes have are no token's at all.
            assert!(matches!(found, NotFound::Absent | NotFound::Malformed), "{found:?}");
        }
        assert_eq!(scene.tokens.revoke(&forged).await.unwrap(), Revocation::Absent);
    }
}

/// Resources are anything of up to 512 bytes where no path has to name them; none forges a key, and
/// none can be told from a key, a display line, or the log.
#[tokio::test]
async fn no_resource_forges_a_key() {
    let logs = logs::capture();
    let mut scene = Scene::new().await;
    let tokens = scene.tokens.clone();
    let anywhere = Scope::new("anywhere").with_route("GET", "/me").with_max_ttl(MAX_TTL);
    tokens.scopes().register(anywhere).unwrap();
    let long = "canary-5e1f".repeat(512 / 11);
    let hostile =
        ["{x}", "a:b", "a/b", "a%2Fb", "..", "*", "a\0b", "\r\n", "canary-5e1f é", long.as_str()];
    for resource in hostile {
        let spec = MintSpec::new("anywhere", resource, MAX_TTL).for_subject("canary-5e1f");
        let minted = tokens.mint(&spec).await.unwrap();
        let text = minted.token.secret();
        let valid = tokens.validate(text, "GET", "/me", Some("canary-5e1f")).await.unwrap();
        assert_eq!(valid.resource, resource);
        assert_eq!(tokens.list("anywhere", resource, None, 10).await.unwrap().tokens.len(), 1);
        let random = &text[36..];
        let mut all = String::new();
        for key in scene.keys().await {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b":{}-".contains(&b);
            assert!(key.bytes().all(fits), "{key:?}");
            let dump: Vec<u8> =
                redis::cmd("DUMP").arg(&key).query_async(&mut scene.raw).await.unwrap();
            all += &format!("{key}\n{}", String::from_utf8_lossy(&dump));
        }
        assert!(!all.contains("canary-5e1f") && !all.contains(random));
        assert!(!logs.contain(random) && !logs.contain("canary-5e1f"));
        assert!(!format!("{spec:?}").contains("canary"), "{spec:?}");
        assert_eq!(tokens.revoke_resource("anywhere", resource).await.unwrap(), 1);
    }
    // What looks alike when it is joined is not the same.
    let one = tokens.mint(&MintSpec::new("anywhere", "ab", MAX_TTL)).await.unwrap();
    assert_eq!(tokens.revoke_resource("anywherea", "b").await.unwrap(), 0);
    assert!(tokens.validate(one.token.secret(), "GET", "/me", None).await.is_ok());
}

/// A damaged record, one of another type, and one that was moved from another token: errors that are
/// no refusals, and nothing is changed.
#[tokio::test]
async fn a_damaged_record_is_an_error_and_stays() {
    let server = server::shared().await;
    for url in [server.url(), server.cluster_url()] {
        let mut scene = Scene::at(&url).await;
        let minted = scene.mint(MCP_AUTH).await;
        let key = scene.key("token").await;
        let value: Vec<u8> = scene.raw.get(&key).await.unwrap();
        for damaged in [
            &b"x"[..],
            &value[..70],
            &[b"v2", &value[2..]].concat(),
            &[b"v1 odd      ", &value[12..]].concat(),
        ] {
            let _: () = scene.raw.pset_ex(&key, damaged, 600_000).await.unwrap();
            let error = get(&scene.tokens, &minted).await.unwrap_err();
            assert!(matches!(error, TokenError::Store(StoreError::Corrupt { .. })), "{error}");
            assert!(error.to_string().contains(&key), "{error}");
            assert_eq!(scene.raw.get::<_, Vec<u8>>(&key).await.unwrap(), damaged);
        }
        let _: () = scene.raw.del(&key).await.unwrap();
        let _: () = scene.raw.lpush(&key, "x").await.unwrap();
        let error = get(&scene.tokens, &minted).await.unwrap_err();
        assert!(matches!(&error, TokenError::Store(error) if error.class() == Class::Corrupt));
        assert!(!error.is_refusal());
        let _: () = scene.raw.pset_ex(&key, &value, 600_000).await.unwrap();
        assert!(get(&scene.tokens, &minted).await.is_ok());

        // The body of another token of the same resource, under this one's name.
        let other = scene.tokens.mint(&spec(MCP_AUTH)).await.unwrap();
        let place = key.rsplit_once(':').unwrap().0;
        let value: Vec<u8> = scene.raw.get(format!("{place}:{}", other.id.digest())).await.unwrap();
        let _: () = scene.raw.pset_ex(&key, value, 600_000).await.unwrap();
        let error = get(&scene.tokens, &minted).await.unwrap_err();
        assert!(matches!(error, TokenError::Seal(_)), "{error}");
        assert!(!error.is_refusal());
    }
}

/// Verbs that write judge a record before they touch it, also one that became damaged just now.
#[tokio::test]
async fn no_verb_builds_on_a_damaged_record() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let store = stores::store(server, &prefix).await;
    let mut raw = server.raw().await;
    let (id, request) = (TokenId::new(verbs::request(), verbs::request()), verbs::request());
    let new = NewToken {
        id,
        scope: verbs::request(),
        request,
        ttl: MAX_TTL,
        display: &[],
        body: b"sealed",
        receipt: None,
    };
    for _its_own_retry in 0..2 {
        let minted = store.mint_token(new.clone()).await.unwrap();
        assert!(matches!(minted, PutToken::Minted { .. }), "X-1: {minted:?}");
    }
    let key = format!("{prefix}:{{{}}}:token:{}", id.shard(), id.digest());
    let value: Vec<u8> = raw.get(&key).await.unwrap();
    for damaged in [&b""[..], b"x", &value[..70], &[b"v2", &value[2..]].concat()] {
        let _: () = raw.pset_ex(&key, damaged, 600_000).await.unwrap();
        for (verb, outcome) in [
            ("mint", store.mint_token(new.clone()).await.map(drop)),
            ("use", store.use_token(id, verbs::request(), 3).await.map(drop)),
            ("revoke", store.revoke_token(id, verbs::request()).await.map(drop)),
        ] {
            let corrupt = matches!(&outcome, Err(StoreError::Corrupt { .. }));
            assert!(corrupt, "{verb}: {outcome:?}, {damaged:?}");
        }
        assert_eq!(raw.get::<_, Vec<u8>>(&key).await.unwrap(), damaged);
    }
    let uses: Vec<String> = raw.keys(format!("{prefix}:*:uses:*")).await.unwrap();
    assert!(uses.is_empty(), "nothing was counted");
}

/// Without an end a record was never written here: it is expired. One that Redis keeps for too long
/// is over by the end that is sealed in it; a local clock that jumps back revives nothing.
#[tokio::test]
async fn clocks_jump() {
    const HOUR_MS: i64 = 3_600_000;
    let (server, prefix, keys) = (server::shared().await, fresh_prefix(), Keys::random());
    let store = stores::store(server, &prefix).await;
    let at = |shift| {
        let seal = Seal::new(keys.ring.clone()).with_wall_clock_shift(shift);
        Vestibule::assemble(store.clone(), seal, &keys).temp_tokens(scopes())
    };
    let (tokens, early, late) = (at(0), at(-HOUR_MS), at(HOUR_MS));
    let mut raw = server.raw().await;
    let minted = tokens.mint(&spec(MCP_AUTH)).await.unwrap();
    let (shard, digest) = (minted.id.shard(), minted.id.digest());
    let key = format!("{prefix}:{{{shard}}}:token:{digest}");

    let _: () = raw.pexpire(&key, 2 * HOUR_MS).await.unwrap();
    assert!(matches!(get(&late, &minted).await, Err(TokenError::Expired)));
    assert!(get(&tokens, &minted).await.is_ok());
    let _: () = raw.pexpire(&key, 60_000).await.unwrap();
    for clock in [&tokens, &early, &late] {
        assert!(matches!(get(clock, &minted).await, Err(TokenError::Expired)));
    }
    let _: () = raw.persist(&key).await.unwrap();
    assert!(matches!(get(&tokens, &minted).await, Err(TokenError::Expired)));
    assert_eq!(tokens.revoke_id(minted.id).await.unwrap(), Revocation::Expired);
    let left: i64 = raw.pttl(&key).await.unwrap();
    assert!((1..=60_000).contains(&left), "it was given an end: {left}");

    // A tolerance of two seconds, for clocks that are nearly right.
    let minted = tokens.mint(&spec(MCP_AUTH)).await.unwrap();
    let ends = i64::try_from(MAX_TTL.as_millis()).unwrap();
    assert!(get(&at(ends + 1_000), &minted).await.is_ok());
    assert!(matches!(get(&at(ends + 3_000), &minted).await, Err(TokenError::Expired)));
}

/// What is refused is told apart in the log, by the token's id and never its text.
#[tokio::test]
async fn the_log_tells_refusals_apart() {
    let logs = logs::capture();
    let mut scene = Scene::new().await;
    let tokens = scene.tokens.clone();
    let told = |id: String, cause: &str| {
        let text = logs.text();
        let mut lines = text.lines().filter(|line| line.contains(&id));
        assert!(lines.any(|line| line.contains(cause)), "{cause}: {text}");
    };
    let limited = scene.mint(super::LIMITED).await;
    for _ in 0..4 {
        let _ = get(&tokens, &limited).await;
    }
    told(limited.id.to_string(), "used_up");
    tokens.revoke_id(limited.id).await.unwrap();
    let _ = get(&tokens, &limited).await;
    told(limited.id.to_string(), "cause=\"revoked\"");
    let minted = scene.mint(MCP_AUTH).await;
    tokens.revoke_resource(MCP_AUTH, RESOURCE).await.unwrap();
    let _ = get(&tokens, &minted).await;
    told(minted.id.to_string(), "dropped");
    scene.age(MAX_TTL + Duration::from_secs(61)).await;
    let _ = get(&tokens, &minted).await;
    told(minted.id.to_string(), "an unknown temp token was presented");
    for token in [&limited, &minted] {
        assert!(!logs.contain(&token.token.secret()[36..]));
    }
}
