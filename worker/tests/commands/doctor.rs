//! `doctor` finds each fault that is planted, says what to do, and does not cry wolf.

use std::time::Duration;

use redis::AsyncCommands;
use serde_json::Value;
use vestibule::Keys;

use super::scene::{PATIENCE, Said, Scene};
use crate::support::server::TestServer;

async fn doctor(scene: &Scene, args: &[&str]) -> (Said, Vec<Value>) {
    let args: Vec<_> = ["doctor", "--json"].iter().chain(args).copied().collect();
    let said = scene.run(&args).await;
    let json: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    let findings = json["findings"].as_array().unwrap().clone();
    for finding in &findings {
        let is_well = finding["level"] == "ok";
        assert_eq!(finding["fix"].is_null(), is_well, "each with its fix: {finding}");
    }
    (said, findings)
}

/// The level of what is said about it, and the text.
fn about<'a>(findings: &'a [Value], about: &str) -> (&'a str, String) {
    let found = findings.iter().find(|finding| finding["about"] == about);
    let found = found.unwrap_or_else(|| panic!("nothing about {about}: {findings:?}"));
    (found["level"].as_str().unwrap(), format!("{} {}", found["what"], found["fix"]))
}

async fn set(server: &TestServer, words: &[&str]) {
    let mut raw = server.raw().await;
    let _: redis::Value =
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut raw).await.unwrap();
}

/// A development Redis: warnings, and exit code 0. Then one fault after the other: 1, and the fault
/// by its name.
#[tokio::test]
async fn each_planted_fault_is_found() {
    let server = TestServer::builder().start().await;
    let scene = Scene::on(&server.url()).await;
    let ids = scene.populate(&server).await;
    let mut raw = server.raw().await;
    let (said, findings) = doctor(&scene, &[]).await;
    assert_eq!(said.code, 0, "{said:?}");
    for (what, level) in [
        ("version", "ok"),
        ("eviction", "ok"),
        ("tls", "warning"),
        ("login", "warning"),
        ("persistence", "warning"),
        ("clock", "ok"),
        ("layout", "ok"),
        ("rights", "ok"),
        ("sealing", "ok"),
        ("scripts", "ok"),
        ("replication", "note"),
        // Planted by the scene.
        ("refresh", "warning"),
        ("connector", "warning"),
    ] {
        assert_eq!(about(&findings, what).0, level, "{what}: {findings:?}");
    }

    set(&server, &["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]).await;
    let (said, findings) = doctor(&scene, &[]).await;
    assert_eq!((said.code, about(&findings, "eviction").0), (1, "error"));
    assert!(about(&findings, "eviction").1.contains("noeviction"));

    // It evicts, and then it is said to be well again.
    let used: u64 = memory(&mut raw).await;
    set(&server, &["CONFIG", "SET", "maxmemory", &(used + 300_000).to_string()]).await;
    for n in 0..200 {
        let _: redis::RedisResult<()> =
            raw.set_ex(format!("x{{{n}}}"), "x".repeat(10_000), 100).await;
    }
    set(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    set(&server, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    let (_, findings) = doctor(&scene, &[]).await;
    assert_eq!(about(&findings, "memory").0, "warning", "{findings:?}");
    set(&server, &["CONFIG", "RESETSTAT"]).await;

    // Nearly full.
    let used = memory(&mut raw).await;
    set(&server, &["CONFIG", "SET", "maxmemory", &(used + used / 50).to_string()]).await;
    let (_, findings) = doctor(&scene, &[]).await;
    assert_eq!(about(&findings, "memory").0, "warning", "{findings:?}");
    set(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;

    // A user who lacks something.
    set(&server, &["ACL", "SETUSER", "narrow", "on", ">pw", "~*", "&*", "+@all", "-hset", "-zadd"])
        .await;
    let (said, findings) = doctor(&scene, &["--user", "narrow"]).await;
    let (level, text) = about(&findings, "rights");
    assert_eq!((said.code, level), (1, "error"));
    assert!(text.contains("+hset") && text.contains("+zadd") && !text.contains("+hmget"), "{text}");
    set(&server, &["ACL", "SETUSER", "narrow", "resetkeys", "+@all", "~other:*"]).await;
    let (_, findings) = doctor(&scene, &["--user", "narrow"]).await;
    assert!(about(&findings, "rights").1.contains(":conn:*"), "{findings:?}");
    assert_eq!(doctor(&scene, &["--user", "nobody"]).await.0.code, 0, "that cannot be seen");

    // A record that another ring sealed.
    let text = std::fs::read_to_string(scene.path("keys.toml")).unwrap();
    let other = Keys::generate_toml();
    let ring = |text: &str| text.split("ring = ").nth(1).unwrap().trim().to_owned();
    std::fs::write(scene.path("keys.toml"), text.replace(&ring(&text), &ring(&other))).unwrap();
    let (said, findings) = doctor(&scene, &[]).await;
    assert_eq!((said.code, about(&findings, "sealing").0), (1, "error"));
    // Another naming key.
    std::fs::write(scene.path("keys.toml"), &*other).unwrap();
    let (said, findings) = doctor(&scene, &[]).await;
    assert_eq!((said.code, about(&findings, "layout").0), (1, "error"));
    // Another layout.
    std::fs::write(scene.path("keys.toml"), &text).unwrap();
    let _: () = raw.set(scene.names.meta(), "v9 shards=256 naming=x").await.unwrap();
    let (said, findings) = doctor(&scene, &[]).await;
    assert_eq!((said.code, about(&findings, "layout").0), (1, "error"));
    let _: () = raw.del(scene.names.meta()).await.unwrap();
    assert_eq!(about(&doctor(&scene, &[]).await.1, "layout").0, "note");

    // Nothing of that is left, and without keys some of it cannot be told.
    drop(ids);
    let said = scene.look(&["doctor"]).await;
    assert!(said.code == 0 && said.out.contains("--keys"), "{said:?}");
}

async fn memory(raw: &mut redis::aio::MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("memory").query_async(raw).await.unwrap();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    used.trim().parse().unwrap()
}

/// A server that is away, that is a replica, or that cannot write to its disk.
#[tokio::test]
async fn a_server_that_cannot_serve_is_told() {
    let server = TestServer::builder()
        .cluster(false)
        .arg("--save", "900 1")
        .arg("--enable-protected-configs", "yes")
        .start()
        .await;
    let scene = Scene::on(&server.url()).await;
    let (_, findings) = doctor(&scene, &[]).await;
    assert_eq!(about(&findings, "layout").0, "note", "nobody has used it");
    assert!(about(&findings, "persistence").1.contains("snapshots only"));

    set(&server, &["CONFIG", "SET", "dir", "/proc"]).await;
    set(&server, &["SET", "x", "1"]).await;
    let mut raw = server.raw().await;
    let _: redis::RedisResult<()> = redis::cmd("SAVE").query_async(&mut raw).await;
    let _: redis::RedisResult<()> = redis::cmd("BGSAVE").query_async(&mut raw).await;
    let failed = async {
        while about(&doctor(&scene, &[]).await.1, "persistence").0 != "error" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, failed).await.expect("it is told");

    set(&server, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let (said, findings) = doctor(&scene, &[]).await;
    assert_eq!((said.code, about(&findings, "replication").0), (1, "error"));

    server.kill9();
    let (said, findings) = doctor(&scene, &[]).await;
    assert_eq!((said.code, about(&findings, "redis").0), (1, "error"));
}

/// A clock that is off by more than two seconds, either way.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_wrong_clock_is_found() {
    let clock = crate::support::clock::Clock::new();
    let server = clock.before(TestServer::builder()).start().await;
    let scene = Scene::on(&server.url()).await;
    for (jump, level, which) in [(0, "ok", ""), (5, "error", "ahead"), (-5, "error", "behind")] {
        clock.jump_to(jump);
        let (_, findings) = doctor(&scene, &[]).await;
        let (found, text) = about(&findings, "clock");
        assert_eq!(found, level, "{text}");
        assert!(text.contains(which), "{text}");
    }
}
