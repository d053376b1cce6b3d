//! Workers are told to stop, one after the other, while there is always more to do.

use std::time::Duration;

use redis::AsyncCommands;
use tokio::time::{sleep, timeout};

use crate::{
    scene::{Running, Scene, until},
    support::server::{self, random},
};

const DUE: usize = 240;
const AT_ONCE: usize = 8;

/// Every stop is within the grace and well, nothing is presented twice, nobody's lease is left behind, and
/// all is refreshed once.
#[tokio::test]
async fn stops_under_load_lose_nothing() {
    let server = server::shared().await;
    let scene = Scene::on(&server.url()).await;
    let ids = scene.due(server, DUE).await;
    let seed = random();
    println!("seed {seed}");
    // The provider answers when it is told to: however slow this machine is, there is more to do.
    scene.provider.hold_answers();
    let start = || {
        let mut command = scene.sweeping("off");
        command.args(["--parallel", &AT_ONCE.to_string(), "--grace-s", "50"]);
        Running::start(command)
    };
    let mut workers: Vec<_> = (0..3).map(|_| start()).collect();
    for stop in 0..4_u32 {
        let which = stop as usize % 3;
        workers[which].sweeps().await;
        until("in the middle of it", || async { scene.provider.in_flight() > 2 * AT_ONCE }).await;
        sleep(Duration::from_millis(u64::from((seed as u32).rotate_left(stop * 8) % 300))).await;
        let worker = std::mem::replace(&mut workers[which], start());
        worker.signal("TERM");
        worker.says("told to stop").await;
        let mut end = std::pin::pin!(worker.end());
        let (status, log) = loop {
            // A few at a time: it may have asked for one more.
            scene.provider.give_held_answers();
            if let Ok(ended) = timeout(Duration::from_secs(1), &mut end).await {
                break ended;
            }
        };
        assert_eq!(status.code(), Some(0), "{log}");
    }
    assert!(scene.refreshed(server, &ids).await < DUE, "there was more to do until the last stop");
    scene.provider.release_answers();
    until("all of it", || async { scene.refreshed(server, &ids).await == DUE }).await;
    for worker in workers {
        worker.sweeps().await;
        worker.signal("TERM");
        assert_eq!(worker.end().await.0.code(), Some(0));
    }
    let counts = scene.provider.counts();
    assert_eq!((counts.refreshes, counts.reused_presentations), (DUE as u64, 0));
    let mut raw = server.raw().await;
    for id in &ids {
        let key = format!("{}:{{{}}}:conn:{id}", scene.prefix, id.shard());
        let left: (Option<String>, Option<String>) =
            raw.hmget(key, &["lease", "att_token"]).await.unwrap();
        assert_eq!(left, (None, None), "{id}");
    }
}
