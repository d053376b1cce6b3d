//! `redis_confirm_replicas`: what no replica has is not done.

use std::fs;

use crate::{
    scene::{Scene, end, get, signal, until, worker},
    support::server::{self, free_port},
};

/// where no replica is, what is committed is unconfirmed, and its answer stays in the journal; a
/// worker that asks for none settles it.
#[tokio::test]
async fn an_answer_that_no_replica_has_stays_in_the_journal() {
    let (scene, server) = (Scene::shared().await, server::shared().await);
    let ids = scene.due(server, 1).await;
    let config = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let journal = scene.path("journal");
    let start = |confirm: &str, port: u16| {
        let text = format!("{confirm}journal_dir = {journal:?}\n{config}");
        fs::write(scene.path("vestibule.toml"), text).unwrap();
        scene.sweeping(&format!("127.0.0.1:{port}")).spawn().unwrap()
    };
    let entries = || {
        let files = fs::read_dir(&journal).into_iter().flatten();
        let is_entry =
            |file: &fs::DirEntry| file.path().extension().is_some_and(|e| e == "entries");
        files.filter_map(Result::ok).filter(is_entry).count()
    };
    let port = free_port();
    let metrics = async || get(port, "/metrics").await.map_or(String::new(), |(_, text)| text);
    let child = start("redis_confirm_replicas = 1\nredis_confirm_within_ms = 100\n", port);
    until("committed", || async { scene.refreshed(server, &ids).await == 1 }).await;
    until("unconfirmed", || async { metrics().await.contains("vestibule_journal_undecided 1") })
        .await;
    // Replayed every 5 s, and still not confirmed.
    until("left", || async {
        let left = "vestibule_swept_total{sweep=\"journal\",outcome=\"left\"} ";
        let text = metrics().await;
        text.lines().any(|line| line.strip_prefix(left).is_some_and(|times| times != "0"))
    })
    .await;
    assert_eq!(entries(), 1);
    signal(&child, "TERM");
    let (status, log) = end(child).await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("0 of 1"), "{log}");
    assert_eq!(entries(), 1);

    let child = start("", port);
    until("settled", || async { entries() == 0 }).await;
    signal(&child, "TERM");
    assert_eq!(end(child).await.0.code(), Some(0));
    assert_eq!(scene.provider.counts().reused_presentations, 0);
}

/// What a container sets for `run` holds for `refresh` too.
#[tokio::test]
async fn a_refresh_by_hand_has_the_journal_of_the_environment() {
    let scene = Scene::shared().await;
    let ids = scene.due(server::shared().await, 1).await;
    let mut command = worker(&["refresh", ids[0].as_str(), "--prefix", &scene.prefix]);
    command.args(["--redis", &scene.redis_for(&["refresh"])]);
    command.arg("--keys").arg(scene.path("keys.toml"));
    command.arg("--config").arg(scene.path("vestibule.toml"));
    command.env("VESTIBULE_JOURNAL_DIR", "/dev/null/journal");
    let text = crate::scene::fails(command).await;
    assert!(text.contains("the journal at /dev/null/journal"), "{text}");
}
