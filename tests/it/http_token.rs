//! The HTTP edge of temp tokens: who passes, who does not, and that nobody learns why.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, HeaderName, Request, Response},
    routing::any,
};
use redis::AsyncCommands;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt;
use vestibule::{
    Vestibule,
    http::{NoValidToken, Switch, TempTokenLayer},
    store::redis::{RedisConfig, Timeouts},
    token::{MintSpec, Scope, Scopes, TempTokens, ValidatedToken},
};

use crate::{
    canary::places::Recorded,
    properties::pkce::shared_keys,
    support::{ageing::age, server, server::TestServer, stores::fresh_prefix},
};

const BASE: &str = "/api/oauth/per-user";
const FLOW: &str = "/api/oauth/per-user/flows/flow-1";
const HEADER: &str = "x-vestibule-temp-token";
const TTL: Duration = Duration::from_secs(600);

/// The well-known scopes, one whose tokens are good once, and one that is bound.
fn scopes() -> Scopes {
    let scopes = Scopes::new();
    let like = |name| {
        let scope = Scope::new(name).with_placeholder("{id}").with_max_ttl(TTL);
        scope.with_route("GET", format!("{BASE}/flows/{{id}}"))
    };
    for scope in [
        Scope::mcp_auth(BASE),
        Scope::mcp_headers_auth(BASE),
        like("once").with_max_uses(1),
        like("bound").bound(),
    ] {
        scopes.register(scope).unwrap();
    }
    scopes
}

async fn on_redis(server: &TestServer, prefix: &str, scopes: Scopes) -> TempTokens {
    let config = RedisConfig::new(&server.url()).unwrap().with_prefix(prefix).unwrap();
    // Some of these servers die, and nobody wants to wait for them.
    let short = Timeouts { overall: Duration::from_secs(2), ..Timeouts::default() };
    let config = config.with_timeouts(short);
    Vestibule::connect(config, &shared_keys()).await.unwrap().temp_tokens(scopes)
}

async fn mint(tokens: &TempTokens, scope: &str) -> String {
    let spec = MintSpec::new(scope, "flow-1", TTL);
    let spec = if scope == "bound" { spec.for_subject("alice") } else { spec };
    tokens.mint(&spec).await.unwrap().token.secret().to_owned()
}

fn layer(tokens: &TempTokens) -> TempTokenLayer {
    let subject = |parts: &axum::http::request::Parts| {
        parts.headers.get("x-session").map(|value| value.to_str().unwrap().to_owned())
    };
    TempTokenLayer::new(tokens.clone()).with_subject(subject)
}

/// Every path is a route, so that what refuses is the layer. `/own` wants a token itself.
fn app(layer: TempTokenLayer) -> Router {
    let own = async |token: ValidatedToken| token.resource;
    Router::new().route("/own", any(own)).fallback(show).layer(layer)
}

/// Who came, as the host behind the layer sees it.
async fn show(token: Option<ValidatedToken>, headers: HeaderMap) -> String {
    let Some(token) = token else { return format!("nobody, {} headers", headers.len()) };
    assert!(token.allows_resource("flow-1"));
    for other in ["", "flow-2", "flow-1/", "FLOW-1", "flow-%31"] {
        assert!(!token.allows_resource(other));
    }
    format!("{} {}", token.scope, token.resource)
}

async fn ask(app: &Router, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let answer = answer(app, "GET", path, headers).await;
    let status = answer.status().as_u16();
    let body = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn answer(
    app: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Sends these bytes and gives back all that is answered, but for the `Date`.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut heard = Vec::new();
    // What is refused before all of it was read may be reset.
    let _ = stream.read_to_end(&mut heard).await;
    let heard = String::from_utf8_lossy(&heard).into_owned();
    heard.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

fn request(line: &str, headers: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    bytes
}

/// T-7, T-10: a token passes on its routes, again and again; the handler learns what it is for.
#[tokio::test]
async fn a_valid_token_stands_for_a_sign_in() {
    let redis = on_redis(server::shared().await, &fresh_prefix(), scopes()).await;
    for tokens in [redis, Vestibule::in_memory().temp_tokens(scopes())] {
        let app = app(layer(&tokens));
        let token = mint(&tokens, "mcp_auth").await;
        for path in [FLOW, "/api/oauth/per-user/flows/flow-1/start?next=/", FLOW] {
            let passed = ask(&app, path, &[(HEADER, &token)]).await;
            assert_eq!(passed, (200, "mcp_auth flow-1".to_owned()), "{path}");
        }
        let passed = answer(&app, "GET", FLOW, &[("X-Vestibule-Temp-Token", &token)]).await;
        assert_eq!(passed.headers()["cache-control"], "no-store");
        assert_eq!(passed.headers()["referrer-policy"], "no-referrer");

        let bound = mint(&tokens, "bound").await;
        let passed = ask(&app, FLOW, &[(HEADER, &bound), ("x-session", "alice")]).await;
        assert_eq!(passed, (200, "bound flow-1".to_owned()));
    }
}

/// T-2, T-10: whatever is wrong, the answer is the same to the byte, also where a handler refuses.
#[tokio::test]
async fn every_refusal_is_the_same_to_the_byte() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let tokens = on_redis(server, &prefix, scopes()).await;
    let expired = mint(&tokens, "mcp_auth").await;
    age(&mut server.raw().await, &prefix, TTL + Duration::from_secs(1)).await;
    let [good, revoked, dropped] = [
        mint(&tokens, "mcp_auth").await,
        mint(&tokens, "mcp_auth").await,
        mint(&tokens, "mcp_headers_auth").await,
    ];
    tokens.revoke(&revoked).await.unwrap();
    assert_eq!(tokens.revoke_resource("mcp_headers_auth", "flow-1").await.unwrap(), 1);
    let (once, bound) = (mint(&tokens, "once").await, mint(&tokens, "bound").await);
    tokens.validate(&once, "GET", FLOW, None).await.unwrap();
    let late = Scope::new("late").with_route("GET", FLOW).with_max_ttl(TTL);
    let more = scopes();
    more.register(late).unwrap();
    let unregistered = mint(&on_redis(server, &prefix, more).await, "late").await;
    let unknown = format!("{}{}", &good[..36], "A".repeat(43));
    let (long, recased) = ("x".repeat(8000), good.to_uppercase());

    let address = serve(app(layer(&tokens))).await;
    let get = format!("GET {FLOW}");
    let passed = exchange(address, &request(&get, &[(HEADER, good.as_bytes())])).await;
    assert!(passed.starts_with("HTTP/1.1 200 ") && passed.contains("mcp_auth flow-1"), "{passed}");
    let first = exchange(address, &request(&get, &[])).await;
    let (head, body) = first.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{head}");
    assert_eq!(body, "unauthorized");
    for header in ["cache-control: no-store", "referrer-policy: no-referrer", "www-authenticate: "]
    {
        assert!(head.contains(header), "{head}");
    }

    let (own, post) = ("GET /own".to_owned(), format!("POST {FLOW}"));
    let (other, hostile) = (format!("GET {BASE}/flows/flow-2"), format!("GET {FLOW}/../flow-1"));
    // What is asked, with which tokens, and why the library refuses it; none if only the edge does.
    let refused: [(&str, &str, &[&[u8]]); 17] = [
        ("malformed", &get, &[b""]),
        ("malformed", &get, &[b"vtt_"]),
        ("malformed", &get, &[long.as_bytes()]),
        ("malformed", &get, &[recased.as_bytes()]),
        ("absent", &get, &[unknown.as_bytes()]),
        ("expired", &get, &[expired.as_bytes()]),
        ("revoked", &get, &[revoked.as_bytes()]),
        ("dropped", &get, &[dropped.as_bytes()]),
        ("used_up", &get, &[once.as_bytes()]),
        ("other_subject", &get, &[bound.as_bytes()]),
        ("scope_unknown", &get, &[unregistered.as_bytes()]),
        ("route_not_allowed", &own, &[good.as_bytes()]),
        ("route_not_allowed", &post, &[good.as_bytes()]),
        ("route_not_allowed", &other, &[good.as_bytes()]),
        ("route_not_allowed", &hostile, &[good.as_bytes()]),
        ("", &get, &[good.as_bytes(), good.as_bytes()]),
        ("", &get, &[b"vtt_\xff\xfe"]),
    ];
    for (cause, line, given) in refused {
        let (method, path) = line.split_once(' ').unwrap();
        if let ([text], false) = (given, cause.is_empty()) {
            let text = std::str::from_utf8(text).unwrap();
            let error = tokens.validate(text, method, path, None).await.unwrap_err();
            assert_eq!(error.as_str(), cause);
        }
        let headers: Vec<_> = given.iter().map(|value| (HEADER, *value)).collect();
        assert_eq!(exchange(address, &request(line, &headers)).await, first, "{cause} {line}");
    }
    // Past the layer with a credential of the host's, and refused by the handler.
    let other: &[(&str, &[u8])] = &[("authorization", b"Bearer x"), (HEADER, good.as_bytes())];
    assert_eq!(exchange(address, &request(&own, other)).await, first);
    assert_eq!(NoValidToken.to_string(), "the request came without a valid temp token");
}

/// T-4: no path of the corpus passes over a real connection, with a token that is good.
#[tokio::test]
async fn hostile_paths_do_not_pass_over_the_wire() {
    let tokens = Vestibule::in_memory().temp_tokens(scopes());
    let address = serve(app(layer(&tokens))).await;
    let token = mint(&tokens, "mcp_auth").await;
    let ask = async |path: &str| {
        let bytes = request(&format!("GET {path}"), &[(HEADER, token.as_bytes())]);
        exchange(address, &bytes).await
    };
    let lines = |corpus: &'static str| corpus.lines().filter(|line| line.starts_with('/'));
    for path in lines(include_str!("corpus/good_paths.txt")) {
        let heard = ask(path).await;
        assert!(heard.starts_with("HTTP/1.1 200 "), "{path}: {heard}");
    }
    let mut refused = 0;
    // Servers cut a fragment off before anybody sees the path.
    for path in lines(include_str!("corpus/hostile_paths.txt")).filter(|path| !path.contains('#')) {
        let heard = ask(path).await;
        refused += usize::from(heard.starts_with("HTTP/1.1 401 "));
        assert!(heard.starts_with("HTTP/1.1 40"), "{path}: {heard}");
    }
    assert!(refused > 200, "{refused}");
}

/// T-10: with other credentials the token is not even looked at, and the request passes as it came.
#[tokio::test]
async fn other_credentials_pass_untouched() {
    let server = TestServer::builder().start().await;
    let tokens = on_redis(&server, "vst", scopes()).await;
    let token = mint(&tokens, "mcp_auth").await;
    // Whoever is asked now fails.
    server.kill9();
    let plain = app(layer(&tokens));
    let named = app(layer(&tokens).yielding_to_cookie("sid").yielding_to_cookie("other"));
    let any_cookie = app(layer(&tokens).yielding_to_any_cookie());
    let marked =
        app(layer(&tokens).yielding_when(|parts| parts.extensions.get::<Alice>().is_some()))
            .layer(axum::Extension(Alice));
    for (app, headers) in [
        (&plain, vec![("authorization", "Bearer host")]),
        (&plain, vec![("authorization", "")]),
        (&named, vec![("cookie", "a=b; sid=1")]),
        (&named, vec![("cookie", "other=1")]),
        (&any_cookie, vec![("cookie", "a=b")]),
        (&marked, vec![]),
    ] {
        let mut headers = headers;
        for given in [vec![], vec![token.as_str()], vec!["garbage", "twice"]] {
            headers.truncate(1);
            headers.retain(|(name, _)| *name != HEADER);
            headers.extend(given.iter().map(|value| (HEADER, *value)));
            let passed = ask(app, "/anywhere", &headers).await;
            assert_eq!(passed, (200, format!("nobody, {} headers", headers.len())), "{headers:?}");
        }
    }
    // A cookie that the host does not name, or without a value, is none: the token is asked about.
    for (app, cookie) in [(&plain, "sid=1"), (&named, "a=b"), (&named, "sid=")] {
        let headers = [("cookie", cookie), (HEADER, token.as_str())];
        assert_eq!(ask(app, FLOW, &headers).await.0, 503, "{cookie}");
        assert_eq!(ask(app, FLOW, &headers[..1]).await.0, 401, "{cookie}");
    }
}

#[derive(Clone)]
struct Alice;

/// A store that fails refuses nobody: it is 503, and another try may do.
#[tokio::test]
async fn a_failing_store_is_not_a_refusal() {
    let server = TestServer::builder().start().await;
    let tokens = on_redis(&server, "vst", scopes()).await;
    let (app, token) = (app(layer(&tokens).optional()), mint(&tokens, "mcp_auth").await);
    assert_eq!(ask(&app, FLOW, &[(HEADER, &token)]).await.0, 200);
    server.kill9();
    let failed = answer(&app, "GET", FLOW, &[(HEADER, &token)]).await;
    assert_eq!(
        (failed.status().as_u16(), &failed.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    assert_eq!(failed.headers()["cache-control"], "no-store");
    assert_eq!(ask(&app, FLOW, &[(HEADER, &token)]).await.1, "temporarily unavailable");
    // What cannot be a token is refused without the store.
    assert_eq!(ask(&app, FLOW, &[(HEADER, "vtt_")]).await.0, 401);
}

/// What no other try mends is no 503: a record that does not open, one that is none, and a Redis that
/// this process has no rights on.
#[tokio::test]
async fn what_no_retry_mends_invites_none() {
    let server = TestServer::builder().start().await;
    let tokens = on_redis(&server, "vst", scopes()).await;
    let (app, token) = (app(layer(&tokens)), mint(&tokens, "mcp_auth").await);
    let mut raw = server.raw().await;
    let keys: Vec<String> = raw.keys("vst:*:token:*").await.unwrap();
    let value: Vec<u8> = raw.get(&keys[0]).await.unwrap();
    let closed = [&value[..value.len() - 1], &[!value[value.len() - 1]]].concat();
    for damaged in [closed.as_slice(), b"v9 what is this", b""] {
        let _: () = raw.pset_ex(&keys[0], damaged, 600_000).await.unwrap();
        let failed = answer(&app, "GET", FLOW, &[(HEADER, &token)]).await;
        assert_eq!(failed.status(), 500, "{damaged:?}");
        assert!(!failed.headers().contains_key("retry-after"), "{damaged:?}");
        assert_eq!(failed.headers()["cache-control"], "no-store");
        let told = ask(&app, FLOW, &[(HEADER, &token)]).await;
        assert_eq!(told, (500, "request failed".to_owned()));
    }
    let _: () = raw.pset_ex(&keys[0], value, 600_000).await.unwrap();
    assert_eq!(ask(&app, FLOW, &[(HEADER, &token)]).await.0, 200);
    let mut rights = redis::cmd("ACL");
    let _: () =
        rights.arg("SETUSER").arg(server.user()).arg("-get").query_async(&mut raw).await.unwrap();
    let refused = answer(&app, "GET", FLOW, &[(HEADER, &token)]).await;
    assert_eq!(refused.status(), 500);
    assert!(!refused.headers().contains_key("retry-after"));
    assert_eq!(server.refused(), ["test-library: command get (toplevel)"]);
}

/// An optional layer lets a request without a token pass, and still refuses a bad one.
#[tokio::test]
async fn an_optional_token_is_still_checked() {
    let tokens = Vestibule::in_memory().temp_tokens(scopes());
    let (required, optional) = (app(layer(&tokens)), app(layer(&tokens).optional()));
    assert_eq!(ask(&required, FLOW, &[]).await.0, 401);
    assert_eq!(ask(&optional, FLOW, &[]).await, (200, "nobody, 0 headers".to_owned()));
    assert_eq!(ask(&optional, "/own", &[]).await, (401, "unauthorized".to_owned()));
    for bad in ["", "garbage"] {
        assert_eq!(ask(&optional, FLOW, &[(HEADER, bad)]).await.0, 401, "{bad}");
    }
    let token = mint(&tokens, "mcp_auth").await;
    let passed = ask(&optional, FLOW, &[(HEADER, &token)]).await;
    assert_eq!(passed, (200, "mcp_auth flow-1".to_owned()));
}

/// T-10: the toggle is asked each time; switched off, a token is no token.
#[tokio::test]
async fn a_host_can_switch_tokens_off_and_on() {
    let tokens = Vestibule::in_memory().temp_tokens(scopes());
    let (token, on) = (mint(&tokens, "mcp_auth").await, Arc::new(AtomicBool::new(true)));
    let switched = |layer: TempTokenLayer| {
        let on = on.clone();
        app(layer
            .switched_by(move || if on.load(Ordering::SeqCst) { Switch::On } else { Switch::Off }))
    };
    let (required, optional) = (switched(layer(&tokens)), switched(layer(&tokens).optional()));
    let header = [(HEADER, token.as_str())];
    for (state, expected) in [(true, [200, 200]), (false, [401, 200]), (true, [200, 200])] {
        on.store(state, Ordering::SeqCst);
        let statuses =
            [ask(&required, FLOW, &header).await.0, ask(&optional, FLOW, &header).await.0];
        assert_eq!(statuses, expected);
    }
    on.store(false, Ordering::SeqCst);
    assert_eq!(ask(&optional, FLOW, &header).await.1, "nobody, 1 headers");
}

/// Each request is counted once, by one of a few outcomes, and nothing of it is told.
#[tokio::test]
async fn requests_are_counted_by_outcome_alone() {
    let counted = Recorded::default();
    let _here = metrics::set_default_local_recorder(&counted);
    let tokens = Vestibule::in_memory().temp_tokens(scopes());
    let (required, optional) = (app(layer(&tokens)), app(layer(&tokens).optional()));
    let token = mint(&tokens, "mcp_auth").await;
    for (app, headers, outcome) in [
        (&required, vec![], "missing"),
        (&optional, vec![], "passed_on"),
        (&required, vec![("authorization", "x")], "yielded"),
        (&required, vec![(HEADER, "vtt_")], "refused"),
        (&required, vec![(HEADER, token.as_str())], "valid"),
    ] {
        let before = counted.text().len();
        ask(app, FLOW, &headers).await;
        let text = counted.text().split_off(before);
        let lines: Vec<_> = text.lines().filter(|line| line.contains("vestibule_http")).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(lines[0].contains("temp_token") && lines[0].contains(outcome), "{text}");
    }
    assert!(!counted.text().contains("flow-1") && !counted.text().contains("vtt_"));
}

/// Only the layer's own header counts.
#[tokio::test]
async fn a_host_can_name_the_header() {
    let tokens = Vestibule::in_memory().temp_tokens(scopes());
    let token = mint(&tokens, "mcp_auth").await;
    let named = app(layer(&tokens).with_header(HeaderName::from_static("x-bifrost-temp-token")));
    assert_eq!(ask(&named, FLOW, &[("X-Bifrost-Temp-Token", &token)]).await.0, 200);
    assert_eq!(ask(&named, FLOW, &[(HEADER, &token)]).await.0, 401);
    assert_eq!(ask(&named, &format!("{FLOW}?t={token}"), &[]).await.0, 401);
}

/// T-4: the path that counts is the one of the wire, not what a nested router makes of it.
#[tokio::test]
async fn a_nested_router_sees_the_whole_path() {
    let tokens = Vestibule::in_memory().temp_tokens(scopes());
    let inner = Router::new().route("/flows/{id}", any(show)).layer(layer(&tokens));
    let nested = Router::new().nest(BASE, inner.clone()).nest("/v2/api/oauth/per-user", inner);
    let token = mint(&tokens, "mcp_auth").await;
    let headers = [(HEADER, token.as_str())];
    assert_eq!(ask(&nested, FLOW, &headers).await.0, 200);
    assert_eq!(ask(&nested, &format!("/v2{FLOW}"), &headers).await.0, 401);
}
