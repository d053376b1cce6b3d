//! the key ring is rotated by hand, step by step, and under a worker that runs.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::{process::Child, time::timeout};
use vestibule::{
    Keys,
    connection::{AccessToken, RefreshToken, TokenAnswer},
    pending::{Namespace, Pendings, PendingsConfig, Spec},
    store::ConnectionId,
};

use crate::{
    scene::{self, CANARY, PATIENCE, Scene, get, signal},
    support::server::{self, free_port},
};

impl Scene {
    /// So many credentials, which live for a day; not signed in to, because a state would be sealed too.
    async fn stored(&self, count: usize) -> Vec<ConnectionId> {
        let (host, mut ids) = (self.host().await, Vec::new());
        for _ in 0..count {
            let answer = TokenAnswer {
                access_token: AccessToken::new(CANARY),
                refresh_token: Some(RefreshToken::new(CANARY)),
                expires_in: Some(Duration::from_secs(86_400)),
                scope: None,
                refresh_expires_in: None,
            };
            ids.push(host.store("alice", "demo", None, &answer).await.unwrap());
        }
        ids
    }

    fn ring(&self) -> Vec<String> {
        let keys = Keys::from_file(self.path("keys.toml")).unwrap();
        keys.ring.key_ids().map(|id| id.to_string()).collect()
    }

    /// Whether each opens with the key file as it is.
    async fn all_open(&self, ids: &[ConnectionId]) -> bool {
        let keys = Keys::from_file(self.path("keys.toml")).unwrap();
        let host = self.host_of(&self.vestibule_with(&keys).await);
        for id in ids {
            if host.vend("alice", id).await.is_err() {
                return false;
            }
        }
        true
    }

    fn no_key_in(&self, text: &str) {
        let file = fs::read_to_string(self.path("keys.toml")).unwrap();
        for value in file.split('"').skip(1).step_by(2).chain([CANARY]) {
            assert!(!text.contains(value), "{text}");
        }
    }
}

async fn metrics(port: u16) -> String {
    get(port, "/metrics").await.map_or_else(String::new, |(_, text)| text)
}

async fn until(port: u16, what: &str) {
    scene::until(what, || async { metrics(port).await.lines().any(|line| line == what) }).await;
}

/// Its exit code and what it logged.
async fn end(child: Child) -> (Option<i32>, String) {
    let (status, log) = scene::end(child).await;
    (status.code(), log)
}

fn sealed(key: &str, count: usize) -> String {
    format!("vestibule_sealed_records{{key=\"{key}\"}} {count}")
}

/// add, promote, seal anew, retire; a key in use is refused, with how much needs it.
#[tokio::test]
async fn a_ring_is_rotated_by_hand() {
    let scene = Scene::shared().await;
    let ids = scene.stored(5).await;
    fs::set_permissions(scene.path("keys.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    let old = scene.ring()[0].clone();

    let said = scene.run(&["keys", "rotate"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let new = scene.ring()[1].clone();
    assert!(said.out.contains(&format!("keys promote {new}")), "{said:?}");
    assert_eq!(scene.ring(), [&*old, &*new], "it opens, and seals nothing yet");
    let mode = fs::metadata(scene.path("keys.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "the mode is kept");
    let left = fs::read_dir(scene.dir.path()).unwrap().count();
    assert_eq!(left, 3, "the key file, the secret and the configuration");

    let refused = scene.run(&["keys", "retire", &old]).await;
    assert!(refused.code == 1 && refused.err.contains("the one that seals"), "{refused:?}");
    let promoted = scene.json(&["keys", "promote", &new]).await;
    assert_eq!(promoted["ring"], json!([new, old]));
    let refused = scene.run(&["keys", "retire", &old]).await;
    assert!(refused.code == 1 && refused.err.contains("5 secrets"), "{refused:?}");
    assert_eq!(scene.ring().len(), 2);
    let unknown = scene.run(&["keys", "retire", CANARY]).await;
    assert!(unknown.code == 1 && !unknown.err.contains(CANARY), "{unknown:?}");

    let status = scene.json(&["keys", "status"]).await;
    assert_eq!((&status["behind"], &status["ring"][1]["secrets"]), (&json!(5), &json!(5)));
    let dry = scene.json(&["sweep", "reseal", "--dry-run"]).await;
    assert_eq!((&dry["found"], &dry["done"]), (&json!(5), &json!(0)), "{dry}");
    let done = scene.json(&["keys", "reseal"]).await;
    assert_eq!(done, json!({ "primary": new, "done": 5, "behind": 0, "errors": 0 }));

    // A record that lives for a while needs its key too, and is not sealed anew.
    let pendings: Pendings<String> = scene.vestibule().await.pendings(PendingsConfig::default());
    let namespace = Namespace::new("alice").unwrap();
    let pending = pendings.create(&namespace, &Spec::new("form", String::new())).await.unwrap();
    let refused = scene.run(&["keys", "retire", &old]).await;
    assert!(refused.code == 1 && refused.err.contains("1 records that live"), "{refused:?}");
    let mut raw = server::shared().await.raw().await;
    let _: () = raw.del(scene.names.pending(pending.id)).await.unwrap();

    let retired = scene.run(&["keys", "retire", &old.to_uppercase()]).await;
    assert_eq!(retired.code, 0, "{retired:?}");
    assert_eq!(scene.ring(), [&*new]);
    assert!(scene.all_open(&ids).await);
    for said in [&said, &refused, &retired] {
        scene.no_key_in(&format!("{said:?}"));
    }

    let at_once = scene.json(&["keys", "rotate", "--at-once"]).await;
    assert_eq!(at_once["ring"][1], json!(new));
}

/// Bad input: what does not open keeps its key in use, and ends no command that waits for it; without a
/// file there is nothing to change.
#[tokio::test]
async fn what_does_not_open_keeps_its_key() {
    let scene = Scene::shared().await;
    let ids = scene.stored(3).await;
    let old = scene.ring()[0].clone();
    let mut raw = server::shared().await.raw().await;
    let _: () = raw.hset(scene.names.connection(&ids[0]), "secret", "x").await.unwrap();
    scene.json(&["keys", "rotate", "--at-once"]).await;
    let said = timeout(PATIENCE, scene.run(&["keys", "reseal"])).await.expect("it ends");
    assert!(said.code == 1 && said.out.contains("2 secrets sealed anew"), "{said:?}");
    assert!(said.out.contains("1 are not"), "{said:?}");
    let named = scene.run(&["sweep", "reseal"]).await;
    assert!(named.code == 1 && named.err.contains(ids[0].as_str()), "{named:?}");
    let refused = scene.run(&["keys", "retire", &old]).await;
    assert!(refused.code == 1 && refused.err.contains("1 secrets"), "{refused:?}");

    let mut command = scene.command(&["keys", "rotate"]);
    command.env("VESTIBULE_KEYS", fs::read_to_string(scene.path("keys.toml")).unwrap());
    let said = scene::said(command).await;
    assert!(said.code == 1 && said.err.contains("only a file"), "{said:?}");
    scene.no_key_in(&format!("{said:?}"));
}

/// a worker whose ring lacks a key that is in use does not start, and says how many secrets need it;
/// so does `doctor`.
#[tokio::test]
async fn a_worker_without_a_key_in_use_does_not_start() {
    let scene = Scene::shared().await;
    scene.stored(4).await;
    let (old, text) = (scene.ring()[0].clone(), Keys::generate_toml());
    let mine = fs::read_to_string(scene.path("keys.toml")).unwrap();
    let ring = |text: &str| text[text.find("ring = ").unwrap()..].to_owned();
    fs::write(scene.path("keys.toml"), mine.replace(&ring(&mine), &ring(&text))).unwrap();
    let (code, log) = end(scene.sweeping("off").spawn().unwrap()).await;
    assert!(code == Some(1) && log.contains(&old) && log.contains("4 secrets"), "{log}");
    scene.no_key_in(&log);
    let said = scene.run(&["doctor"]).await;
    assert!(said.code == 1 && said.out.contains(&format!("{old} (4 records)")), "{said:?}");

    let port = free_port();
    let mut command = scene.sweeping(&format!("127.0.0.1:{port}"));
    let child = command.arg("--allow-missing-keys").spawn().unwrap();
    until(port, &sealed("unknown", 4)).await;
    signal(&child, "TERM");
    assert_eq!(end(child).await.0, Some(0));
}

/// X-9, and hot reload: a worker takes another ring and other connectors while it runs; one sweep later
/// the old key's gauge is 0. What cannot be used changes nothing.
#[tokio::test]
async fn a_running_worker_takes_another_ring() {
    let scene = Scene::shared().await;
    let ids = scene.stored(6).await;
    let (old, port) = (scene.ring()[0].clone(), free_port());
    let child = scene.sweeping(&format!("127.0.0.1:{port}")).spawn().unwrap();
    until(port, &sealed(&old, 6)).await;

    scene.json(&["keys", "rotate"]).await;
    let new = scene.ring()[1].clone();
    signal(&child, "HUP");
    until(port, &sealed(&new, 0)).await;
    scene.json(&["keys", "promote", &new]).await;
    signal(&child, "HUP");
    until(port, &sealed(&old, 0)).await;
    until(port, &sealed(&new, 6)).await;
    until(port, "vestibule_reloads_total{outcome=\"reloaded\"} 2").await;

    // A file that is none, one of another database, one without the key that is in use; then a connector
    // that is none.
    let good = fs::read_to_string(scene.path("keys.toml")).unwrap();
    let config = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let without = good.lines().filter(|line| !line.contains(&new)).collect::<Vec<_>>().join("\n");
    let nonsense = config.replace("slug = \"demo\"", "slug = \"demo\"\nnonsense = \"hunter2\"");
    let other = Keys::generate_toml();
    let bad = [
        ("keys.toml", "ring = 5"),
        ("keys.toml", &**other),
        ("keys.toml", &*without),
        ("vestibule.toml", &*nonsense),
    ];
    for (failed, (name, text)) in bad.iter().enumerate() {
        fs::write(scene.path(name), text).unwrap();
        signal(&child, "HUP");
        let count = failed + 1;
        until(port, &format!("vestibule_reloads_total{{outcome=\"failed\"}} {count}")).await;
        fs::write(scene.path("keys.toml"), &good).unwrap();
    }
    assert!(metrics(port).await.contains(&sealed(&new, 6)));

    // What is due is refreshed by the worker as it was.
    let more = "\n[[connectors]]\nslug = \"weather\"\nauth = \"api_key\"\n";
    fs::write(scene.path("vestibule.toml"), format!("{config}{more}")).unwrap();
    let retired = scene.run(&["keys", "retire", &old]).await;
    assert_eq!(retired.code, 0, "{retired:?}");
    signal(&child, "HUP");
    until(port, "vestibule_reloads_total{outcome=\"reloaded\"} 3").await;
    until(port, "vestibule_worker_ready 1").await;
    signal(&child, "TERM");
    let (code, log) = end(child).await;
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let said = |what: &str| {
        let of = |line: &&Value| line["message"].as_str().unwrap_or_default().contains(what);
        lines.iter().filter(of).cloned().collect::<Vec<_>>()
    };
    let refused = said("not reloaded");
    for (line, tells) in refused.iter().zip(["line 1", "naming_key", "6 secrets", "nonsense"]) {
        assert!(line["error"].as_str().unwrap().contains(tells), "{line}");
    }
    assert_eq!((refused.len(), said("sweeping").len()), (4, 1), "one process, to the end");
    assert_eq!(said("reloaded the key ring").last().unwrap()["connectors"], 2);
    scene.no_key_in(&log);
    assert!(!log.contains("hunter2") && scene.all_open(&ids).await);
}
