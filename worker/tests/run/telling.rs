//! `[notify]`: what a worker's receivers are told.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use axum::{Router, http::HeaderMap, routing::post};
use tokio::net::TcpListener;

use crate::{
    scene::{Scene, end, signal, until},
    support::server,
};

/// What came: the id of each message, and its body.
type Inbox = Arc<Mutex<Vec<(String, String)>>>;

async fn receiver() -> (String, Inbox) {
    let inbox = Inbox::default();
    let kept = Arc::clone(&inbox);
    let take = async move |headers: HeaderMap, body: String| {
        let header = |name: &str| headers.get(name).map(|it| it.to_str().unwrap().to_owned());
        assert!(header("webhook-signature").is_some_and(|it| it.starts_with("v1,")));
        assert!(header("webhook-timestamp").is_some());
        kept.lock().unwrap().push((header("webhook-id").unwrap(), body));
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().route("/hook", post(take))).into_future());
    (url, inbox)
}

/// a grant that a person withdrew at the provider is told once, by the log and by a signed
/// webhook, however many workers run and whichever comes after them.
#[tokio::test]
async fn a_transition_is_told_once_by_any_number_of_workers() {
    let server = server::shared().await;
    let scene = Scene::on(&server.url()).await;
    let (url, inbox) = receiver().await;
    fs::write(scene.path("hook"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let config = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let notify = format!(
        "\n[notify]\nlog = true\n\n[[notify.webhook]]\nname = \"audit\"\nurl = \"{url}\"\n\
         secret_file = {:?}\n",
        scene.path("hook")
    );
    fs::write(scene.path("vestibule.toml"), config + &notify).unwrap();
    let withdrawn = scene.withdrawn().await;
    let ids = scene.due(server, 2).await;

    let workers: Vec<_> = (0..2).map(|_| scene.sweeping("off").spawn().unwrap()).collect();
    until("told", || async { !inbox.lock().unwrap().is_empty() }).await;
    until("the others", || async { scene.refreshed(server, &ids).await == 2 }).await;
    let mut logs = String::new();
    for child in workers {
        signal(&child, "TERM");
        let (status, log) = end(child).await;
        assert_eq!(status.code(), Some(0), "{log}");
        logs += &log;
    }
    // Whatever is told again would be told by the next.
    let mut next = scene.sweeping("off");
    next.arg("--once");
    let (status, log) = end(next.spawn().unwrap()).await;
    assert_eq!(status.code(), Some(0), "{log}");
    logs += &log;

    let told = inbox.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    let (_, body) = &told[0];
    assert!(body.contains("needs_reauth") && body.contains(withdrawn.as_str()), "{body}");
    let lines = logs
        .lines()
        .filter(|line| line.contains("needs_reauth") && line.contains("vestibule::event"));
    assert_eq!(lines.count(), 1, "{logs}");
}
