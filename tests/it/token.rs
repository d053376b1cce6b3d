//! Temp tokens on Redis, on a Cluster and in memory: minted, validated, counted, revoked, listed.

mod clocks;
mod faults;
mod hostile;
mod pepper;
mod retries;
mod revoking;

use std::{collections::BTreeSet, time::Duration};

use redis::{AsyncCommands, aio::MultiplexedConnection};
use vestibule::{
    Vestibule,
    token::{
        InvalidMint, MCP_AUTH, MintSpec, Minted, NotFound, Scope, Scopes, TempTokens, TokenError,
        ValidatedToken,
    },
};

use crate::{
    properties::connect,
    support::{ageing::age, server, stores::fresh_prefix},
};

const MAX_TTL: Duration = Duration::from_secs(15 * 60);
const RESOURCE: &str = "flow-1";
const PATH: &str = "/api/flows/flow-1";
/// A scope whose tokens are good for three uses.
const LIMITED: &str = "limited";
/// A scope whose tokens are for one subject.
const BOUND: &str = "bound";

fn scopes() -> Scopes {
    let scopes = Scopes::new();
    let like_mcp = |name| {
        Scope::new(name)
            .with_placeholder("{id}")
            .with_route("GET", "/api/flows/{id}")
            .with_max_ttl(MAX_TTL)
    };
    scopes.register(Scope::mcp_auth("/api")).unwrap();
    scopes.register(like_mcp(LIMITED).with_max_uses(3)).unwrap();
    scopes.register(like_mcp(BOUND).bound()).unwrap();
    scopes
}

fn spec(scope: &str) -> MintSpec {
    MintSpec::new(scope, RESOURCE, MAX_TTL)
}

/// Two replicas on one Redis, two on a Cluster, and two handles of one memory store.
async fn replicas() -> [[TempTokens; 2]; 3] {
    let server = server::shared().await;
    let (plain, cluster) = (fresh_prefix(), fresh_prefix());
    let at = async |url: String, prefix: &str| connect(&url, prefix).await.temp_tokens(scopes());
    let memory = Vestibule::in_memory();
    [
        [at(server.url(), &plain).await, at(server.url(), &plain).await],
        [at(server.cluster_url(), &cluster).await, at(server.cluster_url(), &cluster).await],
        [memory.temp_tokens(scopes()), memory.temp_tokens(scopes())],
    ]
}

/// One replica on Redis, and what a test needs to look behind it.
struct Scene {
    tokens: TempTokens,
    prefix: String,
    raw: MultiplexedConnection,
}

impl Scene {
    async fn new() -> Self {
        Self::at(&server::shared().await.url()).await
    }

    async fn at(url: &str) -> Self {
        let (server, prefix) = (server::shared().await, fresh_prefix());
        let tokens = connect(url, &prefix).await.temp_tokens(scopes());
        Self { tokens, prefix, raw: server.raw().await }
    }

    async fn mint(&self, scope: &str) -> Minted {
        self.tokens.mint(&spec(scope)).await.unwrap()
    }

    async fn age(&mut self, by: Duration) {
        age(&mut self.raw, &self.prefix, by).await;
    }

    async fn keys(&mut self) -> BTreeSet<String> {
        self.raw.keys(format!("{}:{{*", self.prefix)).await.unwrap()
    }

    /// The only key of this kind.
    async fn key(&mut self, kind: &str) -> String {
        let keys: Vec<String> = self.raw.keys(format!("{}:*:{kind}:*", self.prefix)).await.unwrap();
        let [key] = keys.as_slice() else { panic!("{keys:?}") };
        key.clone()
    }
}

async fn get(tokens: &TempTokens, minted: &Minted) -> Result<ValidatedToken, TokenError> {
    tokens.validate(minted.token.secret(), "GET", PATH, None).await
}

/// The refusal, which has the one text for the outside that its cause is not in.
fn cause(outcome: Result<ValidatedToken, TokenError>) -> NotFound {
    let error = outcome.unwrap_err();
    assert!(error.is_refusal());
    assert_eq!(error.to_string(), "temptoken: token not found");
    match error {
        TokenError::NotFound(cause) => cause,
        other => panic!("{other:?}"),
    }
}

/// T-6, T-7: a token is good for each route of its scope, on every replica, as often as it is used.
#[tokio::test]
async fn a_token_is_good_many_times() {
    for [a, b] in replicas().await {
        let minted = a.mint(&spec(MCP_AUTH)).await.unwrap();
        assert_eq!(minted.expires_in, MAX_TTL);
        for _ in 0..5 {
            for (method, path) in [("GET", PATH), ("get", "/api/flows/flow-1/start?x=1")] {
                let text = minted.token.secret();
                let valid = b.validate(text, method, path, None).await.unwrap();
                assert_eq!((valid.id, valid.scope.as_str()), (minted.id, MCP_AUTH));
                assert_eq!((valid.resource.as_str(), valid.uses_left), (RESOURCE, None));
                let near = MAX_TTL - Duration::from_secs(20)..=MAX_TTL;
                assert!(near.contains(&valid.expires_in), "{:?}", valid.expires_in);
                assert!(valid.created_at_ms > 0);
            }
        }
        let other = a.mint(&spec(MCP_AUTH)).await.unwrap();
        assert_ne!(other.token.secret(), minted.token.secret());
    }
}

/// T-5: the text is what scanners look for, with 32 random bytes behind it, and nobody prints it.
#[tokio::test]
async fn a_text_has_a_shape() {
    let scene = Scene::new().await;
    let minted = scene.mint(MCP_AUTH).await;
    let text = minted.token.secret();
    let (prefix, rest) = text.split_at(4);
    let (index, random) = rest.split_at(32);
    assert_eq!((prefix, random.len()), ("vtt_", 43));
    assert!(index.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{text}");
    assert!(random.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{text}");
    assert!(!format!("{minted:?}").contains(random), "{minted:?}");
    assert!(!minted.id.to_string().contains(random));
}

/// T-2, T-6: each refusal has its own text inside, and the first that applies is told.
#[tokio::test]
async fn refusals_come_in_their_order() {
    let mut scene = Scene::new().await;
    let tokens = scene.tokens.clone();
    let minted = scene.mint(MCP_AUTH).await;
    let text = minted.token.secret();
    let wrong_route = async |of: &TempTokens| {
        let error = of.validate(text, "POST", PATH, None).await.unwrap_err();
        assert!(error.is_refusal());
        error
    };
    let empty = tokens.validate("", "GET", PATH, None).await;
    assert_eq!(cause(empty), NotFound::Malformed);
    let error = wrong_route(&tokens).await;
    assert!(matches!(error, TokenError::RouteNotAllowed));
    assert_eq!(
        error.to_string(),
        "temptoken: request method and path are not allowed by token scope"
    );
    // A replica that does not know the scope does not look at the route.
    let elsewhere = connect(&server::shared().await.url(), &scene.prefix).await;
    let elsewhere = elsewhere.temp_tokens(Scopes::new());
    let error = wrong_route(&elsewhere).await;
    assert!(matches!(error, TokenError::ScopeUnknown));
    assert_eq!(error.to_string(), "temptoken: token scope is not registered");
    elsewhere.scopes().register(Scope::mcp_auth("/api")).unwrap();
    assert!(get(&elsewhere, &minted).await.is_ok(), "scopes may come later");

    // An expired one is expired, whatever else is wrong.
    scene.age(MAX_TTL).await;
    for of in [&tokens, &connect_without_scopes(&scene).await] {
        let error = wrong_route(of).await;
        assert!(matches!(error, TokenError::Expired));
        assert_eq!(error.to_string(), "temptoken: token expired");
    }
    tokens.revoke_resource(MCP_AUTH, RESOURCE).await.unwrap();
    assert_eq!(cause(get(&tokens, &minted).await), NotFound::Dropped);
    scene.age(Duration::from_secs(61)).await;
    assert_eq!(cause(get(&tokens, &minted).await), NotFound::Absent);
}

async fn connect_without_scopes(scene: &Scene) -> TempTokens {
    let url = server::shared().await.url();
    connect(&url, &scene.prefix).await.temp_tokens(Scopes::new())
}

/// T-6, T-11: the very end counts as expired; a minute later nothing is left, without a sweep.
#[tokio::test]
async fn a_token_ends_by_itself() {
    let mut scene = Scene::new().await;
    let (limited, plain) = (scene.mint(LIMITED).await, scene.mint(MCP_AUTH).await);
    get(&scene.tokens, &limited).await.unwrap();
    for left in [60_000_i64, 59_999, 10_000] {
        for key in scene.keys().await.iter().filter(|key| key.contains(":token:")) {
            let _: () = scene.raw.pexpire(key, left).await.unwrap();
        }
        for minted in [&limited, &plain] {
            let error = get(&scene.tokens, minted).await.unwrap_err();
            assert!(matches!(error, TokenError::Expired), "{left}: {error}");
        }
    }
    scene.age(MAX_TTL + Duration::from_secs(60)).await;
    assert_eq!(scene.keys().await, BTreeSet::new());
    assert_eq!(cause(get(&scene.tokens, &plain).await), NotFound::Absent);
}

/// T-5: an unknown scope, a life of nothing and one above the maximum are refused; the maximum is not.
#[tokio::test]
async fn a_mint_states_what_it_refuses() {
    for [a, _] in replicas().await {
        let error = a.mint(&spec("nobody")).await.unwrap_err();
        assert!(matches!(error, TokenError::ScopeUnknown), "{error}");
        let second = Duration::from_secs(1);
        for ttl in [Duration::ZERO, Duration::from_micros(999), MAX_TTL + second, Duration::MAX] {
            let error = a.mint(&MintSpec { ttl, ..spec(MCP_AUTH) }).await.unwrap_err();
            assert!(!error.is_refusal());
            let TokenError::TtlExceedsMax { requested, max } = error else { panic!("{error}") };
            assert_eq!((requested, max), (ttl, MAX_TTL));
            let text = error.to_string();
            assert!(text.starts_with("temptoken: requested TTL exceeds scope MaxTTL"), "{text}");
            assert!(text.contains(&format!("{ttl:?}")) && text.contains("900s"), "{text}");
        }
        let long = "x".repeat(513);
        for (resource, length) in [("", 0), (long.as_str(), 513), (&"y".repeat(10_240), 10_240)] {
            let error = a.mint(&MintSpec::new(MCP_AUTH, resource, MAX_TTL)).await.unwrap_err();
            let expected = InvalidMint::Resource { length };
            assert!(matches!(&error, TokenError::Invalid(found) if *found == expected), "{error}");
            assert!(!error.to_string().contains("xx"), "{error}");
        }
        for resource in ["a/b", "..", "a\nb", "a\\b", "a;b", "%2e%2e"] {
            let error = a.mint(&MintSpec::new(MCP_AUTH, resource, MAX_TTL)).await.unwrap_err();
            let unreachable = matches!(error, TokenError::Invalid(InvalidMint::Unreachable { .. }));
            assert!(unreachable, "{resource}: {error}");
        }
        let error = a.mint(&spec(BOUND)).await.unwrap_err();
        assert!(matches!(error, TokenError::Invalid(InvalidMint::NoSubject { .. })), "{error}");
        let error = a.mint(&spec(BOUND).for_subject(long.as_str())).await.unwrap_err();
        assert!(matches!(error, TokenError::Invalid(InvalidMint::Subject { length: 513 })));
        assert_eq!(a.revoke_scope(MCP_AUTH).await.unwrap().tokens, 0, "nothing was minted");
    }
}

/// A token that is bound is its subject's alone; to anybody else it does not exist.
#[tokio::test]
async fn a_bound_token_is_its_subjects_alone() {
    for [a, b] in replicas().await {
        let minted = a.mint(&spec(BOUND).for_subject("alice")).await.unwrap();
        let validate =
            async |subject| b.validate(minted.token.secret(), "GET", PATH, subject).await;
        let long = "alice".repeat(10_000);
        for other in [None, Some(""), Some("Alice"), Some("mallory"), Some(long.as_str())] {
            assert_eq!(cause(validate(other).await), NotFound::OtherSubject);
        }
        assert!(validate(Some("alice")).await.is_ok());
        // Who is asked for it is bound, whether the scope demands it or not.
        let minted = a.mint(&spec(MCP_AUTH).for_subject("alice")).await.unwrap();
        assert_eq!(cause(get(&b, &minted).await), NotFound::OtherSubject);
        let text = minted.token.secret();
        assert!(b.validate(text, "GET", PATH, Some("alice")).await.is_ok());
    }
}

/// A scope that becomes bound does not accept what was minted for anybody before.
#[tokio::test]
async fn a_scope_that_becomes_bound_accepts_no_unbound_token() {
    let scene = Scene::new().await;
    let minted = scene.mint(MCP_AUTH).await;
    let later = connect_without_scopes(&scene).await;
    later.scopes().register(Scope::mcp_auth("/api").bound()).unwrap();
    let validated = later.validate(minted.token.secret(), "GET", PATH, Some("alice")).await;
    assert_eq!(cause(validated), NotFound::OtherSubject);
}

/// A token with a limit is good for so many uses; requests that it is not for use nothing up.
#[tokio::test]
async fn a_limited_token_is_used_up() {
    for [a, b] in replicas().await {
        let minted = a.mint(&spec(LIMITED)).await.unwrap();
        let text = minted.token.secret();
        for left in [2, 1, 0] {
            let wrong = b.validate(text, "PUT", PATH, None).await.unwrap_err();
            assert!(matches!(wrong, TokenError::RouteNotAllowed));
            assert_eq!(get(&b, &minted).await.unwrap().uses_left, Some(left));
        }
        assert_eq!(cause(get(&a, &minted).await), NotFound::UsedUp);
        assert_eq!(cause(get(&b, &minted).await), NotFound::UsedUp);
        assert!(get(&b, &a.mint(&spec(LIMITED)).await.unwrap()).await.is_ok(), "another is whole");
    }
}
