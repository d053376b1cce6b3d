//! `run --once`: what is due now, once, as cron runs it.

use std::{fs, time::Duration};

use redis::AsyncCommands;

use crate::{
    scene::{Scene, end, fails},
    support::{
        ageing::age,
        server::{self, TestServer},
        sign_in::sign_in,
    },
};

/// All that is due is seen to, and the process ends by itself; the next one finds nothing.
#[tokio::test]
async fn all_that_is_due_is_seen_to_once() {
    const MONTH: Duration = Duration::from_secs(31 * 24 * 3600);
    let server = server::shared().await;
    let scene = Scene::on(&server.url()).await;
    let host = scene.host().await;
    let orphan = sign_in(&host, "gone").await;
    host.withdraw_access("gone", &orphan).await.unwrap();
    age(&mut server.raw().await, &scene.prefix, MONTH).await;
    // More than one pass claims.
    let ids = scene.due(server, 300).await;

    for _ in 0..2 {
        let mut command = scene.sweeping("127.0.0.1:1");
        command.arg("--once");
        let (status, log) = end(command.spawn().unwrap()).await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(scene.refreshed(server, &ids).await, 300, "{log}");
        assert!(host.get("gone", &orphan).await.is_err(), "{log}");
        let counts = scene.provider.counts();
        assert_eq!((counts.refreshes, counts.reused_presentations), (300, 0), "{log}");
    }
}

/// H-10: a sweep that is switched off by its cadence is left out, like the loop leaves it out; by hand it
/// is still run.
#[tokio::test]
async fn a_sweep_that_is_switched_off_is_left_out() {
    const MONTH: Duration = Duration::from_secs(31 * 24 * 3600);
    let server = server::shared().await;
    let scene = Scene::on(&server.url()).await;
    let config = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let off = "\n[sweeps]\norphans_every_s = 0\nexpired_every_s = 0\nreseal_every_s = -1\n\
               history_every_s = 0\n";
    fs::write(scene.path("vestibule.toml"), config + off).unwrap();
    let host = scene.host().await;
    let orphan = sign_in(&host, "gone").await;
    host.withdraw_access("gone", &orphan).await.unwrap();
    let mut raw = server.raw().await;
    age(&mut raw, &scene.prefix, MONTH).await;

    let orphans = format!("{}:{{{}}}:orphans", scene.prefix, orphan.shard());
    for (args, left) in [(["run", "--once"], 1), (["sweep", "orphans"], 0)] {
        let (status, log) = end(scene.configured(&args).spawn().unwrap()).await;
        assert_eq!(status.code(), Some(0), "{args:?}: {log}");
        assert_eq!(raw.zcard::<_, u64>(&orphans).await.unwrap(), left, "{args:?}: {log}");
        let turns: Vec<String> = raw.keys(format!("{}:{{*}}:sweep:*", scene.prefix)).await.unwrap();
        assert_eq!(turns.is_empty(), left == 1, "{args:?}: {turns:?}");
    }
}

/// A Redis that is away is told at once: cron comes again.
#[tokio::test]
async fn a_redis_that_is_away_is_not_waited_for() {
    let server = TestServer::builder().start().await;
    server.kill9();
    let scene = Scene::on(&server.url()).await;
    let mut command = scene.sweeping("off");
    command.arg("--once");
    let told = fails(command).await;
    assert!(told.contains("connect"), "{told}");
}

/// What one run could not tell is left for the next, and its exit code says so.
#[tokio::test]
async fn what_is_left_is_told_by_the_exit_code() {
    let server = server::shared().await;
    let scene = Scene::on(&server.url()).await;
    let config = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    fs::write(scene.path("hook"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let hook = format!(
        "\n[[notify.webhook]]\nname = \"nobody\"\nurl = \"http://127.0.0.1:1/\"\n\
         secret_file = {:?}\n",
        scene.path("hook")
    );
    fs::write(scene.path("vestibule.toml"), config + &hook).unwrap();
    scene.withdrawn().await;
    scene.due(server, 1).await;
    let mut command = scene.sweeping("off");
    command.arg("--once");
    let (status, log) = end(command.spawn().unwrap()).await;
    assert_eq!(status.code(), Some(1), "{log}");
}
