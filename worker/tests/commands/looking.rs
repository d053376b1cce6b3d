//! What only looks: lists, records, sentences, keys. Without any key.

use std::{collections::BTreeSet, time::Duration};

use redis::aio::MultiplexedConnection;

use super::{
    golden::expect,
    scene::{CANARY, PATIENCE, Scene},
};
use crate::support::server::{self, TestServer};

/// every list, every record and every story is as it was when somebody last looked at it; the
/// same as JSON; and never a secret, nor what a user brought.
#[tokio::test]
async fn everything_is_shown_and_no_secret() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let mut raw = server::shared().await.raw().await;
    let mut all = String::new();
    for what in ["pendings", "tokens", "states", "connections", "due", "leases", "connectors"] {
        scene.renew(&mut raw, &ids).await;
        let said = scene.look(&["ls", what]).await;
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{what}: {said:?}");
        expect(&format!("ls_{what}"), &said.out, &scene, &ids);
        let json = scene.json(&["ls", what]).await;
        assert!(json["now_ms"].is_u64(), "{json}");
        all += &format!("{}{json}", said.out);
    }
    let subjects = [
        ("waited", ids.waited.to_string()),
        ("cancelled", ids.cancelled.to_string()),
        ("token", ids.token.to_string()),
        ("revoked_token", ids.revoked_token.to_string()),
        ("dropped_token", ids.dropped_token.to_string()),
        ("active", ids.active.to_string()),
        ("overdue", ids.overdue.to_string()),
        ("unsigned", ids.unsigned.to_string()),
        ("exhausted", ids.exhausted.to_string()),
        ("revoked", ids.revoked.to_string()),
        ("held", ids.held.to_string()),
        ("failing", ids.failing.to_string()),
        ("deleted", ids.deleted.to_string()),
        ("live_state", ids.live_state.clone()),
        ("taken_state", ids.taken_state.clone()),
        ("connector", "demo".to_owned()),
    ];
    let mut whys = String::new();
    let mut shows = String::new();
    for (name, id) in &subjects {
        scene.renew(&mut raw, &ids).await;
        let why = scene.look(&["why", id]).await;
        assert_eq!((why.code, why.err.as_str()), (0, ""), "{name}: {why:?}");
        whys += &format!("== {name}\n{}", why.out);
        let show = scene.look(&["show", id]).await;
        assert_eq!(show.code, 0, "{name}: {show:?}");
        shows += &format!("== {name}\n{}", show.out);
        let json = scene.json(&["why", id]).await;
        assert!(json["state"][0].is_string(), "{json}");
        let json = scene.json(&["show", id]).await;
        assert!(json["record"].is_object(), "{json}");
        let key = scene.look(&["key", id]).await;
        assert!(key.code == 0 && key.out.starts_with(&format!("{}:{{", scene.prefix)), "{key:?}");
        all += &format!("{}{}{json}", why.out, show.out);
    }
    expect("why", &whys, &scene, &ids);
    let secrets = std::fs::read_to_string(scene.path("keys.toml")).unwrap();
    let secrets = secrets.split('"').skip(1).step_by(2).chain([CANARY]);
    for secret in secrets {
        assert!(!all.contains(secret), "{secret}");
    }
    // Of a show only the names of the fields are pinned: values are told by `why`.
    let names: Vec<_> = shows.lines().map(|line| line.split(": ").next().unwrap()).collect();
    expect("show", &names.join("\n"), &scene, &ids);
}

/// The connectors of the file are listed with what is kept of them, or nothing; without a file only the
/// latter.
#[tokio::test]
async fn the_connectors_of_the_file_are_listed() {
    let scene = Scene::shared().await;
    drop(scene.vestibule().await);
    let none = scene.look(&["ls", "connectors"]).await;
    assert!(none.code == 0 && none.out.starts_with("No connector has"), "{none:?}");
    scene.populate(server::shared().await).await;
    let text = std::fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    // Whose secret is not at hand: who looks has none.
    let more = "\n[[connectors]]\nslug = \"alpha\"\nwell_known = \"github\"\nclient_id = \"c\"\n\
                client_secret_env = \"NOT_SET_AT_ALL\"\n";
    std::fs::write(scene.path("vestibule.toml"), text + more).unwrap();
    let rows = scene.json(&["ls", "connectors"]).await["rows"].as_array().unwrap().clone();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (row["slug"].as_str().unwrap(), row["paused"].as_bool().unwrap()))
        .collect();
    assert_eq!(rows, [("alpha", false), ("demo", true)]);
}

/// What happened to it last is a part of where it stands; and an orphan is told the retention of the
/// file, where there is one.
#[tokio::test]
async fn a_story_has_the_last_events_and_the_files_retention() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let id = ids.active.as_str();
    for _ in 0..4 {
        assert_eq!(scene.run(&["orphan", id]).await.code, 0);
        assert_eq!(scene.run(&["restore", id]).await.code, 0);
    }
    assert_eq!(scene.run(&["orphan", id, "--reason", "left_the_group"]).await.code, 0);
    let json = scene.json(&["why", id]).await;
    let told = json["history"].as_array().unwrap().last().unwrap().as_str().unwrap();
    assert!(told.starts_with("On record, the newest last: "), "{json}");
    let events: Vec<_> = told.split(": ").nth(1).unwrap().split("; ").collect();
    assert_eq!(events.len(), 5, "{told}");
    assert!(events[4].contains("by operator"), "{told}");
    assert!(!told.contains("connect completed") && !told.contains(CANARY), "{told}");

    let text = std::fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    for (days, says) in [(7, "retention of 7 days"), (0, "kept for ever"), (-1, "kept for ever")] {
        let sweeps = format!("\n[sweeps]\norphan_retention_days = {days}\n");
        std::fs::write(scene.path("vestibule.toml"), format!("{text}{sweeps}")).unwrap();
        let why = scene.run(&["why", id]).await;
        assert!(why.out.contains(says), "{why:?}");
    }
    assert!(scene.look(&["why", id]).await.out.contains("(30 days, unless"));
}

/// What asks for one owner, namespace, scope or resource finds exactly that.
#[tokio::test]
async fn lists_find_by_name() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let rows = async |args: &[&str]| {
        let json = scene.json(args).await;
        let rows = json["rows"].as_array().unwrap_or_else(|| panic!("{json}")).clone();
        rows.into_iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(rows(&["ls", "connections", "--owner", CANARY]).await.len(), 7);
    assert!(rows(&["ls", "connections", "--owner", "nobody"]).await.is_empty());
    assert_eq!(
        rows(&["ls", "connections", "--status", "exhausted"]).await,
        [ids.exhausted.as_str()]
    );
    assert!(rows(&["ls", "connections", "--connector", "other"]).await.is_empty());
    let waited = ids.waited.to_string();
    assert_eq!(rows(&["ls", "pendings", "--namespace", CANARY]).await, [waited.as_str()]);
    assert_eq!(rows(&["ls", "tokens", "--scope", "mcp_auth"]).await, [ids.token.to_string()]);
    assert!(rows(&["ls", "tokens", "--scope", "mcp"]).await.is_empty());
    let args = ["ls", "tokens", "--scope", "mcp_auth", "--resource", "flow-1"];
    assert_eq!(rows(&args).await, [ids.token.to_string()]);

    // Page by page is all of it.
    let mut seen = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let mut args = vec!["ls", "connections", "--limit", "1"];
        if let Some(cursor) = &cursor {
            args.extend(["--after", cursor]);
        }
        let json = scene.json(&args).await;
        let rows = json["rows"].as_array().unwrap().clone();
        seen.extend(rows.into_iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        match json["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 8, "the deleted one too");

    // A name that stands in Redis as a digest only needs the key file.
    let said = scene.look(&["ls", "connections", "--owner", CANARY]).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("--keys") && !said.err.contains(CANARY), "{said:?}");
}

/// Nothing there is 3, a wrong id 2, no Redis 1; the reason is on standard error, and as JSON.
#[tokio::test]
async fn exit_codes_tell_what_happened() {
    let scene = Scene::shared().await;
    let connection = "00".repeat(17);
    let other = "00".repeat(32);
    for command in ["show", "why"] {
        for id in [&connection, &other, &"00".repeat(16)] {
            let said = scene.look(&[command, id]).await;
            assert_eq!((said.code, said.out.as_str()), (3, ""), "{said:?}");
            assert!(said.err.contains("there is no"), "{said:?}");
        }
    }
    drop(scene.vestibule().await);
    for args in
        [["cancel", &other], ["revoke", &connection], ["retry", &connection], ["waiters", &other]]
    {
        let said = scene.run(&args).await;
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{args:?}: {said:?}");
    }
    for args in [
        &["show", "no such id!"][..],
        &["why", "pending:zz"],
        &["cancel", &connection],
        &["retry", &other],
        &["ls", "everything"],
        &["ls", "due", "--limit", "0"],
        &["resume", "A B"],
        &["acl", "--role", "worker", "--hash", "zz"],
        &[],
    ] {
        assert_eq!(scene.look(args).await.code, 2, "{args:?}");
    }
    let secret = format!("vtt_{}{}", "0".repeat(32), "A".repeat(43));
    let said = scene.look(&["show", &secret]).await;
    assert!(said.code == 2 && !said.err.contains("AAAA"), "{said:?}");

    let mut away = super::scene::worker(&["ls", "due", "--json"]);
    away.args(["--redis", "redis://:hunter2@127.0.0.1:1"]);
    let said = super::scene::said(away).await;
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, json["error"].as_str()), (1, Some("error")), "{said:?}");
    assert!(!said.out.contains("hunter2"), "{said:?}");
}

/// Every shell's completions name every command.
#[tokio::test]
async fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = super::scene::said(super::scene::worker(&["completions", shell])).await;
        assert_eq!(said.code, 0, "{said:?}");
        for command in ["doctor", "why", "waiters", "connections", "keygen"] {
            assert!(said.out.contains(command), "{shell}: {command}");
        }
    }
}

/// On a Cluster of two primaries lists walk both, and a cursor goes on at the right one.
#[tokio::test]
async fn every_node_of_a_cluster_is_walked() {
    let (a, b) = (TestServer::builder().start().await, TestServer::builder().start().await);
    let (mut first, mut second) = (a.raw().await, b.raw().await);
    let cluster = async |raw: &mut MultiplexedConnection, words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        let said: String = redis::cmd("CLUSTER").arg(words).query_async(raw).await.unwrap();
        said
    };
    cluster(&mut first, "DELSLOTSRANGE 8192 16383").await;
    cluster(&mut second, "DELSLOTSRANGE 0 8191").await;
    let mut bus = redis::cmd("CONFIG");
    bus.arg("GET").arg("cluster-port");
    let (_, bus): (String, u16) = bus.query_async(&mut second).await.unwrap();
    cluster(&mut first, &format!("MEET 127.0.0.1 {} {bus}", b.port())).await;
    let together = async {
        for raw in [&mut first, &mut second] {
            loop {
                let info = cluster(raw, "INFO").await;
                if info.contains("cluster_state:ok") && info.contains("cluster_size:2") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, together).await.expect("they are one");

    let scene = Scene::on(&a.cluster_url()).await;
    let host = scene.host().await;
    for owner in 0..40 {
        host.create(&format!("owner-{owner}"), "demo").await.unwrap();
    }
    let sizes = [&mut first, &mut second]
        .map(async |raw| redis::cmd("DBSIZE").query_async::<u64>(raw).await.unwrap());
    for size in sizes {
        assert!(size.await > 10, "both have some");
    }
    let (mut seen, mut cursor) = (BTreeSet::new(), None::<String>);
    loop {
        let mut args = vec!["ls", "connections", "--limit", "1"];
        args.extend(cursor.iter().flat_map(|cursor| ["--after", cursor]));
        let json = scene.json(&args).await;
        for row in json["rows"].as_array().unwrap_or_else(|| panic!("{json}")) {
            seen.insert(row["id"].as_str().unwrap().to_owned());
        }
        match json["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(seen.len(), 40);
    assert_eq!(scene.run(&["doctor"]).await.code, 0);
}
