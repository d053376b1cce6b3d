//! Ids as a stranger would write them.

use std::time::Duration;

use axum::{Router, http::Uri, routing::get};
use vestibule::{
    RequestId, Vestibule,
    http::{IdFrom, PendingLayer},
    store::{
        PendingId,
        redis::{RedisConfig, Timeouts},
    },
};

use super::host::{
    Door, PAGE, app, config_of, everywhere, namespace, on_redis, question, raw_get, serve,
};
use crate::{
    properties::pkce::shared_keys,
    support::{logs, server::TestServer, stores::fresh_prefix},
};

/// In every text that must not come back, and in no other.
const CANARY: &str = "canary8d1f";

/// What cannot be an id, as it stands in a URL.
fn hostile(id: PendingId) -> Vec<String> {
    let id = id.to_string();
    let mut all: Vec<String> = [
        "{00}",
        "%7B00%7D",
        "*",
        "%00",
        "%0d%0aset-cookie:x",
        "../..",
        "%2e%2e%2f",
        "%",
        "%4",
        "%zz",
        "%ff%fe",
        "%C3%A9",
        "%E2%80%AE",
        "<script>",
        "%3Cscript%3E",
        "'--",
        "$(x)",
        "null",
    ]
    .iter()
    .flat_map(|bad| [format!("{bad}{CANARY}"), format!("{id}{bad}"), format!("{bad}{id}")])
    .collect();
    all.extend([
        id.to_uppercase(),
        id[..63].to_owned(),
        format!("{id}0"),
        format!("{id}+"),
        format!("%20{id}"),
        format!("{}g", &id[..63]),
        // Encoded twice.
        format!("%25{:02x}{}", id.as_bytes()[0], &id[1..]),
        "a".repeat(10_000),
        "%41".repeat(10_000),
        format!("{CANARY}{}", "é".repeat(32)),
    ]);
    all
}

/// P-8, P-11: what cannot be an id is 400 over a real socket, comes back nowhere and is not logged;
/// Redis is not asked, for here there is none.
#[tokio::test]
async fn what_cannot_be_an_id_is_refused_unasked() {
    let logs = logs::capture();
    let server = TestServer::builder().start().await;
    let config = RedisConfig::new(&server.url()).unwrap();
    let timeouts = Timeouts { overall: Duration::from_secs(2), ..Timeouts::default() };
    let config = config.with_timeouts(timeouts);
    let vestibule = Vestibule::connect(config, &shared_keys()).await.unwrap();
    let pendings = vestibule.pendings(config_of("a"));
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let address = serve(app(&pendings)).await;
    server.kill9();
    for bad in hostile(id) {
        for target in [format!("/callback?id={bad}"), format!("/pending/{bad}")] {
            let heard = raw_get(address, target.as_bytes()).await;
            let (status, text) = match Uri::try_from(&target) {
                // It does not come as far as the layer.
                Err(_) => (400, ""),
                // What splits into more segments is another path.
                Ok(uri) if uri.path().matches('/').count() > 2 => (404, ""),
                Ok(_) => (400, "invalid pending id"),
            };
            assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {heard}");
            assert!(heard.ends_with(&format!("\r\n\r\n{text}")), "{target}: {heard}");
            assert!(!heard.contains(CANARY) && !heard.contains(&id.to_string()[..32]), "{heard}");
            assert!(!heard.contains("set-cookie"), "{heard}");
        }
    }
    // What is no text at all.
    for target in [&b"/pending/a\0b"[..], b"/callback?id=\x01", &[b'a'; 100_000]] {
        let heard = raw_get(address, target).await;
        assert!(heard.starts_with("HTTP/1.1 4"), "{heard}");
    }
    assert!(!logs.contain(CANARY));
    // The one that can be an id is looked for.
    assert_eq!(
        Door::over_tcp(app(&pendings)).await.get(&format!("/pending/{id}")).await.status,
        500
    );
}

/// P-8: an id that is said twice is ambiguous: what stands before this host may have judged the
/// other one.
#[tokio::test]
async fn an_id_that_is_said_twice_is_refused() {
    for replicas in everywhere().await {
        let (one, two) = (replicas.create().await, replicas.create().await);
        for query in [
            format!("id={one}&id={two}"),
            format!("id={one}&id={one}"),
            format!("id={one}&id="),
            format!("id=&id={one}"),
            format!("id={one}&%69d={two}"),
        ] {
            for form in ["action=submit", "action=cancel"] {
                let heard = replicas.door.post(&format!("/callback?{query}"), form).await;
                heard.is_refusal(400, "invalid pending id");
            }
        }
        // Another parameter is another's.
        let path = format!("/callback?ID={two}&x=id={two}&id={one}");
        replicas.door.get(&path).await.is(200, PAGE);
        assert!(replicas.first.get(two).await.unwrap().is_some());
    }
}

/// P-11: an id with another shard, namespace or end is not found; none leads to another pending.
#[tokio::test]
async fn an_id_of_somewhere_else_is_not_found() {
    for replicas in everywhere().await {
        let (id, other) =
            (replicas.create().await.to_string(), replicas.create().await.to_string());
        let swapped = |at: usize| {
            let mut bytes = id.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            String::from_utf8(bytes).unwrap()
        };
        let elsewhere = PendingId::random(RequestId::random().digest()).to_string();
        let mixed = format!("{}{}", &elsewhere[..32], &other[32..]);
        for unknown in [swapped(0), swapped(1), swapped(31), swapped(32), swapped(63), mixed] {
            let heard = replicas.door.get(&format!("/pending/{unknown}")).await;
            heard.is_refusal(404, "pending not found");
        }
        replicas.door.get(&format!("/pending/{id}")).await.is(200, PAGE);
    }
}

/// A URL may encode an id, once: that is the same URL.
#[tokio::test]
async fn an_encoded_id_is_decoded_once() {
    for replicas in everywhere().await {
        let id = replicas.create().await.to_string();
        let encoded: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let twice = encoded.replace('%', "%25");
        for place in ["/pending/", "/callback?id="] {
            replicas.door.get(&format!("{place}{encoded}")).await.is(200, PAGE);
            let heard = replicas.door.get(&format!("{place}{twice}")).await;
            heard.is_refusal(400, "invalid pending id");
        }
    }
}

/// P-8: where the host says itself what the id is, whatever it says is judged alike.
#[tokio::test]
async fn what_a_host_finds_is_judged_alike() {
    let [pendings, _] = on_redis(&fresh_prefix()).await;
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let long = "x".repeat(1 << 20);
    let finds = [
        (Some(id.to_string()), 200),
        (None, 400),
        (Some(String::new()), 400),
        (Some("a\0".to_owned()), 400),
        (Some(format!("{{00}}:{id}")), 400),
        (Some("é".repeat(32)), 400),
        (Some(long), 400),
        (Some(PendingId::random(id.namespace()).to_string()), 404),
    ];
    for (found, status) in finds {
        let edge = PendingLayer::new(pendings.clone(), IdFrom::with(move |_| found.clone()));
        let app: Router = Router::new().route("/", get("here")).route_layer(edge);
        assert_eq!(Door::Service(app).get("/").await.status, status);
    }
}
