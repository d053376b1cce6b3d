//! Revoked by itself, with its resource, with its scope; listed; and the count of the expired.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::AsyncCommands;
use tokio::task::JoinSet;
use vestibule::{
    Digest, RequestId, Vestibule,
    store::{DroppedScope, NewToken, Revocation, ScopePage, Shard, TokenId, TokenStore},
    token::{MCP_AUTH, MintSpec, NotFound, Scope, TempTokens, TokenError},
};

use super::{LIMITED, MAX_TTL, RESOURCE, Scene, cause, get, replicas, scopes, spec};
use crate::support::{server, stores, stores::fresh_prefix, verbs};

fn of(resource: impl Into<String>) -> MintSpec {
    MintSpec::new(MCP_AUTH, resource, MAX_TTL)
}

/// T-7: one token is revoked by its text or its id, for good and everywhere, and no other.
#[tokio::test]
async fn one_token_is_revoked() {
    for [a, b] in replicas().await {
        let (one, two) =
            (a.mint(&spec(MCP_AUTH)).await.unwrap(), a.mint(&spec(MCP_AUTH)).await.unwrap());
        let kept = a.mint(&spec(MCP_AUTH)).await.unwrap();
        assert_eq!(b.revoke(one.token.secret()).await.unwrap(), Revocation::Revoked);
        assert_eq!(b.revoke_id(two.id).await.unwrap(), Revocation::Revoked);
        for replica in [&a, &b] {
            assert_eq!(cause(get(replica, &one).await), NotFound::Revoked);
            assert_eq!(cause(get(replica, &two).await), NotFound::Revoked);
            assert!(get(replica, &kept).await.is_ok());
            assert_eq!(replica.revoke(one.token.secret()).await.unwrap(), Revocation::Already);
        }
        let unknown = one.token.secret().replace("vtt_", "vtt-");
        assert_eq!(a.revoke(&unknown).await.unwrap(), Revocation::Absent);
        let unknown: TokenId = "a".repeat(64).parse().unwrap();
        assert_eq!(a.revoke_id(unknown).await.unwrap(), Revocation::Absent);
    }
}

/// T-8: all tokens of a resource, with their count; nothing else; an empty argument is none.
#[tokio::test]
async fn a_resource_is_revoked() {
    for [a, b] in replicas().await {
        let mut minted = Vec::new();
        for _ in 0..20 {
            minted.push(a.mint(&spec(MCP_AUTH)).await.unwrap());
        }
        let others = [a.mint(&spec(LIMITED)).await.unwrap(), a.mint(&of("flow-2")).await.unwrap()];
        a.revoke_id(minted[0].id).await.unwrap();
        for (scope, resource) in [("", RESOURCE), (MCP_AUTH, ""), ("", ""), (MCP_AUTH, "flow-3")] {
            assert_eq!(b.revoke_resource(scope, resource).await.unwrap(), 0);
        }
        assert_eq!(b.revoke_resource(MCP_AUTH, RESOURCE).await.unwrap(), 19);
        assert_eq!(b.revoke_resource(MCP_AUTH, RESOURCE).await.unwrap(), 0, "none is a success");
        for token in &minted[1..] {
            assert_eq!(cause(get(&a, token).await), NotFound::Dropped);
        }
        assert_eq!(a.revoke_id(minted[1].id).await.unwrap(), Revocation::Already);
        assert!(get(&a, &others[0]).await.is_ok());
        assert_eq!(a.revoke_resource(MCP_AUTH, "flow-2").await.unwrap(), 1);
        assert!(get(&a, &a.mint(&spec(MCP_AUTH)).await.unwrap()).await.is_ok(), "later ones live");
    }
}

/// Many resources with one request id: each is revoked, though some share a shard and its receipts.
#[tokio::test]
async fn one_request_revokes_many_resources() {
    for [a, b] in replicas().await {
        let request = RequestId::random();
        for number in 0..300 {
            let resource = format!("flow-{number}");
            a.mint(&of(resource.as_str())).await.unwrap();
            let count = b.revoke_resource_as(&request, MCP_AUTH, &resource).await.unwrap();
            assert_eq!(count, 1, "{number}");
            assert!(a.list(MCP_AUTH, &resource, None, 1).await.unwrap().tokens.is_empty());
        }
    }
}

/// A mint that races with a revocation either goes with it or comes after it: none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mint_goes_with_the_revocation_or_comes_after_it() {
    for [a, b] in replicas().await {
        let mut mints = JoinSet::new();
        for number in 0..200 {
            let tokens = if number % 2 == 0 { &a } else { &b }.clone();
            mints.spawn(async move { tokens.mint(&spec(MCP_AUTH)).await.unwrap() });
        }
        let mut revoked = 0;
        for _ in 0..20 {
            revoked += a.revoke_resource(MCP_AUTH, RESOURCE).await.unwrap();
        }
        let mut living = 0;
        for minted in mints.join_all().await {
            living += u64::from(get(&b, &minted).await.is_ok());
        }
        assert_eq!(revoked + living, 200, "{revoked} revoked, {living} alive");
    }
}

/// What a person sees of a revoked resource: records that look live, and no index that has them.
#[tokio::test]
async fn a_dropped_record_stays_and_is_accepted_by_nobody() {
    let mut scene = Scene::new().await;
    let minted = scene.mint(MCP_AUTH).await;
    let (record, index) = (scene.key("token").await, scene.key("tokens").await);
    let scope = scene.key("scope").await;
    scene.tokens.revoke_resource(MCP_AUTH, RESOURCE).await.unwrap();
    let value: Vec<u8> = scene.raw.get(&record).await.unwrap();
    let head = String::from_utf8_lossy(&value);
    assert!(head.starts_with("v1 live ") && head.contains("\nscope=mcp_auth\n"), "{head}");
    for gone in [&index, &scope] {
        assert!(!scene.raw.exists::<_, bool>(gone).await.unwrap(), "{gone}");
    }
    assert_eq!(cause(get(&scene.tokens, &minted).await), NotFound::Dropped);
    // And of one that was revoked by itself: its state says so.
    let minted = scene.mint(LIMITED).await;
    scene.tokens.revoke_id(minted.id).await.unwrap();
    let (shard, digest) = (minted.id.shard(), minted.id.digest());
    let key = format!("{}:{{{shard}}}:token:{digest}", scene.prefix);
    let value: Vec<u8> = scene.raw.get(key).await.unwrap();
    assert!(String::from_utf8_lossy(&value).starts_with("v1 revoked  "));
}

/// A scope is revoked over all shards, page by page, registered or not; other scopes are left alone.
#[tokio::test]
async fn a_scope_is_revoked() {
    for [a, b] in replicas().await {
        let (mut minted, mut shards) = (Vec::new(), BTreeSet::new());
        for number in 0..300 {
            let token = a.mint(&of(format!("flow-{number}"))).await.unwrap();
            shards.insert(token.id.shard());
            minted.push(token);
        }
        assert!(shards.len() > 100, "they are everywhere");
        a.mint(&of("flow-0")).await.unwrap();
        let other = a.mint(&spec(LIMITED)).await.unwrap();
        let none = b.revoke_scope("").await.unwrap();
        assert_eq!((none.resources, none.tokens), (0, 0));
        let revoked = b.revoke_scope(MCP_AUTH).await.unwrap();
        assert_eq!((revoked.resources, revoked.tokens), (300, 301));
        for token in minted.iter().step_by(29) {
            assert_eq!(a.revoke_id(token.id).await.unwrap(), Revocation::Already);
        }
        assert!(get(&a, &other).await.is_ok());
        assert_eq!(b.revoke_scope(MCP_AUTH).await.unwrap().tokens, 0);
        assert_eq!(b.revoke_scope("nobody registered it").await.unwrap().tokens, 0);
    }
}

/// A shard with more resources than one call ends is revoked, and counted, to the end.
#[tokio::test]
async fn a_crowded_shard_is_revoked_to_the_end() {
    let tokens = Vestibule::in_memory().temp_tokens(scopes());
    let mut shards = BTreeMap::<_, u64>::new();
    for number in 0..12_000 {
        let id = tokens.mint(&of(format!("flow-{number}"))).await.unwrap().id;
        *shards.entry(id.shard()).or_default() += 1;
    }
    let most = shards.values().max().unwrap();
    assert!((51..=100).contains(most), "more than one page, if hardly more than two: {most}");
    let revoked = tokens.revoke_scope(MCP_AUTH).await.unwrap();
    assert_eq!((revoked.resources, revoked.tokens), (12_000, 12_000));
}

/// The same pages on Redis, where all resources are put into one shard.
#[tokio::test]
async fn a_page_of_a_scope_is_ended_at_a_time() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let store = stores::store(server, &prefix).await;
    let (scope, shard) = (verbs::request(), Shard::new(0xc3));
    for _ in 0..120 {
        let mut index = *verbs::request().as_bytes();
        index[0] = shard.number();
        let index = Digest::from_bytes(&index).unwrap();
        for _ in 0..2 {
            let new = NewToken {
                id: TokenId::new(index, verbs::request()),
                scope,
                request: verbs::request(),
                ttl: MAX_TTL,
                display: &[],
                body: b"sealed",
                receipt: None,
            };
            store.mint_token(new).await.unwrap();
        }
    }
    let mut pages = Vec::new();
    while pages.last().is_none_or(|page: &DroppedScope| page.more) {
        let page = ScopePage { scope, shard, request: verbs::request(), limit: 50 };
        pages.push(store.drop_scope(page).await.unwrap());
    }
    let counts: Vec<_> = pages.iter().map(|page| (page.resources, page.tokens)).collect();
    assert_eq!(counts, [(50, 100), (50, 100), (20, 40)]);
    let left: Vec<String> = server.raw().await.keys(format!("{prefix}:*:tokens:*")).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

/// A list has the live ones, each once, soonest end first; no text is in it.
#[tokio::test]
async fn a_resource_is_listed_page_by_page() {
    for [a, b] in replicas().await {
        assert!(a.list(MCP_AUTH, RESOURCE, None, 10).await.unwrap().tokens.is_empty());
        let mut ids = Vec::new();
        for seconds in 1..=25 {
            let ttl = Duration::from_secs(seconds * 30);
            ids.push(a.mint(&MintSpec { ttl, ..spec(MCP_AUTH) }).await.unwrap().id);
        }
        a.revoke_id(ids.remove(7)).await.unwrap();
        let (mut listed, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = b.list(MCP_AUTH, RESOURCE, cursor, 10).await.unwrap();
            pages += 1;
            listed.extend(page.tokens);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(pages, 3);
        assert_eq!(listed.iter().map(|token| token.id).collect::<Vec<_>>(), ids);
        assert!(listed.is_sorted_by_key(|token| token.expires_in));
        assert!(listed[0].expires_in > Duration::from_secs(10), "{:?}", listed[0]);
    }
}

/// T-8: what has ended is counted once, at its very end too; what lives is left.
#[tokio::test]
async fn the_expired_are_counted() {
    let mut scene = Scene::new().await;
    let tokens = scene.tokens.clone();
    let minute = Duration::from_secs(60);
    for number in 0..70 {
        tokens
            .mint(&MintSpec { ttl: minute, ..of(format!("flow-{}", number % 30)) })
            .await
            .unwrap();
    }
    let living = scene.mint(MCP_AUTH).await;
    let unused = MintSpec { ttl: minute, ..spec(LIMITED) };
    let unused = tokens.mint(&unused).await.unwrap();
    assert_eq!(tokens.delete_expired(Duration::ZERO).await.unwrap(), 0);
    scene.age(minute).await;
    assert!(matches!(get(&tokens, &unused).await, Err(TokenError::Expired)));
    assert_eq!(tokens.delete_expired(Duration::from_secs(30)).await.unwrap(), 0);
    assert_eq!(tokens.delete_expired(Duration::ZERO).await.unwrap(), 71);
    assert_eq!(tokens.delete_expired(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(cause(get(&tokens, &unused).await), NotFound::Dropped);
    assert!(get(&tokens, &living).await.is_ok());
    // A scope that nobody registered here is not looked at: its indexes end by themselves.
    tokens.scopes().register(Scope::mcp_headers_auth("/api")).unwrap();
    assert_eq!(tokens.delete_expired(Duration::ZERO).await.unwrap(), 0);
}

/// More expired ones in one index than a call takes off: all are counted.
#[tokio::test]
async fn many_expired_ones_of_one_resource_are_counted() {
    let mut scene = Scene::new().await;
    let short = MintSpec { ttl: Duration::from_secs(60), ..spec(MCP_AUTH) };
    let mut mints = JoinSet::new();
    for _ in 0..1_100 {
        let (tokens, short) = (scene.tokens.clone(), short.clone());
        mints.spawn(async move { tokens.mint(&short).await.unwrap().id });
    }
    assert_eq!(mints.join_all().await.len(), 1_100);
    scene.age(Duration::from_secs(60)).await;
    assert_eq!(scene.tokens.delete_expired(Duration::ZERO).await.unwrap(), 1_100);
}

/// Once a revocation is answered, no request that begins later is let in, whatever is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_is_answered_holds() {
    for [a, b] in replicas().await {
        for limited in [MCP_AUTH, LIMITED] {
            for round in 0..20 {
                race(&a, &b, limited, round % 2 == 0).await;
            }
        }
    }
}

async fn race(a: &TempTokens, b: &TempTokens, scope: &str, by_resource: bool) {
    let minted = Arc::new(a.mint(&spec(scope)).await.unwrap());
    let revoked = Arc::new(AtomicBool::new(false));
    let mut users = JoinSet::new();
    for number in 0..8 {
        let (tokens, minted) = (if number % 2 == 0 { a } else { b }.clone(), minted.clone());
        let revoked = revoked.clone();
        users.spawn(async move {
            loop {
                let before = revoked.load(SeqCst);
                let outcome = get(&tokens, &minted).await;
                assert!(!before || outcome.is_err(), "let in after it was revoked");
                if before {
                    return;
                }
            }
        });
    }
    tokio::task::yield_now().await;
    if by_resource {
        assert_eq!(a.revoke_resource(scope, RESOURCE).await.unwrap(), 1);
    } else {
        assert_eq!(a.revoke_id(minted.id).await.unwrap(), Revocation::Revoked);
    }
    revoked.store(true, SeqCst);
    users.join_all().await;
}
