//! Spans of real processes, at a collector or at none.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, Span},
};
use prost::Message;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::Child,
    time::timeout,
};
use vestibule_worker::provider::Settings;

use crate::{
    scene::{Running, Scene, end, signal, until, worker},
    support::{
        server::{self, free_port},
        sign_in::{consent, install_tls},
    },
};

/// An OTLP collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Bytes>>>);

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let keep = async |State(Self(kept)): State<Self>, body: Bytes| {
            kept.lock().unwrap().push(body);
        };
        let routes = Router::new().route("/v1/traces", post(keep)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (collector, url)
    }

    fn batches(&self) -> Vec<ResourceSpans> {
        let kept = self.0.lock().unwrap();
        let read = |body: &Bytes| ExportTraceServiceRequest::decode(body.clone()).unwrap();
        kept.iter().flat_map(|body| read(body).resource_spans).collect()
    }

    fn spans(&self, name: &str) -> Vec<Span> {
        let scopes = self.batches().into_iter().flat_map(|batch| batch.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans);
        spans.filter(|span| span.name == name).collect()
    }

    /// The bytes of it all, for what must not be in them.
    fn holds(&self, text: &str) -> bool {
        let kept = self.0.lock().unwrap();
        kept.iter().any(|body| body.windows(text.len()).any(|part| part == text.as_bytes()))
    }
}

/// What a worker does is at the collector when it has stopped: who it was, each refresh in the pass
/// that began it, and no secret.
#[tokio::test]
async fn a_worker_tells_a_collector_what_it_did() {
    let server = server::shared().await;
    let scene = Scene::on(&server.url()).await;
    let (collector, url) = Collector::start().await;
    let ids = scene.due(server, 3).await;
    let mut command = scene.sweeping("off");
    command.args(["--traces-endpoint", &url, "--instance", "one"]);
    // What is logged is another matter.
    let child = command.env("RUST_LOG", "error").spawn().unwrap();
    until("refreshed", || async { scene.refreshed(server, &ids).await == 3 }).await;
    signal(&child, "TERM");
    let (status, log) = end(child).await;
    assert_eq!(status.code(), Some(0), "{log}");

    let refreshes = collector.spans("vestibule.refresh");
    assert_eq!(refreshes.len(), 3);
    let passes = collector.spans("vestibule.sweep");
    for refresh in &refreshes {
        let pass = passes.iter().find(|pass| pass.span_id == refresh.parent_span_id);
        assert_eq!(pass.expect("it is in a pass").trace_id, refresh.trace_id);
    }
    let resource = format!("{:?}", collector.batches()[0].resource);
    for known in ["vestibule-worker", "service.instance.id", "\"one\""] {
        assert!(resource.contains(known), "{known} in {resource}");
    }
    let keys = std::fs::read_to_string(scene.path("keys.toml")).unwrap();
    let secret = Settings::default().client_secret;
    let secrets = keys.split('"').skip(1).step_by(2).chain([secret.as_str(), "owner-0"]);
    for secret in secrets {
        assert!(!collector.holds(secret), "{secret}");
    }
    for id in &ids {
        let owner = format!("owner-{}", ids.iter().position(|it| it == id).unwrap());
        let vended = scene.host().await.vend(&owner, id).await.unwrap();
        assert!(!collector.holds(vended.access_token.secret()));
    }
}

/// One replica of the demo's service.
struct Replica {
    child: Child,
    port: u16,
}

impl Replica {
    async fn start(scene: &Scene, name: &str, collector: &str) -> Self {
        let mut command = worker(&["demo-replica", "--instance", name, "--keys"]);
        command.arg(scene.path("keys.toml")).arg("--config").arg(scene.path("vestibule.toml"));
        command.args(["--redis", &scene.redis, "--prefix", &scene.prefix]);
        command.args(["--redirect-uri", "http://127.0.0.1:9/callback"]);
        command.args(["--traces-endpoint", collector, "--traces-service", name]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.next_line().await.unwrap().expect("it is ready");
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let port = said["port"].as_u64().unwrap().try_into().unwrap();
        // It goes on talking.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, port }
    }

    async fn get(&self, path: &str, cookie: &str) -> reqwest::Response {
        install_tls();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let request = client.build().unwrap().get(url).header("cookie", cookie);
        request.send().await.unwrap()
    }

    async fn stop(mut self) {
        drop(self.child.stdin.take());
        assert_eq!(end(self.child).await.0.code(), Some(0));
    }
}

/// A sign-in that starts in one process and ends in another is one trace; no secret of it arrives.
#[tokio::test]
async fn a_sign_in_is_one_trace_over_two_processes() {
    let scene = Scene::shared().await;
    let (collector, url) = Collector::start().await;
    let a = Replica::start(&scene, "replica-a", &url).await;
    let b = Replica::start(&scene, "replica-b", &url).await;

    let login = a.get("/login?owner=canary-owner&connector=demo", "").await;
    let header = |name: &str| login.headers()[name].to_str().unwrap().to_owned();
    let (location, cookie) = (header("location"), header("set-cookie"));
    let cookie = cookie.split(';').next().unwrap();
    let params = consent(&location).await;
    let query: Vec<_> = params.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let callback = b.get(&format!("/callback?{}", query.join("&")), cookie).await;
    assert_eq!(callback.status(), 200, "{}", callback.text().await.unwrap());
    a.stop().await;
    b.stop().await;

    let (start, finish) =
        (collector.spans("vestibule.sign_in.start"), collector.spans("vestibule.sign_in.finish"));
    let ([start], [finish]) = (&*start, &*finish) else { panic!("{start:?} {finish:?}") };
    assert_eq!(start.trace_id, finish.trace_id);
    assert_eq!(finish.parent_span_id, start.span_id);
    let session = cookie.split('=').nth(1).unwrap();
    let values = params.iter().filter(|(key, _)| key != "iss").map(|(_, value)| value.as_str());
    for secret in values.chain(["canary-owner", session]) {
        assert!(!collector.holds(secret), "{secret}");
    }
}

/// A collector that refuses, or that takes the connection and never answers, holds up nobody: all is
/// refreshed, the worker stops in time and well, and says once what is wrong.
#[tokio::test]
async fn a_collector_that_is_away_holds_up_nobody() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_at = silent.local_addr().unwrap().port();
    tokio::join!(runs_without_a_collector(free_port()), runs_without_a_collector(silent_at));
}

async fn runs_without_a_collector(port: u16) {
    let server = server::shared().await;
    let scene = Scene::on(&server.url()).await;
    let ids = scene.due(server, 3).await;
    let mut command = scene.sweeping("off");
    command.args(["--traces-endpoint", &format!("http://127.0.0.1:{port}"), "--grace-s", "50"]);
    let worker = Running::start(command);
    until("refreshed", || async { scene.refreshed(server, &ids).await == 3 }).await;
    // Past the first batch, which nobody took.
    worker.says("the collector does not take traces").await;
    let more = scene.due(server, 1).await;
    until("refreshed", || async { scene.refreshed(server, &more).await == 1 }).await;
    worker.signal("TERM");
    // Well within the grace.
    let (status, log) = timeout(Duration::from_secs(40), worker.end()).await.expect("it ends");
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("the collector does not take traces").count(), 1, "{log}");
}

/// A second signal does not wait for the last spans either. That waits for two seconds at the least:
/// the quickest of a few tells whether it does, on a machine that is busy as well.
#[tokio::test]
async fn a_second_signal_leaves_the_last_spans() {
    let mut quickest = Duration::MAX;
    for _ in 0..6 {
        quickest = quickest.min(leaves_the_last_spans().await);
        if quickest < Duration::from_millis(1500) {
            return;
        }
    }
    panic!("{quickest:?}");
}

/// How long it takes from a second signal to the end.
async fn leaves_the_last_spans() -> Duration {
    let server = server::shared().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scene = Scene::on(&server.url()).await;
    let ids = scene.due(server, 1).await;
    let mut command = scene.sweeping("off");
    let url = format!("http://{}", silent.local_addr().unwrap());
    let child = command.args(["--traces-endpoint", &url]).spawn().unwrap();
    until("refreshed", || async { scene.refreshed(server, &ids).await == 1 }).await;
    signal(&child, "TERM");
    // It sends its last batch now, and hears nothing.
    let (unanswered, _) = silent.accept().await.unwrap();
    unanswered.readable().await.unwrap();
    let second = Instant::now();
    signal(&child, "TERM");
    let (status, log) = end(child).await;
    let took = second.elapsed();
    assert_eq!(status.code(), Some(130), "{log}");
    took
}
