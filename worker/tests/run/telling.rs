//! `[notify]`: what a worker's receivers are told.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, http::HeaderMap, routing::post};
use redis::AsyncCommands;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vestibule::event::{Delivery, DeliveryConfig, Filter, LogNotifier, OutboxGroup};

use crate::{
    scene::{Running, Scene, end, signal, until},
    support::{ageing::age, server, sign_in::sign_in},
};

/// What came: the id of each message, and its body.
type Inbox = Arc<Mutex<Vec<(String, String)>>>;

/// How many events are kept for receivers.
async fn kept(scene: &Scene) -> u64 {
    let mut raw = server::shared().await.raw().await;
    let outboxes: Vec<String> = raw.keys(format!("{}:*:outbox", scene.prefix)).await.unwrap();
    let mut kept = 0;
    for outbox in outboxes {
        let mut length = redis::cmd("XLEN");
        kept += length.arg(outbox).query_async::<u64>(&mut raw).await.unwrap();
    }
    kept
}

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
    let (refreshes, refreshed) = receiver().await;
    let secret = scene.path("hook");
    let notify = format!(
        "\n[notify]\nlog = true\n\n[[notify.webhook]]\nname = \"audit\"\nurl = \"{url}\"\n\
         secret_file = {secret:?}\n\n[[notify.webhook]]\nname = \"refreshes\"\n\
         url = \"{refreshes}\"\nsecret_file = {secret:?}\nevents = [\"refresh_succeeded\"]\n",
    );
    fs::write(scene.path("vestibule.toml"), config + &notify).unwrap();
    let withdrawn = scene.withdrawn().await;
    let ids = scene.due(server, 2).await;

    let workers: Vec<_> = (0..2).map(|_| Running::start(scene.sweeping("off"))).collect();
    until("told", || async { !inbox.lock().unwrap().is_empty() }).await;
    until("the others", || async { scene.refreshed(server, &ids).await == 2 }).await;
    let mut logs = String::new();
    for worker in workers {
        // The other may have done all of it before this one was there.
        worker.sweeps().await;
        worker.signal("TERM");
        let (status, log) = worker.end().await;
        assert_eq!(status.code(), Some(0), "{log}");
        logs += &log;
    }
    // Whatever is told again would be told by the next.
    loop {
        let mut next = scene.sweeping("off");
        next.arg("--once");
        let (status, log) = end(next.spawn().unwrap()).await;
        logs += &log;
        if status.success() {
            break;
        }
        // A verb has a deadline, which a machine that stands still lets pass: then there is another run.
        assert!(status.code() == Some(1) && log.contains("outcome unknown after"), "{log}");
    }

    assert_eq!(kept(&scene).await, 0, "what all were told is not kept until the next run");
    let told = inbox.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    let (_, body) = &told[0];
    assert!(body.contains("needs_reauth") && body.contains(withdrawn.as_str()), "{body}");
    let refreshed = refreshed.lock().unwrap().clone();
    assert_eq!(refreshed.len(), 2, "{refreshed:?}");
    assert!(refreshed.iter().all(|(_, body)| body.contains("refresh_succeeded")), "{refreshed:?}");
    let lines = logs
        .lines()
        .filter(|line| line.contains("needs_reauth") && line.contains("vestibule::event"));
    assert_eq!(lines.count(), 1, "{logs}");
}

/// a worker that tells nobody trims all the same what the receivers of others have been told, and
/// nothing else; history goes by its age. By hand it is counted before.
#[tokio::test]
async fn a_worker_without_receivers_trims() {
    let scene = Scene::shared().await;
    let vestibule = scene.vestibule().await;
    let (events, stop) = (vestibule.events(), CancellationToken::new());
    let delivery = |name: &str| {
        let (group, notifier) = (OutboxGroup::new(name).unwrap(), Arc::new(LogNotifier));
        Delivery::new(&events, group, notifier, "host", DeliveryConfig::default())
    };
    let (told, untold) = (delivery("told"), delivery("untold"));
    told.open().await.unwrap();
    let host = scene.host_of(&vestibule);
    sign_in(&host, "somebody").await;
    assert_eq!(told.pass(&stop).await.errors, 0);
    let before = kept(&scene).await;
    assert!(before > 0);
    let dry = scene.json(&["sweep", "events", "--dry-run"]).await;
    assert_eq!((&dry["found"], &dry["done"]), (&before.into(), &0.into()), "{dry}");
    assert_eq!(kept(&scene).await, before);

    let child = scene.sweeping("off").spawn().unwrap();
    until("trimmed", || async { kept(&scene).await == 0 }).await;
    signal(&child, "TERM");
    let (status, log) = end(child).await;
    assert_eq!(status.code(), Some(0), "{log}");

    untold.open().await.unwrap();
    sign_in(&host, "somebody else").await;
    assert_eq!(told.pass(&stop).await.errors, 0);
    let swept = scene.json(&["sweep", "events"]).await;
    assert_eq!((&swept["found"], &swept["unfinished"]), (&0.into(), &false.into()), "{swept}");
    assert!(kept(&scene).await > 0);

    let remembered = || async { events.list(&Filter::newest(100)).await.unwrap().events.len() };
    let all = remembered().await;
    let mut raw = server::shared().await.raw().await;
    age(&mut raw, &scene.prefix, Duration::from_secs(89 * 24 * 3600)).await;
    assert_eq!(scene.json(&["sweep", "history", "--dry-run"]).await["found"], 0);
    age(&mut raw, &scene.prefix, Duration::from_secs(2 * 24 * 3600)).await;
    let swept = scene.json(&["sweep", "history"]).await;
    assert_eq!((&swept["found"], &swept["done"]), (&all.into(), &all.into()), "{swept}");
    assert_eq!(remembered().await, 0);
}
