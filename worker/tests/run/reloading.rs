//! SIGHUP: what the page and the metrics know of connectors that came with it.

use std::fs;

use redis::AsyncCommands;
use vestibule::{inspect::Names, store::ConnectorName};

use crate::{
    scene::{Scene, end, get, now_ms, signal, until},
    support::server::{TestServer, free_port},
};

/// A connector that comes with a reload is measured from zero, and its pause is on the page, although
/// the worker's user may not walk over all keys.
#[tokio::test]
async fn a_connector_that_comes_with_a_reload_is_on_the_page() {
    let server = TestServer::builder().start().await;
    let scene = Scene::on(&server.url()).await;
    let port = free_port();
    let child = scene.sweeping(&format!("127.0.0.1:{port}")).spawn().unwrap();
    let has = async |path: &str, text: &str| {
        get(port, path).await.is_some_and(|(_, body)| body.contains(text))
    };
    until("ready", || async { get(port, "/readyz").await.is_some_and(|it| it.0 == 200) }).await;
    assert!(has("/metrics", "vestibule_connector_paused_total{connector=\"demo\"} 0").await);
    assert!(!has("/metrics", "connector=\"second\"").await);

    let mut raw = server.raw().await;
    let now = now_ms(&mut raw).await;
    let shard = Names::new(scene.keys.naming.clone()).connector("second");
    let pause = scene.names.pause(ConnectorName { shard, slug: "second" });
    let (since, until_ms) = (now.to_string(), (now + 3_600_000).to_string());
    let fields = [
        ("reason", "second is refused"),
        ("since_at", &*since),
        ("until_at", &*until_ms),
        ("times", "1"),
    ];
    let _: () = raw.hset_multiple(pause, &fields).await.unwrap();
    assert!(!has("/", "second is refused").await);

    let config = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let second = config.replace("slug = \"demo\"", "slug = \"second\"");
    fs::write(scene.path("vestibule.toml"), format!("{config}\n{second}")).unwrap();
    signal(&child, "HUP");
    until("measured", || {
        has("/metrics", "vestibule_connector_paused_total{connector=\"second\"} 0")
    })
    .await;
    until("on the page", || has("/", "second is refused")).await;
    signal(&child, "TERM");
    assert_eq!(end(child).await.0.code(), Some(0));
    // The page's looks, of what only an inspector sees.
    server.refused();
}
