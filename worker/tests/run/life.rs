//! A worker's life: what it makes, how it starts, what it serves, and how it ends.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use vestibule::Keys;
use vestibule_worker::provider::Settings;

use crate::{
    scene::{Running, Scene, end, fails, get, signal, until, worker},
    support::{
        ageing::age,
        server::{self, TestServer, free_port},
        sign_in::sign_in,
    },
};

/// The key file: private, never overwritten, different every time, and readable by the library.
#[tokio::test]
async fn keygen_makes_one_file_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    let keygen = || {
        let mut command = worker(&["keygen", "--out"]);
        command.arg(&path);
        command
    };
    assert!(keygen().status().await.unwrap().success());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let first = fs::read_to_string(&path).unwrap();
    let keys = Keys::from_toml(&first).unwrap();
    assert!(keys.peppers.other.is_none());
    assert!(fails(keygen()).await.contains("never overwritten"));
    assert_eq!(fs::read_to_string(&path).unwrap(), first);

    let printed = worker(&["keygen"]).output().await.unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert_ne!(Keys::from_toml(&printed).unwrap().naming.check(), keys.naming.check());
}

/// Alive, ready, measured; and SIGTERM ends it well.
#[tokio::test]
async fn a_worker_serves_its_port_and_stops_when_told() {
    let scene = Scene::shared().await;
    let ids = scene.due(server::shared().await, 3).await;
    let port = free_port();
    let child = scene.sweeping(&format!("127.0.0.1:{port}")).spawn().unwrap();
    until("ready", || async { get(port, "/readyz").await.is_some_and(|(code, _)| code == 200) })
        .await;
    assert_eq!(get(port, "/healthz").await.unwrap().0, 200);
    until("refreshed", || async { scene.refreshed(server::shared().await, &ids).await == 3 }).await;
    // Redis has it before the pass that did it has ended, and is counted.
    let named = [
        "vestibule_refresh_total{connector=\"demo\",outcome=\"fresh\"} 3",
        "vestibule_swept_total{sweep=\"refresh_due\",outcome=\"refreshed\"} 3",
        "vestibule_worker_ready 1",
        "vestibule_due_backlog",
        "vestibule_exchange_seconds",
    ];
    for name in named {
        until(name, || async {
            get(port, "/metrics").await.is_some_and(|(_, text)| text.contains(name))
        })
        .await;
    }
    let (_, metrics) = get(port, "/metrics").await.unwrap();
    signal(&child, "TERM");
    let (status, log) = end(child).await;
    assert_eq!(status.code(), Some(0), "{log}");
    // One object a line, and no secret in any of them.
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(object["level"].is_string() && object["message"].is_string(), "{line}");
    }
    let secret = Settings::default().client_secret;
    let keys = fs::read_to_string(scene.path("keys.toml")).unwrap();
    let values = keys.split('"').skip(1).step_by(2).chain([secret.as_str()]);
    for value in values {
        assert!(!log.contains(value) && !metrics.contains(value));
    }
}

/// Any number of workers share what is due: each refresh token is presented once.
#[tokio::test]
async fn workers_share_what_is_due() {
    let scene = Scene::shared().await;
    let ids = scene.due(server::shared().await, 24).await;
    scene.provider.set_answer_delay(Duration::from_millis(20));
    let workers: Vec<_> = (0..3).map(|_| Running::start(scene.sweeping("off"))).collect();
    until("refreshed", || async { scene.refreshed(server::shared().await, &ids).await == 24 })
        .await;
    for worker in workers {
        // Others may have done all of it before this one was there.
        worker.sweeps().await;
        worker.signal("INT");
        assert_eq!(worker.end().await.0.code(), Some(0));
    }
    let counts = scene.provider.counts();
    assert_eq!((counts.refreshes, counts.reused_presentations), (24, 0));
}

/// H-10, T-9: the sweeps run at start, and what they did is seen; one that is switched off does not
/// run; by hand one runs at once, or only counts.
#[tokio::test]
async fn the_sweeps_run_at_start_and_by_hand() {
    const MONTH: Duration = Duration::from_secs(31 * 24 * 3600);
    let (scene, server) = (Scene::shared().await, server::shared().await);
    let host = scene.host().await;
    let mut ids = Vec::new();
    for owner in ["a", "b"] {
        let id = sign_in(&host, owner).await;
        host.withdraw_access(owner, &id).await.unwrap();
        ids.push(id);
    }
    age(&mut server.raw().await, &scene.prefix, MONTH).await;
    let back = sign_in(&host, "c").await;
    host.withdraw_access("c", &back).await.unwrap();

    let sweep = |more: &[&str]| {
        let mut command = scene.configured(&["sweep", "orphans", "--json"]);
        command.args(more);
        command
    };
    let said = async |more: &[&str]| -> serde_json::Value {
        let output = sweep(more).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let dry = said(&["--dry-run"]).await;
    assert_eq!((&dry["found"], &dry["done"]), (&2.into(), &0.into()), "{dry}");

    let config = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let with = |days: i64| {
        let text = format!("[sweeps]\norphan_retention_days = {days}\n\n{config}");
        fs::write(scene.path("vestibule.toml"), text).unwrap();
    };
    with(-1);
    assert_eq!(said(&[]).await["off"], true);
    with(30);
    let port = free_port();
    let child = scene.sweeping(&format!("127.0.0.1:{port}")).spawn().unwrap();
    let metrics = async || get(port, "/metrics").await.map_or(String::new(), |(_, text)| text);
    let done = r#"vestibule_swept_total{sweep="orphans",outcome="done"} 2"#;
    until("swept", || async { metrics().await.contains(done) }).await;
    until("both ran", || async {
        metrics().await.contains(r#"vestibule_sweep_seconds_count{sweep="expired"}"#)
    })
    .await;
    signal(&child, "TERM");
    assert_eq!(end(child).await.0.code(), Some(0));
    for (owner, id) in [("a", &ids[0]), ("b", &ids[1])] {
        assert!(host.get(owner, id).await.is_err());
    }
    assert!(host.restore_access("c", &back).await.is_ok());
    assert_eq!(said(&[]).await["found"], 0);
}

/// SIGTERM: the exchanges under way end, and what was not begun is due at once for the others.
#[tokio::test]
async fn a_stopping_worker_ends_what_it_began() {
    let scene = Scene::shared().await;
    let server = server::shared().await;
    let ids = scene.due(server, 12).await;
    scene.provider.hold_answers();
    let port = free_port();
    let mut command = scene.sweeping(&format!("127.0.0.1:{port}"));
    command.args(["--parallel", "4"]);
    let worker = Running::start(command);
    until("in flight", || async { scene.provider.in_flight() == 4 }).await;
    let ready = || async { get(port, "/readyz").await.map(|(code, _)| code) };
    until("ready", || async { ready().await == Some(200) }).await;
    worker.signal("TERM");
    until("it has heard it", || async { ready().await == Some(503) }).await;
    scene.provider.release_answers();
    let (status, log) = worker.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let begun = scene.refreshed(server, &ids).await;
    assert_eq!(begun, 4, "what was in flight has been committed, and nothing else begun: {log}");
    let next = scene.sweeping("off").spawn().unwrap();
    until("the rest", || async { scene.refreshed(server, &ids).await == 12 }).await;
    signal(&next, "TERM");
    assert_eq!(end(next).await.0.code(), Some(0));
    assert_eq!(scene.provider.counts().reused_presentations, 0);
}

/// A second signal does not wait for anything.
#[tokio::test]
async fn a_second_signal_exits_at_once() {
    let scene = Scene::shared().await;
    scene.due(server::shared().await, 1).await;
    scene.provider.hold_answers();
    let mut command = scene.sweeping("off");
    command.args(["--grace-s", "3600"]);
    let worker = Running::start(command);
    until("in flight", || async { scene.provider.in_flight() == 1 }).await;
    worker.signal("TERM");
    worker.says("told to stop").await; // two signals in one moment are one
    worker.signal("TERM");
    assert_eq!(worker.end().await.0.code(), Some(130));
}

/// What does not end within the grace is cut off, and the exit code says so.
#[tokio::test]
async fn a_grace_that_is_over_is_told_by_the_exit_code() {
    let scene = Scene::shared().await;
    scene.due(server::shared().await, 1).await;
    scene.provider.hold_answers();
    let mut command = scene.sweeping("off");
    let child = command.args(["--grace-s", "1"]).spawn().unwrap();
    until("in flight", || async { scene.provider.in_flight() == 1 }).await;
    signal(&child, "TERM");
    let (status, log) = end(child).await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("not stopped within the grace"), "{log}");
}

/// A Redis that is away is waited for: alive, not ready, and back without a restart.
#[tokio::test]
async fn a_worker_waits_for_its_redis() {
    let server = TestServer::builder().start().await;
    server.kill9();
    let scene = Scene::on(&server.url()).await;
    let port = free_port();
    let child = scene.sweeping(&format!("127.0.0.1:{port}")).spawn().unwrap();
    let ready = || async { get(port, "/readyz").await.map(|(code, _)| code) };
    until("alive", || async { get(port, "/healthz").await.is_some() }).await;
    assert_eq!(ready().await, Some(503));
    server.restart().await;
    until("ready", || async { ready().await == Some(200) }).await;
    server.kill9();
    until("unready", || async { ready().await == Some(503) }).await;
    assert_eq!(get(port, "/healthz").await.unwrap().0, 200);
    server.restart().await;
    until("ready again", || async { ready().await == Some(200) }).await;
    signal(&child, "TERM");
    assert_eq!(end(child).await.0.code(), Some(0));
}

/// What only an operator can mend is said on one line, with what to do, and never with a secret.
#[tokio::test]
async fn a_wrong_configuration_is_explained() {
    let scene = Scene::shared().await;
    let keys = scene.path("keys.toml").display().to_string();
    let bad = |name: &str, text: &str| {
        fs::write(scene.path(name), text).unwrap();
        scene.path(name).display().to_string()
    };
    let unknown = bad("unknown.toml", "redis = \"redis://:hunter2@h\"\nhunter2 = 1\n");
    let insecure = bad(
        "insecure.toml",
        "[[connectors]]\nslug = \"x\"\nauthorize_url = \"https://p/a\"\n\
         token_url = \"http://p/t\"\nclient_id = \"c\"\n",
    );
    let unset = bad(
        "unset.toml",
        "[[connectors]]\nslug = \"x\"\nauthorize_url = \"https://p/a\"\n\
         token_url = \"https://p/t\"\nclient_id = \"c\"\nclient_secret_env = \"NOT_SET_AT_ALL\"\n",
    );
    let url = scene.redis.as_str();
    let cases: [(&[&str], &str); 8] = [
        (&["run", "--keys", &keys], "VESTIBULE_REDIS_URL"),
        (&["run", "--redis", url], "keygen"),
        (&["run", "--redis", "http://:hunter2@h", "--keys", &keys], "expected redis://"),
        (&["run", "--redis", url, "--keys", "nowhere.toml"], "cannot be read"),
        (&["run", "--redis", url, "--keys", &keys, "--prefix", "A:B"], "a-z, 0-9 and -"),
        (&["run", "--redis", url, "--keys", &keys, "--config", &unknown], "line 2"),
        (&["run", "--redis", url, "--keys", &keys, "--config", &insecure], "must be https"),
        (&["run", "--redis", url, "--keys", &keys, "--config", &unset], "NOT_SET_AT_ALL"),
    ];
    for (args, says) in cases {
        let text = fails(worker(args)).await;
        assert!(text.contains(says), "{args:?}: {text}");
        assert!(!text.contains("hunter2@") && !text.contains("= 1"), "{text}");
    }

    // Another key file on a used database.
    drop(scene.host().await);
    fs::write(scene.path("keys.toml"), &*Keys::generate_toml()).unwrap();
    let text = fails(scene.sweeping("off")).await;
    assert!(
        text.contains("naming key") && text.contains("use the key file that made it"),
        "{text}"
    );
}

/// Redis goes away inside an exchange, and the worker is killed before it is back: the next worker
/// finds the answer in the journal, and the provider is not asked again.
#[tokio::test]
async fn a_worker_replays_what_the_last_one_left() {
    let server =
        TestServer::builder().arg("--appendonly", "yes").arg("--appendfsync", "always").start();
    let server = server.await;
    let scene = Scene::on(&server.url()).await;
    let ids = scene.due(&server, 1).await;
    let journal = scene.path("journal");
    let start = || {
        let mut command = scene.sweeping("off");
        command.arg("--journal-dir").arg(&journal).spawn().unwrap()
    };
    let entries = || {
        let files = fs::read_dir(&journal).into_iter().flatten();
        files.filter(|file| {
            file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|e| e == "entries"))
        })
    };
    scene.provider.hold_answers();
    let mut first = start();
    until("asked", || async { scene.provider.in_flight() == 1 }).await;
    server.kill9();
    scene.provider.release_answers();
    until("journaled", || async { entries().count() == 1 }).await;
    first.kill().await.unwrap();
    server.restart().await;
    assert_eq!(scene.refreshed(&server, &ids).await, 0, "Redis has nothing of it");

    let second = start();
    until("replayed", || async { scene.refreshed(&server, &ids).await == 1 }).await;
    until("decided", || async { entries().count() == 0 }).await;
    signal(&second, "TERM");
    let (status, log) = end(second).await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("journal replayed"), "{log}");
    assert_eq!(scene.provider.counts().reused_presentations, 0, "nobody asked again");
    let vended = scene.host().await.vend("owner-0", &ids[0]).await.unwrap();
    assert!(scene.provider.is_access_token_live(vended.access_token.secret()));
}

/// A journal that cannot be written is told at start, not when it is needed.
#[tokio::test]
async fn a_journal_that_cannot_be_written_is_told() {
    let scene = Scene::shared().await;
    let mut command = scene.sweeping("off");
    command.args(["--journal-dir", "/dev/null/journal"]);
    assert!(fails(command).await.contains("the journal at /dev/null/journal"));
}
