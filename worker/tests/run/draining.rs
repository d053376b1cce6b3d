//! Workers are told to stop, one after the other, while there is always more to do.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use tokio::time::sleep;

use crate::{
    scene::{Scene, end, signal, until},
    support::server::{self, random},
};

const DUE: usize = 240;
const GRACE: Duration = Duration::from_secs(25);

/// Every stop is in time and well, nothing is presented twice, nobody's lease is left behind, and
/// all is refreshed once.
#[tokio::test]
async fn stops_under_load_lose_nothing() {
    let server = server::shared().await;
    let scene = Scene::on(&server.url()).await;
    let ids = scene.due(server, DUE).await;
    let seed = random();
    println!("seed {seed}");
    scene.provider.set_answer_delay(Duration::from_millis(400));
    let start = || scene.sweeping("off").arg("--parallel").arg("8").spawn().unwrap();
    let mut workers: Vec<_> = (0..3).map(|_| start()).collect();
    for stop in 0..4_u32 {
        until("in the middle of it", || async { scene.provider.in_flight() >= 8 }).await;
        sleep(Duration::from_millis(u64::from((seed as u32).rotate_left(stop * 8) % 300))).await;
        let child = std::mem::replace(&mut workers[stop as usize % 3], start());
        let told = Instant::now();
        signal(&child, "TERM");
        let (status, log) = end(child).await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(told.elapsed() < GRACE, "{log}");
    }
    until("all of it", || async { scene.refreshed(server, &ids).await == DUE }).await;
    for child in workers {
        signal(&child, "TERM");
        assert_eq!(end(child).await.0.code(), Some(0));
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
