//! Header credentials: one for a binding, read by nobody else, marked, withdrawn and given back; and
//! the flows that they are submitted in. What agrees at random is in `agreement`.

mod access;
mod cached;
mod damaged;
mod flows;
mod lists;
mod races;
mod retries;
mod submits;
mod told;

use std::{error::Error, time::Duration};

use async_trait::async_trait;
use redis::AsyncCommands;
use vestibule::{
    Vestibule,
    headers::{
        Binding, BindingParts, HeaderCredentials, Headers, HeadersConfig, HeadersError, Identity,
        InvalidBinding, LinkToggle, Mode, Status,
    },
    seal::Seal,
    store::{Class, HeadersId, PendingId, RemovedHeaders},
    token::{LinkBase, Scope, Scopes, TempTokens},
};

use crate::{
    properties::pkce::shared_keys,
    support::{server, side::Side},
};

/// Two replicas of a host, on either store.
struct Host {
    one: HeaderCredentials,
    two: HeaderCredentials,
    vestibule: Vestibule,
    tokens: TempTokens,
    side: Side,
}

impl Host {
    async fn both() -> [Self; 2] {
        Side::both().await.map(Self::on)
    }

    async fn redis() -> Self {
        Self::on(Side::redis().await)
    }

    fn on(side: Side) -> Self {
        let keys = shared_keys();
        let vestibule =
            Vestibule::assemble(side.store.clone(), Seal::new(keys.ring.clone()), &keys);
        let tokens = vestibule.temp_tokens(scopes());
        let config = HeadersConfig::new(tokens.clone());
        let (one, two) =
            (vestibule.header_credentials(config.clone()), vestibule.header_credentials(config));
        Self { one, two, vestibule, tokens, side }
    }

    /// As another replica, of which something else was said.
    fn with(&self, change: impl FnOnce(&mut HeadersConfig)) -> HeaderCredentials {
        let keys = shared_keys();
        let seal = Seal::new(keys.ring.clone());
        let vestibule = Vestibule::assemble(self.side.store.clone(), seal, &keys);
        let mut config = HeadersConfig::new(vestibule.temp_tokens(scopes()));
        change(&mut config);
        vestibule.header_credentials(config)
    }

    async fn pass(&self, seconds: u64) {
        self.side.pass(Duration::from_secs(seconds)).await;
    }

    /// The keys of Redis, by kind.
    async fn keys(&self, kind: &str) -> Vec<String> {
        self.side.raw().keys(format!("{}:{{*}}:{kind}*", self.side.prefix())).await.unwrap()
    }

    /// How many links lead to a flow.
    async fn links_to(&self, flow: PendingId) -> usize {
        let page = self.tokens.list("mcp_headers_auth", &flow.to_string(), None, 100).await;
        page.unwrap().tokens.len()
    }

    fn key(&self, id: HeadersId) -> String {
        self.side.key(id.shard(), format!("headers:{id}"))
    }
}

fn scopes() -> Scopes {
    let scopes = Scopes::new();
    scopes.register(Scope::mcp_headers_auth("/api/headers")).unwrap();
    scopes
}

fn base() -> LinkBase {
    LinkBase::parse("https://app.example/").unwrap()
}

fn alice() -> Binding {
    of(Identity::user("alice@example.com"), "weather")
}

fn key_of(number: u32) -> Binding {
    of(Identity::virtual_key(format!("vk-{number}")), "weather")
}

fn of(identity: Result<Identity, InvalidBinding>, client: &str) -> Binding {
    Binding::new(identity.unwrap(), client).unwrap()
}

fn bearer(value: &str) -> Headers {
    Headers::new([("Authorization", value), ("X-Team", "red")]).unwrap()
}

fn value(headers: &Headers) -> &str {
    headers.get("authorization").unwrap().secret()
}

/// H-3, H-4, H-5: stored anew it keeps its id and its creation, and says so; everything comes back.
#[tokio::test]
async fn a_binding_has_one_credential() {
    for host in Host::both().await {
        let first = host.one.upsert(&alice(), &bearer("Bearer one")).await.unwrap();
        assert_eq!((first.ver, first.created_at_ms), (1, first.updated_at_ms));
        host.pass(10).await;
        let second = host.two.upsert(&alice(), &bearer("Bearer two")).await.unwrap();
        assert_eq!((second.id, second.ver), (first.id, 2));
        // Time passed by ageing what is there.
        let aged = if !host.side.is_redis() { 0 } else { 10_000 };
        assert_eq!(second.created_at_ms, first.created_at_ms - aged);
        assert!(second.updated_at_ms >= second.created_at_ms + 10_000);

        let found = host.two.get(&alice()).await.unwrap();
        assert_eq!(value(&found.headers), "Bearer two");
        let names: Vec<_> = found.headers.iter().map(|header| header.0).collect();
        assert_eq!(names, ["Authorization", "X-Team"]);
        let row = found.row;
        assert_eq!((row.id, row.mode, row.status), (first.id, Mode::User, Status::Active));
        assert_eq!((row.reason, row.was, row.ver), (None, None, 2));
        assert_eq!(row.client_name.as_deref(), Some("weather"));
        assert_eq!(row.identity, host.one.identity_digest(alice().identity()));
        assert_eq!(
            (row.created_at_ms, row.updated_at_ms),
            (second.created_at_ms, second.updated_at_ms)
        );
        assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "Bearer two");

        let none = Headers::new::<&str, &str>([]).unwrap();
        host.one.upsert(&alice(), &none).await.unwrap();
        assert!(host.one.get(&alice()).await.unwrap().headers.is_empty(), "an empty map is one");
    }
}

/// H-3: no way leads from one mode, identity or client to another's.
#[tokio::test]
async fn who_has_none_of_its_own_has_none() {
    for host in Host::both().await {
        host.one.upsert(&alice(), &bearer("Bearer alice")).await.unwrap();
        host.one.upsert(&of(Ok(Identity::admin()), "other"), &bearer("x")).await.unwrap();
        for other in [
            of(Identity::user("bob@example.com"), "weather"),
            of(Identity::virtual_key("alice@example.com"), "weather"),
            of(Identity::session("alice@example.com"), "weather"),
            of(Ok(Identity::admin()), "weather"),
            of(Identity::user("alice@example.com"), "other"),
            of(Identity::user("alice@example.com"), "weather "),
        ] {
            let error = host.one.get(&other).await.unwrap_err();
            assert!(matches!(error, HeadersError::NotFound), "{other:?}: {error}");
            assert_eq!(error.to_string(), "header credential not found");
        }
        let all = [
            (Identity::user("x"), Mode::User),
            (Identity::virtual_key("x"), Mode::VirtualKey),
            (Identity::session("x"), Mode::Session),
            (Ok(Identity::admin()), Mode::Admin),
        ];
        for (number, (identity, mode)) in all.iter().enumerate() {
            let binding = of(identity.clone(), "four");
            host.one.upsert(&binding, &bearer(&format!("Bearer {number}"))).await.unwrap();
            assert_eq!(host.one.get(&binding).await.unwrap().row.mode, *mode);
        }
        for (number, (identity, _)) in all.into_iter().enumerate() {
            let headers = host.one.vend(&of(identity, "four")).await.unwrap();
            assert_eq!(value(&headers), format!("Bearer {number}"));
        }
    }
}

/// H-5: a deletion is idempotent, and leaves receipts for a minute; what comes next is another.
#[tokio::test]
async fn a_deletion_leaves_nothing() {
    for host in Host::both().await {
        let first = host.one.upsert(&alice(), &bearer("one")).await.unwrap();
        assert_eq!(host.two.delete(first.id).await.unwrap(), RemovedHeaders::Removed);
        assert_eq!(host.one.delete(first.id).await.unwrap(), RemovedHeaders::Absent);
        assert!(matches!(host.one.get(&alice()).await, Err(HeadersError::NotFound)));
        assert_eq!(host.one.list("weather", None, None, 100).await.unwrap().credentials, []);
        if host.side.is_redis() {
            assert_eq!(host.keys("headers").await, [host.key(first.id)], "the receipts");
            let mut raw = server::shared().await.raw().await;
            let fields: Vec<String> = raw.hkeys(host.key(first.id)).await.unwrap();
            assert!(!fields.iter().any(|field| ["secret", "identity"].contains(&&**field)));
            for gone in ["client", "sealed", "orphans"] {
                assert_eq!(host.keys(gone).await, [] as [String; 0]);
            }
        }
        let next = host.one.upsert(&alice(), &bearer("two")).await.unwrap();
        assert!(next.id != first.id && next.ver == 1, "what is stored anew is another");
        assert_eq!(host.one.delete(first.id).await.unwrap(), RemovedHeaders::Absent);
        host.pass(100).await;
        assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "two");
        if host.side.is_redis() {
            assert_eq!(host.keys("headers").await, [host.key(next.id)]);
            host.one.delete(next.id).await.unwrap();
            host.pass(61).await;
            let left = host.keys("").await;
            let told = host.side.key(next.id.shard(), "history");
            assert_eq!(left, [told], "nothing but what people are told");
        }
    }
}

/// H-1, H-3, H-4: from loose parts there is exactly one identity, or a typed error; nothing of what
/// came in is in it.
#[test]
fn a_binding_has_one_identity() {
    let parts = BindingParts { mode: "user", client: "c", ..BindingParts::default() };
    let some = Some("hunter2");
    let user = BindingParts { user: some, ..parts };
    assert_eq!(user.binding().unwrap(), of(Identity::user("hunter2"), "c"));
    let key = BindingParts { mode: "vk", virtual_key: some, ..parts };
    assert_eq!(key.binding().unwrap(), of(Identity::virtual_key("hunter2"), "c"));
    let session = BindingParts { mode: "session", session: some, ..parts };
    assert_eq!(session.binding().unwrap().identity().mode(), Mode::Session);
    let admin = of(Ok(Identity::admin()), "c");
    for given in [None, Some(""), some] {
        let parts = BindingParts { mode: "admin", user: given, ..parts };
        assert_eq!(parts.binding().unwrap(), admin, "the host has no name");
    }
    let long = "x".repeat(513);
    for (bad, error) in [
        (BindingParts { virtual_key: some, ..user }, InvalidBinding::TwoIdentities),
        (BindingParts { user: some, session: Some(""), ..parts }, InvalidBinding::TwoIdentities),
        (
            BindingParts { mode: "admin", user: some, session: some, ..parts },
            InvalidBinding::TwoIdentities,
        ),
        (parts, InvalidBinding::NoIdentity { mode: "user" }),
        (BindingParts { mode: "vk", ..parts }, InvalidBinding::NoIdentity { mode: "vk" }),
        (BindingParts { mode: "vk", ..user }, InvalidBinding::OtherIdentity { mode: "vk" }),
        (BindingParts { user: Some(""), ..parts }, InvalidBinding::Blank { field: "user" }),
        (BindingParts { user: Some(" \t\n"), ..parts }, InvalidBinding::Blank { field: "user" }),
        (BindingParts { client: " ", ..user }, InvalidBinding::Blank { field: "client" }),
        (
            BindingParts { user: Some(&long), ..parts },
            InvalidBinding::TooLong { field: "user", length: 513 },
        ),
        (BindingParts { mode: "hunter2", ..user }, InvalidBinding::UnknownMode),
        (BindingParts { mode: "", ..user }, InvalidBinding::UnknownMode),
    ] {
        let found = bad.binding().unwrap_err();
        assert_eq!(found, error);
        assert!(!format!("{found} {found:?} {bad:?}").contains("hunter2"), "{found}");
    }
    assert!(!format!("{:?}", user.binding()).contains("hunter2"));
}

/// H-2: a store that fails is told as that, and never as none.
#[tokio::test]
async fn a_store_that_fails_is_not_available() {
    let server = server::TestServer::builder().start().await;
    let host = Host::on(Side::redis_on(&server).await);
    host.one.upsert(&alice(), &bearer("one")).await.unwrap();
    server.kill9();
    for error in [
        host.one.get(&alice()).await.map(drop).unwrap_err(),
        host.one.upsert(&alice(), &bearer("two")).await.map(drop).unwrap_err(),
    ] {
        let HeadersError::NotAvailable(source) = &error else { panic!("{error}") };
        assert!(matches!(source.class(), Class::NotExecuted | Class::Ambiguous), "{source}");
        assert!(error.to_string().starts_with("header credentials are not available: "));
    }
}

/// What a switch says, or that it cannot be read.
struct Switch(Option<bool>);

#[async_trait]
impl LinkToggle for Switch {
    async fn links_allowed(&self) -> Result<bool, Box<dyn Error + Send + Sync>> {
        self.0.ok_or_else(|| "the settings are away".into())
    }
}
