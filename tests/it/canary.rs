//! Nothing secret is anywhere: canaries go through every feature, while everything that Redis and
//! the library can write down is written down, and then nobody finds one.

mod headers;
mod keys;
pub mod places;
mod search;

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Form, Json, Router,
    body::Body,
    extract::State,
    http::Request,
    routing::{get, post},
};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower::ServiceExt;
use vestibule::{
    Keys, Vestibule,
    connection::{
        AccessToken, Callback, ClientSecret, Connections, ConnectionsConfig, Connector,
        HttpExchange, RefreshToken, Registry, ReplayPolicy, SignIn, TokenAnswer,
    },
    http::TempTokenLayer,
    pending::{Dedup, Namespace, Pendings, PendingsConfig, Spec},
    pkce::{OauthState, PkceState, PkceVerifier},
    store::redis::{RedisConfig, Timeouts},
    sweep::RefreshDue,
    token::{LinkBase, MintSpec, Scope, Scopes, TempTokens, ValidatedToken},
};

use self::{
    places::Watched,
    search::{Canary, Kind, Place, hits},
};
use crate::{properties::connections::install_tls, support::ageing::age};

const PATIENCE: Duration = Duration::from_secs(20);

/// K-4, T-5, P-10: no canary is in what Redis shows, logs, stores or dumps, nor in what the library
/// logs, counts and prints: not as it is, and not encoded. What it counts is in the list of metrics.
#[tokio::test]
async fn no_canary_is_found_anywhere() {
    let mut watched = Watched::start().await;
    let metrics = watched.metrics.clone();
    let _here = metrics::set_default_local_recorder(&metrics);
    let mut host = Host::new(&watched).await;

    host.everything(&mut watched).await;
    assert!(watched.successes > 85, "only {} verbs succeeded", watched.successes);
    expect_none(&watched.places().await, &host.canaries);
    assert_eq!(metrics.unlisted(), [""; 0]);

    // From now on Redis says no, in the ACL log.
    watched.ask(&["ACL", "SETUSER", "lib", "resetkeys", "~nothing:*"]).await;
    host.everything(&mut watched).await;
    let places = watched.places().await;
    let acl_log = places.iter().find(|place| place.name == "ACL LOG").unwrap();
    assert!(acl_log.text.contains("vst:"), "Redis refused nothing");
    expect_none(&places, &host.canaries);
    expect_found(&mut watched).await;

    // And now it crashes, and tells all it knows.
    let died =
        redis::cmd("DEBUG").arg("SEGFAULT").query_async::<()>(&mut watched.raw.clone()).await;
    assert!(died.is_err());
    host.everything(&mut watched).await;
    let places = watched.places_without_redis();
    assert!(places.iter().any(|place| place.text.contains("REDIS BUG REPORT")));
    expect_none(&places, &host.canaries);
}

#[track_caller]
fn expect_none(places: &[Place], canaries: &[Canary]) {
    let hits = hits(places, canaries);
    assert!(hits.is_empty(), "{} hits:\n{}", hits.len(), hits.join("\n"));
}

/// The search can find: what is written plainly is found in each place, in each form.
async fn expect_found(watched: &mut Watched) {
    const PLACES: [&str; 9] = [
        "MONITOR",
        "SLOWLOG",
        "ACL LOG",
        "dump.rdb",
        "appendonly.aof.1.incr.aof",
        "log",
        "library logs",
        "metrics",
        "Debug",
    ];
    let text = Canary::fresh(Kind::Secret, "control");
    let bytes =
        Canary::new(Kind::Secret, "bytes", (0..32).map(|n| 0x9f ^ (n * 7)).collect::<Vec<u8>>());
    let url = watched.server.url_as("lib", "password");
    let mut lib =
        redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    for (form, text) in text.forms() {
        watched.ask(&["SET", &form, &text]).await;
        watched.ask(&["DEBUG", "LOG", &text]).await;
        let refused = redis::cmd("SET").arg(&text).arg("x").query_async::<()>(&mut lib).await;
        assert!(refused.unwrap_err().to_string().to_lowercase().contains("perm"));
        tracing::trace!(text);
        metrics::counter!("control", "label" => text.clone()).increment(1);
        watched.see(&text);
    }
    let set =
        redis::cmd("SET").arg("bytes").arg(&bytes.bytes).query_async::<()>(&mut watched.raw).await;
    set.unwrap();

    let places = watched.places().await;
    for name in PLACES {
        let place = places.iter().find(|place| place.name == name);
        let place = place.unwrap_or_else(|| panic!("there is no {name}"));
        for (form, text) in text.forms() {
            assert!(place.text.contains(&text), "{form} is not found in {name}");
        }
    }
    let found = hits(&places, &[bytes]);
    for name in &PLACES[..5] {
        let is_found = found.iter().any(|hit| hit.contains(&format!(" in {name}, ")));
        assert!(is_found || *name == "ACL LOG", "bytes are not found in {name}");
    }
}

/// A host, its canaries, and those that were made on the way.
struct Host {
    vestibule: Vestibule,
    stranger: Vestibule,
    scopes: Scopes,
    connections: Connections,
    canaries: Vec<Canary>,
    verifier: Canary,
    payload: Canary,
    answer: Canary,
    code: Canary,
    access: Canary,
    refresh: Canary,
    header: Canary,
    session: Canary,
    person: Canary,
    resource: Canary,
}

/// What a payload of a host's does, if it has a secret in it.
#[derive(Clone, Serialize, Deserialize)]
struct Hush(String);

impl fmt::Debug for Hush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hush")
    }
}

impl Host {
    async fn new(watched: &Watched) -> Self {
        let secret = |name| Canary::fresh(Kind::Secret, name);
        let personal = |name| Canary::fresh(Kind::Personal, name);
        let client_secret = secret("client");
        let (provider, issued) = Provider::start().await;

        let key_file = Keys::generate_toml();
        let keys = Keys::from_toml(&key_file).unwrap();
        // The same records, sealed by a ring that this one does not have.
        let stranger = Keys { ring: Keys::random().ring, ..keys.clone() };
        let vestibule = connect(watched, &keys).await;
        let connections = {
            let url = |path: &str| format!("{provider}{path}").parse().unwrap();
            let mut connector =
                Connector::new("demo", url("/authorize"), url("/token"), "client").unwrap();
            connector.client_secret = Some(ClientSecret::new(client_secret.text()));
            connector.replay = ReplayPolicy::Grace(Duration::from_secs(60));
            install_tls();
            let registry = Registry::new([connector]).unwrap();
            let exchange = Arc::new(HttpExchange::new().unwrap());
            vestibule.connections(ConnectionsConfig::new(registry, exchange))
        };
        let scopes = Scopes::new();
        scopes.register(Scope::mcp_auth("")).unwrap();
        scopes.register(Scope::mcp_headers_auth("")).unwrap();
        let counted = Scope::new("counted").with_route("GET", "/any").with_max_uses(1).bound();
        scopes.register(counted.with_max_ttl(PATIENCE)).unwrap();

        let host = Self {
            stranger: connect(watched, &stranger).await,
            vestibule,
            scopes,
            connections,
            verifier: secret("verifier"),
            payload: secret("payload"),
            answer: secret("answer"),
            code: secret("code"),
            access: secret("access"),
            refresh: secret("refresh"),
            header: secret("header"),
            session: secret("session"),
            person: personal("person"),
            resource: personal("resource"),
            canaries: Vec::new(),
        };
        let mut canaries = vec![client_secret, issued.0, issued.1];
        for (number, value) in key_file.split('"').skip(1).step_by(2).enumerate() {
            let bytes = Base64::decode_vec(value).unwrap();
            canaries.push(Canary::new(Kind::Secret, &format!("key-{number}"), bytes));
        }
        assert_eq!(canaries.len(), 6, "three keys");
        for own in [
            &host.verifier,
            &host.payload,
            &host.answer,
            &host.code,
            &host.access,
            &host.refresh,
            &host.header,
            &host.session,
            &host.person,
            &host.resource,
        ] {
            canaries.push(own.clone());
        }
        Self { canaries, ..host }
    }

    fn remember(&mut self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.canaries.push(Canary::new(Kind::Secret, name, bytes));
    }

    /// Every verb of every feature, whether it succeeds or not.
    async fn everything(&mut self, watched: &mut Watched) {
        self.pkce(watched).await;
        self.connections(watched).await;
        self.api_keys(watched).await;
        self.pendings(watched).await;
        self.tokens(watched).await;
        self.headers(watched).await;
        let (vestibule, scopes) = (self.vestibule.clone(), self.scopes.clone());
        watched.see(&(vestibule, scopes, self.connections.clone()));
    }

    async fn pkce(&mut self, watched: &mut Watched) {
        let state = OauthState::random();
        self.remember("state", state.secret());
        let mut record = PkceState::new("demo", PkceVerifier::new(self.verifier.text()));
        record.started_by = self.person.text().to_owned();
        record.session = self.session.text().to_owned();
        record.return_url = format!("/{}", self.resource.text());
        watched.see(&(&state, &record));
        for _ in 0..2 {
            watched.outcome(self.vestibule.pkce().put(&state, &record).await);
        }
        watched.outcome(self.vestibule.pkce().take(&state).await);
        watched.outcome(self.vestibule.pkce().take(&state).await);
        let state = OauthState::random();
        self.remember("state", state.secret());
        watched.outcome(self.vestibule.pkce().put(&state, &record).await);
        watched.outcome(self.stranger.pkce().take(&state).await);
    }

    async fn pendings(&mut self, watched: &mut Watched) {
        let pendings: Pendings<Hush> = self.vestibule.pendings(PendingsConfig::default());
        let stranger: Pendings<Hush> = self.stranger.pendings(PendingsConfig::default());
        let namespace = Namespace::new(self.person.text()).unwrap();
        let mut spec = Spec::new("form", Hush(self.payload.text().to_owned()));
        spec.subject = Some(self.person.text().to_owned());
        spec.resource = self.resource.text().to_owned();
        spec.dedup = Dedup::Key(self.resource.text().to_owned());
        watched.see(&(&pendings, &namespace, &spec));
        let created = watched.outcome(pendings.create(&namespace, &spec).await);
        watched.outcome(pendings.create(&namespace, &spec).await);
        watched.outcome(pendings.list(&namespace, None, 10).await);
        if let Some(id) = created.map(|created| created.id) {
            watched.outcome(pendings.get(id).await);
            watched.outcome(stranger.get(id).await);
            let (subject, answer) = (self.person.text(), Hush(self.answer.text().to_owned()));
            watched.outcome(pendings.complete(id, Some("mallory"), &answer).await);
            watched.outcome(pendings.complete(id, Some(subject), &answer).await);
            watched.outcome(pendings.complete(id, Some(subject), &answer).await);
            watched.outcome(pendings.wait::<Hush>(id, PATIENCE).await);
            watched.outcome(stranger.wait::<Hush>(id, PATIENCE).await);
        }
        watched.outcome(pendings.create(&namespace, &spec).await);
        watched.outcome(pendings.clear(&namespace).await);
        watched.outcome(pendings.create(&namespace, &spec).await);
    }

    async fn tokens(&mut self, watched: &mut Watched) {
        let tokens = self.vestibule.temp_tokens(self.scopes.clone());
        let stranger = self.stranger.temp_tokens(self.scopes.clone());
        let (resource, person) = (self.resource.text().to_owned(), self.person.text().to_owned());
        let spec = MintSpec::new("mcp_auth", &*resource, PATIENCE);
        let counted = MintSpec::new("counted", &*resource, PATIENCE).for_subject(&*person);
        watched.see(&(&tokens, &spec, &counted));
        let path = format!("/flows/{resource}");
        for (spec, path) in [(spec, path.as_str()), (counted, "/any"), (unknown(&resource), "/")] {
            let Some(minted) = watched.outcome(tokens.mint(&spec).await) else { continue };
            let text = minted.token.secret();
            let bytes = Base64UrlUnpadded::decode_vec(&text[36..]).unwrap();
            self.remember("temp token", &text[36..]);
            self.remember("temp token's bytes", bytes);
            let page = LinkBase::parse("https://app.example").unwrap().page("/auth").unwrap();
            watched.see(&page.with_query("kind", "headers").with_token(&minted.token));
            for subject in [None, Some(&*person), Some(&*person), Some("mallory")] {
                watched.outcome(tokens.validate(text, "GET", path, subject).await);
                watched.outcome(tokens.validate(text, "PUT", path, subject).await);
            }
            watched.outcome(stranger.validate(text, "GET", path, Some(&person)).await);
            watched.outcome(tokens.validate(&text[..78], "GET", path, None).await);
            self.ask_the_edge(watched, &tokens, path, text).await;
            watched.outcome(tokens.list("mcp_auth", &resource, None, 10).await);
            watched.outcome(tokens.revoke(text).await);
            watched.outcome(tokens.validate(text, "GET", path, None).await);
        }
        watched.outcome(tokens.revoke_resource("mcp_auth", &resource).await);
        watched.outcome(tokens.mint(&MintSpec::new("mcp_auth", &*resource, PATIENCE)).await);
    }

    async fn ask_the_edge(
        &self,
        watched: &mut Watched,
        tokens: &TempTokens,
        path: &str,
        text: &str,
    ) {
        let layer = TempTokenLayer::new(tokens.clone());
        watched.see(&layer);
        let handler = async |token: ValidatedToken| format!("{}", token.id);
        let app: Router = Router::new().fallback(get(handler)).layer(layer);
        for path in [path, "/elsewhere"] {
            let request = Request::get(path).header("x-vestibule-temp-token", text);
            let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            watched.see(&answer);
        }
    }

    async fn connections(&mut self, watched: &mut Watched) {
        let connections = self.connections.clone();
        let (person, session) = (self.person.text().to_owned(), self.session.text().to_owned());
        let redirect = "https://app.example/callback";
        let sign_in = SignIn::new(&person, "demo", &session, redirect);
        watched.see(&sign_in);
        let mut ids = Vec::new();
        if let Some(started) = watched.outcome(connections.start(sign_in).await) {
            self.remember("state of a sign-in", started.state.secret());
            let (state, code) = (started.state.secret(), Some(self.code.text()));
            let callback = Callback { state, code, session: &session, ..Callback::default() };
            watched.see(&callback);
            ids.extend(
                watched.outcome(connections.finish(callback).await).map(|new| new.connection),
            );
            watched.outcome(connections.finish(callback).await);
        }
        let answer = TokenAnswer {
            access_token: AccessToken::new(self.access.text()),
            refresh_token: Some(RefreshToken::new(self.refresh.text())),
            expires_in: Some(Duration::from_secs(3600)),
            scope: None,
            refresh_expires_in: None,
        };
        watched.see(&answer);
        ids.extend(watched.outcome(connections.store(&person, "demo", None, &answer).await));
        for id in &ids {
            watched.outcome(connections.vend(&person, id).await);
            watched.outcome(connections.vend("mallory", id).await);
        }
        if !ids.is_empty() {
            age(&mut watched.raw, "vst", Duration::from_secs(3590)).await;
        }
        for id in &ids {
            watched.outcome(connections.vend(&person, id).await);
        }
        let stop = tokio_util::sync::CancellationToken::new();
        watched.see(&RefreshDue::default().pass(&connections, &stop).await);
        connections.drained().await;

        ids.extend(watched.outcome(connections.create(&person, "demo").await));
        watched.outcome(connections.list(&person, None, 100).await);
        for id in &ids {
            watched.outcome(connections.get(&person, id).await);
            watched.outcome(connections.revoke(&person, id, "left").await);
            watched.outcome(connections.delete("mallory", id).await);
            watched.outcome(connections.delete(&person, id).await);
        }
    }
}

fn unknown(resource: &str) -> MintSpec {
    MintSpec::new("unknown", resource, PATIENCE)
}

/// As `lib`, a user whose rights can be taken away.
async fn connect(watched: &Watched, keys: &Keys) -> Vestibule {
    let mut raw = watched.raw.clone();
    let mut user = redis::cmd("ACL");
    user.arg(&["SETUSER", "lib", "on", ">password", "~*", "&*", "+@all"]);
    user.query_async::<()>(&mut raw).await.unwrap();
    let short = Timeouts { overall: Duration::from_secs(1), ..Timeouts::default() };
    let config = RedisConfig::new(&watched.server.url_as("lib", "password")).unwrap();
    Vestibule::connect(config.with_timeouts(short), keys).await.unwrap()
}

/// Issues the same access and refresh token, whatever it is given.
struct Provider;

impl Provider {
    async fn start() -> (String, (Canary, Canary)) {
        let access = Canary::fresh(Kind::Secret, "issued-access");
        let refresh = Canary::fresh(Kind::Secret, "issued-refresh");
        let issued = (access.text().to_owned(), refresh.text().to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/token", post(Self::token)).with_state(issued);
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (url, (access, refresh))
    }

    async fn token(
        State((access, refresh)): State<(String, String)>,
        Form(asked): Form<std::collections::BTreeMap<String, String>>,
    ) -> Json<serde_json::Value> {
        assert!(asked.contains_key("grant_type"));
        Json(serde_json::json!({
            "access_token": access, "refresh_token": refresh,
            "token_type": "Bearer", "expires_in": 3600,
        }))
    }
}
