//! A receiver behind a URL.

use std::collections::VecDeque;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::post,
};
use base64ct::{Base64, Encoding};
use tokio::{net::TcpListener, task::AbortHandle};
use vestibule::event::{Webhook, WebhookSecret};

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What is listening there, and what it heard.
struct Hook {
    url: String,
    state: Arc<Mutex<Heard>>,
    server: AbortHandle,
}

#[derive(Default)]
struct Heard {
    /// The next answers, before those that are 204.
    answers: VecDeque<(u16, Option<&'static str>)>,
    /// Ids of all requests, in order.
    asked: Vec<String>,
    /// Bodies of those that were answered with 204.
    taken: Vec<serde_json::Value>,
}

impl Hook {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=hunter2", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(Heard::default()));
        let routes = Router::new().route("/hook", post(hear)).with_state(state.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, state, server: server.abort_handle() }
    }

    fn notifier(&self) -> Arc<Webhook> {
        self.notifier_with(SECRET)
    }

    fn notifier_with(&self, secrets: &str) -> Arc<Webhook> {
        let secret = WebhookSecret::new(secrets).unwrap();
        Arc::new(Webhook::new(&self.url, secret, None).unwrap())
    }

    fn answer(&self, status: u16, retry_after: Option<&'static str>) {
        self.state.lock().unwrap().answers.push_back((status, retry_after));
    }

    fn asked(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }

    fn taken(&self) -> Vec<serde_json::Value> {
        self.state.lock().unwrap().taken.clone()
    }
}

async fn hear(State(state): State<Arc<Mutex<Heard>>>, headers: HeaderMap, body: Bytes) -> Response {
    let said = verified(&headers, &body);
    let mut state = state.lock().unwrap();
    state.asked.push(said["id"].as_str().unwrap().to_owned());
    match state.answers.pop_front() {
        None => {
            state.taken.push(said);
            StatusCode::NO_CONTENT.into_response()
        }
        Some((status, retry_after)) => {
            let status = StatusCode::from_u16(status).unwrap();
            let after = retry_after.map(|after| [(RETRY_AFTER, after)]);
            (status, after.map_or_else(|| ().into_response(), IntoResponse::into_response))
                .into_response()
        }
    }
}

/// As a receiver does it, by another implementation than the sender's.
fn verified(headers: &HeaderMap, body: &[u8]) -> serde_json::Value {
    let header = |name: &str| headers[name].to_str().unwrap();
    let (id, seconds) = (header("webhook-id"), header("webhook-timestamp"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(seconds.parse::<u64>().unwrap().abs_diff(now.as_secs()) < 60);
    let secret = Base64::decode_vec(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
    let signed = [format!("{id}.{seconds}.").as_bytes(), body].concat();
    let is_ours = |signature: &str| {
        let signature = Base64::decode_vec(signature.strip_prefix("v1,").unwrap()).unwrap();
        aws_lc_rs::hmac::verify(&key, &signed, &signature).is_ok()
    };
    assert_eq!(header("webhook-signature").split(' ').filter(|it| is_ours(it)).count(), 1);
    assert_eq!(header("content-type"), "application/json");
    let said: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(said["id"], id);
    said
}

/// told once, signed, with all that E-2 asks for and nothing that is secret.
#[tokio::test]
async fn a_webhook_is_told_what_happened() {
    let (scene, hook) = (Scene::new().await, Hook::start().await);
    let delivery = scene.delivery("hook", hook.notifier());
    delivery.open().await.unwrap();
    let hostile = "reason=\"}],\r\n\u{0}\u{2028}</script>";
    append(&*scene.store, 1, EventKind::NeedsReauth, hostile).await;
    assert_eq!(pass(&delivery).await.delivered, 1);

    let [said] = &hook.taken()[..] else { panic!("{:?}", hook.taken()) };
    for (field, value) in [
        ("type", "needs_reauth"),
        ("kind", "connection"),
        ("name", "github"),
        ("actor", "system:background-refresh"),
        ("idp_host", "github.com"),
        ("detail", "reason=\"}],</script>"),
        ("connection", &format!("{}{:032x}", shard(1), 1)),
    ] {
        assert_eq!(said[field], value, "{said}");
    }
    assert!(said["occurred_at"].as_str().unwrap().ends_with('Z'), "{said}");
    assert!(!said.to_string().contains(&"01".repeat(16)), "no owner: {said}");
}

/// while a secret changes a receiver may know the old one or the new one: it is told all the same.
#[tokio::test]
async fn a_secret_changes_without_an_outage() {
    let (scene, hook) = (Scene::new().await, Hook::start().await);
    let other = format!("whsec_{}", Base64::encode_string(&[7; 32]));
    for (nth, secrets) in [SECRET, &format!("{SECRET} {other}"), &format!("{other}\n{SECRET}\n")]
        .into_iter()
        .enumerate()
    {
        let delivery = scene.delivery("hook", hook.notifier_with(secrets));
        delivery.open().await.unwrap();
        scene.happens(1, nth).await;
        assert_eq!(pass(&delivery).await.delivered, 1, "{nth}");
    }
    assert_eq!(hook.taken().len(), 3);
}

/// a webhook that fails and comes back: the same id each time, in order, nothing twice.
#[tokio::test]
async fn a_webhook_that_comes_back_is_told_all() {
    let (scene, hook) = (Scene::new().await, Hook::start().await);
    let delivery = scene.delivery("hook", hook.notifier());
    delivery.open().await.unwrap();
    for status in [503, 500, 404, 429, 301] {
        hook.answer(status, None);
    }
    for nth in 0..10 {
        scene.happens(1, nth).await;
    }
    let first = pass(&delivery).await;
    assert!(first.away.is_some() && first.delivered == 0, "{first:?}");
    deliver_all(&scene, &delivery).await;
    let details: Vec<_> = hook.taken().iter().map(|said| said["detail"].clone()).collect();
    assert_eq!(details, (0..10).map(|nth| format!("nth={nth}")).collect::<Vec<_>>());
    let asked = hook.state.lock().unwrap().asked.clone();
    assert_eq!(asked.len(), 15);
    assert!(asked[..6].iter().all(|id| *id == asked[0]), "the same id in all tries: {asked:?}");
}

/// a webhook that is not there for an hour: all is kept, then told once and in order.
#[tokio::test]
async fn a_webhook_that_is_gone_for_an_hour_is_told_all() {
    let (scene, hook) = (Scene::new().await, Hook::start().await);
    let gone = Hook::start().await;
    gone.server.abort();
    let away = scene.delivery("hook", gone.notifier());
    away.open().await.unwrap();
    for nth in 0..6 {
        for record in 0..10 {
            scene.happens(record, nth).await;
        }
        assert!(pass(&away).await.away.is_some());
        scene.age(Duration::from_secs(600)).await;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    // It is back, and so is another process.
    let delivery = scene.delivery("hook", hook.notifier());
    deliver_all(&scene, &delivery).await;
    assert_eq!((hook.asked(), hook.taken().len(), gone.asked()), (60, 60, 0));
    let mut last = HashMap::new();
    for said in hook.taken() {
        let nth = said["detail"].as_str().unwrap().to_owned();
        let before = last.insert(said["connection"].to_string(), nth.clone());
        assert!(before.is_none_or(|before| before < nth), "{said}");
    }
}

/// `Retry-After` is heeded, and a refusal is given up in the end.
#[tokio::test]
async fn a_webhook_may_ask_for_a_pause() {
    let (scene, hook) = (Scene::new().await, Hook::start().await);
    let config = DeliveryConfig { tries: 2, ..brisk() };
    let delivery = scene.delivery_with("hook", hook.notifier(), config);
    delivery.open().await.unwrap();
    hook.answer(422, None);
    hook.answer(422, None);
    scene.happens(1, 0).await;
    scene.happens(1, 1).await;
    deliver_all(&scene, &delivery).await;
    assert_eq!((hook.asked(), hook.taken().len()), (3, 1));

    hook.answer(429, Some("1800"));
    scene.happens(1, 2).await;
    let paused = pass(&delivery).await.away.unwrap();
    assert!(paused >= Duration::from_secs(1799), "{paused:?}");
    assert_eq!((pass(&delivery).await.delivered, hook.asked()), (0, 4));
}
