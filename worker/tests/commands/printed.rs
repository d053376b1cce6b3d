//! What each command prints, and its exit code, as it was when somebody last looked at it: a Redis
//! with something of everything, asked as an operator asks it.

use std::{collections::BTreeSet, fs};

use clap::CommandFactory;
use redis::AsyncCommands;
use vestibule::store::SweepName;
use vestibule_worker::cli::Cli;

use super::{
    canary,
    golden::{self, expect},
    scene::{CANARY, Ids, Scene, now_ms, said, worker},
};
use crate::support::server;

/// What is no text to look at: logs, a play, and a script for a shell.
const NOT_PINNED: [&str; 4] = ["run", "demo", "demo-replica", "completions"];

/// A command that nobody has looked at fails here.
#[test]
fn every_command_has_been_looked_at() {
    let files = fs::read_dir(golden::dir()).unwrap().map(|file| file.unwrap().path());
    let mut pinned = BTreeSet::new();
    for file in files {
        pinned.insert(file.file_stem().unwrap().to_str().unwrap().replace('_', " "));
        let text = fs::read_to_string(file).unwrap();
        pinned.extend(text.lines().filter_map(|line| line.strip_prefix("== ")).map(str::to_owned));
    }
    let is_pinned = |command: &str| {
        let rest = pinned.iter().filter_map(|typed| typed.strip_prefix(command));
        rest.into_iter().any(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    assert!(is_pinned("keys rotate") && !is_pinned("keys rot") && !is_pinned("new"));
    for command in canary::commands() {
        let command = command.join(" ");
        let is_apart = NOT_PINNED.contains(&&*command);
        assert!(is_pinned(&command) != is_apart, "`{command}` has no golden output, or needs none");
    }
}

/// The exit codes of the manual are those of the help; each that a command by hand can have was seen.
#[test]
fn the_exit_codes_are_those_of_the_manual() {
    let codes = |text: &str| -> BTreeSet<u8> {
        text.split([' ', '\n']).filter_map(|word| word.parse().ok()).collect()
    };
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let manual = fs::read_to_string(format!("{root}/docs/operations.md")).unwrap();
    let table = manual.split("| exit code |").nth(1).unwrap().split("\n\n").next().unwrap();
    let rows: Vec<_> = table.lines().filter_map(|line| line.strip_prefix("| ")).collect();
    let told: BTreeSet<u8> = rows.iter().flat_map(|row| codes(&row[..3])).collect();
    let help = Cli::command().render_help().to_string();
    assert_eq!(codes(help.split("Exit codes:").nth(1).unwrap()), told);
    let read = |file: &str| fs::read_to_string(golden::dir().join(file)).unwrap();
    let seen = read("changes.txt") + &read("help.txt");
    let seen = seen.lines().filter_map(|line| line.strip_prefix("exit code "));
    let seen: BTreeSet<u8> = seen.flat_map(codes).collect();
    // 130 is for who stops a worker.
    assert_eq!(seen, [0, 1, 2, 3].into());
    assert_eq!(told, [0, 1, 2, 3, 130].into());
}

/// Types them one after the other. The log of a sweep is not what it prints.
async fn typed(scene: &Scene, commands: &[&[&str]]) -> String {
    let mut all = String::new();
    for args in commands {
        let said = scene.run(args).await;
        let err = if args[0] == "sweep" { "" } else { &*said.err };
        all += &format!("== {}\n{}{err}", args.join(" "), said.out);
        if said.code != 0 {
            all += &format!("exit code {}\n", said.code);
        }
    }
    let secrets = fs::read_to_string(scene.path("keys.toml")).unwrap();
    for secret in secrets.split('"').skip(1).step_by(2).chain([CANARY]) {
        assert!(!all.contains(secret), "{secret}");
    }
    all
}

async fn populated() -> (Scene, Ids) {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    (scene, ids)
}

/// what only looks, for people.
#[tokio::test]
async fn what_looks_prints_what_it_did() {
    let (scene, ids) = populated().await;
    let (waited, cancelled) = (ids.waited.to_string(), ids.cancelled.to_string());
    let token = ids.token.to_string();
    let none = "00".repeat(32);
    let all: [(&str, &[&[&str]]); 8] = [
        (
            "events",
            &[
                &["events"],
                &["events", "--since", "1h", "--limit", "2"],
                &["events", "--connection", ids.revoked.as_str()],
                &["events", "--connection", ids.unsigned.as_str()],
                &["events", "--since", "soon"],
            ],
        ),
        ("waiters", &[&["waiters", &waited], &["waiters", &cancelled], &["waiters", &none]]),
        (
            "key",
            &[
                &["key", ids.active.as_str()],
                &["key", &waited],
                &["key", &token],
                &["key", &ids.live_state],
                &["key", "demo"],
                &["key", "other"],
            ],
        ),
        ("doctor", &[&["doctor"]]),
        ("keys_status", &[&["keys", "status"]]),
        ("top", &[&["top", "--once"]]),
        ("config_check", &[&["config", "check"]]),
        ("acl", &[&["acl"], &["acl", "--role", "inspector", "--user", "eve", "--client-info"]]),
    ];
    for (name, commands) in all {
        expect(name, &typed(&scene, commands).await, &scene, &ids);
    }
}

/// The same for programs.
#[tokio::test]
async fn what_looks_has_the_shape_it_had() {
    let (scene, ids) = populated().await;
    let waited = ids.waited.to_string();
    let all = typed(
        &scene,
        &[
            &["show", ids.held.as_str(), "--json"],
            &["why", ids.failing.as_str(), "--json"],
            &["events", "--connection", ids.revoked.as_str(), "--json"],
            &["waiters", &waited, "--json"],
            &["key", "demo", "--json"],
            &["keys", "status", "--json"],
            &["sweep", "reseal", "--dry-run", "--json"],
            &["show", &"00".repeat(17), "--json"],
            &["show", "no such id!", "--json"],
        ],
    )
    .await;
    expect("json", &all, &scene, &ids);
    let mut json = scene.json(&["doctor"]).await;
    // Of what is well there is as much as the server tells.
    json["findings"].as_array_mut().unwrap().retain(|finding| finding["level"] != "ok");
    expect("doctor_json", &format!("== doctor --json\n{json:#}\n"), &scene, &ids);
}

/// What changes something, and what it says of what is done already, or cannot be.
#[tokio::test]
async fn what_changes_something_prints_what_it_did() {
    let (scene, ids) = populated().await;
    let (waited, token) = (ids.waited.to_string(), ids.token.to_string());
    let (exhausted, none) = (ids.exhausted.as_str(), "00".repeat(32));
    let all = typed(
        &scene,
        &[
            &["revoke", &waited],
            &["cancel", &waited],
            &["cancel", &waited],
            &["cancel", &none],
            &["cancel", "demo"],
            &["refresh", ids.overdue.as_str()],
            &["resume", "demo"],
            &["resume", "demo"],
            &["refresh", ids.overdue.as_str()],
            &["refresh", ids.overdue.as_str()],
            &["refresh", ids.held.as_str()],
            &["refresh", ids.failing.as_str()],
            &["refresh", ids.unsigned.as_str()],
            &["retry", exhausted],
            &["retry", exhausted],
            &["retry", ids.revoked.as_str()],
            &["retry", &"00".repeat(17)],
            &["revoke", ids.active.as_str(), "--reason", "left the company"],
            &["revoke", ids.active.as_str()],
            &["revoke", &token],
            &["revoke", &token],
            &["revoke", &none],
            &["revoke", "demo"],
        ],
    )
    .await;
    expect("changes", &all, &scene, &ids);
}

/// A rotation, step by step, with what is refused on the way.
#[tokio::test]
async fn a_rotation_prints_what_it_did() {
    let (scene, ids) = populated().await;
    let old = scene.keys.ring.key_ids().next().unwrap().to_string();
    let mut all = typed(&scene, &[&["keys", "retire", &old], &["keys", "rotate"]]).await;
    let new = scene.json(&["keys", "status"]).await["ring"][1]["id"].as_str().unwrap().to_owned();
    all += &typed(
        &scene,
        &[
            &["keys", "status"],
            &["keys", "promote", &new],
            &["keys", "retire", &old],
            &["sweep", "reseal", "--dry-run"],
            &["keys", "reseal"],
            &["keys", "reseal"],
            &["keys", "retire", &old],
            &["keys", "retire", "00000000"],
            &["keys", "status"],
        ],
    )
    .await;
    expect("rotation", &all, &scene, &ids);
}

/// Each sweep: what there is to do, that it is done, and that nothing is left; and why it is not.
#[tokio::test]
async fn a_sweep_prints_what_it_did() {
    let (scene, ids) = populated().await;
    let mut raw = server::shared().await.raw().await;
    let (id, now) = (ids.active.as_str(), now_ms(&mut raw).await);
    assert_eq!(scene.run(&["orphan", id]).await.code, 0);
    let long_ago = now - 31 * 86_400_000;
    let key = scene.names.connection(&ids.active);
    let _: () = raw.hset(key, "status_at", long_ago).await.unwrap();
    let orphans = scene.names.orphans(ids.active.shard());
    let _: () = raw.zadd(orphans, format!("conn:{id}"), long_ago).await.unwrap();
    let index = scene.names.tokens(ids.token.shard(), ids.token.index());
    let _: () = raw.zadd(index, "00112233445566778899aabbccddeeff", 1).await.unwrap();
    assert_eq!(scene.run(&["keys", "rotate", "--at-once"]).await.code, 0);
    let held = scene.names.sweep(ids.active.shard(), SweepName::Orphans);
    let turn = [("holder", "another"), ("lease_ends_at", &(now + 600_000).to_string())];
    let _: () = raw.hset_multiple(&held, &turn).await.unwrap();
    let mut all = typed(&scene, &[&["sweep", "orphans", "--dry-run"], &["sweep", "orphans"]]).await;
    let _: () = raw.del(&held).await.unwrap();
    all += &typed(
        &scene,
        &[
            &["sweep", "orphans"],
            &["sweep", "orphans"],
            &["sweep", "expired", "--dry-run"],
            &["sweep", "expired"],
            &["sweep", "reseal", "--dry-run"],
            &["sweep", "reseal"],
            &["sweep", "reseal", "--json"],
            &["sweep", "everything"],
        ],
    )
    .await;
    let text = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let off = format!("{text}\n[sweeps]\norphan_retention_days = 0\n");
    fs::write(scene.path("vestibule.toml"), off).unwrap();
    all += &typed(&scene, &[&["sweep", "orphans"]]).await;
    expect("sweep", &all, &scene, &ids);
}

/// Without a Redis: the help with the exit codes, what is missing, and a key file that is made.
#[tokio::test]
async fn the_help_says_what_it_did() {
    let (scene, ids) = populated().await;
    let keys = scene.path("new.toml").display().to_string();
    let mut all = String::new();
    for args in [
        &["--help"][..],
        &["keygen", "--out", &keys],
        &["keygen", "--out", &keys],
        &["ls", "due"],
        &["keys", "status"],
        &["cancel", &"00".repeat(32), "--redis", "redis://127.0.0.1:1"],
        &["show", "demo", "--redis", "http://127.0.0.1:1"],
    ] {
        let said = said(worker(args)).await;
        all += &format!("== {}\n{}{}exit code {}\n", args.join(" "), said.out, said.err, said.code);
    }
    expect("help", &all, &scene, &ids);
}
