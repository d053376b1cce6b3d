//! Nothing secret is in what the worker says: canaries are in every record, file and variable that it
//! reads, and in what a provider and a receiver answer. Each command runs, and a worker goes through
//! refreshes, refusals, reloads and an outage to its end; everything is logged; and then nobody finds
//! one, in whatever way it could be written. (MessagePack, as what is sealed is, has texts as they are.)

mod echo;
mod planted;
#[allow(dead_code, unreachable_pub, reason = "shared with the library's tests")]
#[path = "../../../tests/it/canary/search.rs"]
mod search;

use std::{collections::BTreeSet, fs};

use clap::CommandFactory;
use futures_util::future::join_all;
use redis::AsyncCommands;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    task::JoinHandle,
    time::timeout,
};
use vestibule_worker::cli::Cli;

use self::{
    echo::MOODS,
    planted::Planted,
    search::{Canary, Kind, Place, hits},
};
use crate::{
    scene::{Ids, PATIENCE, get, said, signal, until, worker},
    support::server::free_port,
};

/// The commands, as they are typed.
pub(super) fn commands() -> Vec<Vec<String>> {
    fn leaves(command: &clap::Command, typed: &[String], found: &mut Vec<Vec<String>>) {
        let mut inner = command.get_subcommands().peekable();
        if inner.peek().is_none() {
            found.push(typed.to_vec());
        }
        for command in inner {
            leaves(command, &[typed, &[command.get_name().to_owned()]].concat(), found);
        }
    }
    let mut found = Vec::new();
    leaves(&Cli::command(), &[], &mut found);
    // What is done by hand meets the provider before a worker does.
    found.sort_by_key(|typed| typed[0] == "run");
    found
}

/// What is typed behind a command, in turn; nothing else than that where it is not run. A command that
/// nobody thought of fails the test.
fn arguments(command: &[&str], ids: &Ids, more: &[String]) -> Vec<Vec<String>> {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let of_all = || {
        let named = ids.named().into_iter().map(|(id, _)| id);
        let all = named.chain(more.iter().cloned()).chain(["connector:mine".to_owned()]);
        all.map(|id| vec![id]).collect::<Vec<_>>()
    };
    match command {
        // They make all their secrets themselves, and a Redis of their own.
        ["demo" | "demo-replica"] => vec![],
        ["run"] => vec![own(&["--once"]), own(&["--once", "--log", "json"])],
        ["sweep"] => {
            let names = ["orphans", "expired", "reseal", "events", "history"];
            names.map(|name| own(&[name, "--log", "plain"])).into()
        }
        // Without a file it prints them, as it should.
        ["keygen"] => vec![own(&["--out", "new.toml"])],
        ["ls", "connections"] => vec![own(&[]), own(&["--owner", crate::scene::CANARY])],
        ["ls", "pendings"] => vec![own(&[]), own(&["--namespace", crate::scene::CANARY])],
        ["ls", _] | ["doctor" | "acl"] | ["config", "check"] => vec![own(&[])],
        ["show" | "why"] => of_all(),
        ["key" | "waiters"] => of_all().into_iter().step_by(4).collect(),
        ["cancel"] => vec![own(&[&ids.waited.to_string()])],
        ["revoke"] => vec![own(&[&ids.token.to_string()]), own(&[ids.held.as_str()])],
        ["refresh" | "retry"] => more[..MOODS.len()].iter().map(|id| own(&[id])).collect(),
        ["orphan" | "restore"] => {
            vec![own(&[ids.exhausted.as_str()]), own(&[&more[more.len() - 1]])]
        }
        ["events"] => vec![own(&["--limit", "1000"])],
        ["top"] => vec![own(&["--once"])],
        ["resume"] => vec![own(&["mine"]), own(&["other"]), own(&["demo"])],
        ["keys", "status" | "reseal"] => vec![own(&[])],
        ["keys", "rotate"] => vec![own(&[]), own(&["--at-once"])],
        ["keys", "promote" | "retire"] => vec![own(&["00000000"])],
        ["completions"] => vec![own(&["bash"])],
        _ => panic!("{command:?} is new: say how it is run here"),
    }
}

/// K-4: each command, for people and for programs, its help and its refusals.
#[tokio::test]
async fn no_canary_is_in_what_a_command_prints() {
    let mut planted = Planted::new().await;
    let mut places = Vec::new();
    for command in commands() {
        let typed: Vec<&str> = command.iter().map(String::as_str).collect();
        let tails = arguments(&typed, &planted.ids, &planted.more_ids);
        for tail in &tails {
            for json in [&[][..], &["--json"]] {
                let tail: Vec<_> = tail.iter().map(String::as_str).collect();
                let printed = print(&planted, &[&*typed, &*tail, json].concat()).await;
                places.extend(printed);
                planted.remember_keys("keys.toml");
            }
        }
        let keys = fs::read_to_string(planted.scene.path("keys.toml")).unwrap();
        let wrong = wrong(&planted, tails.is_empty());
        let refused = join_all(wrong.iter().map(async |wrong| {
            let tail = tails.first().into_iter().flatten().map(String::as_str);
            let args: Vec<_> = typed.iter().copied().chain(tail).chain([&**wrong]).collect();
            let mut command = worker(&args);
            command.env("VESTIBULE_KEYS", &keys);
            printed(&planted, command, &args).await
        }));
        places.extend(refused.await.into_iter().flatten());
    }
    planted.remember_keys("new.toml");
    // What pauses a connector keeps others of its moods from being met.
    let seen = planted.echo.seen();
    assert!(["good", "refuse", "stop", "break"].iter().all(|it| seen.contains(it)), "{seen:?}");
    assert!(places.len() > 400 && planted.canaries.len() > 40, "{}", places.len());
    expect_none(&places, &planted.canaries);

    // The search can find: what stands where it is shown is found, in each form.
    let control = Canary::fresh(Kind::Secret, "control");
    let connection = planted.scene.names.connection(&planted.ids.exhausted);
    let id = planted.ids.exhausted.as_str();
    for (form, text) in control.forms() {
        let mut raw = planted.server.raw().await;
        let _: () = raw.hset(&connection, "reason", text).await.unwrap();
        for command in [&["show", id][..], &["show", id, "--json"]] {
            let found = hits(&print(&planted, command).await, std::slice::from_ref(&control));
            assert!(found.iter().any(|hit| hit.contains(&format!("({form})"))), "{command:?}");
        }
    }
    // The doctor here is a service, and tells what it may not see.
    let refused = planted.server.refused();
    assert!(refused.iter().all(|it| it.starts_with("test-library: command ")), "{refused:?}");
}

/// Help, which knows of variables, and what is refused: with secrets in what cannot be used.
fn wrong(planted: &Planted, is_not_run: bool) -> Vec<String> {
    let mut wrong = vec!["--help".to_owned(), "--no-such-thing".to_owned()];
    if !is_not_run {
        let (scene, secret) = (&planted.scene, planted.canaries[0].text());
        wrong.push(format!("--redis=http://:{secret}@h"));
        wrong.push(format!("--redis=redis://u:{secret}@127.0.0.1:1"));
        wrong.push(format!("--keys={}", scene.path("admin").display()));
        wrong.push(format!("--config={}", scene.path("hook").display()));
    }
    wrong
}

async fn print(planted: &Planted, args: &[&str]) -> [Place; 2] {
    printed(planted, planted.scene.configured(args), args).await
}

async fn printed(planted: &Planted, mut command: Command, args: &[&str]) -> [Place; 2] {
    planted.telling_all(&mut command, args);
    command.current_dir(planted.scene.dir.path());
    let said = timeout(4 * PATIENCE, said(command)).await.unwrap_or_else(|_| panic!("{args:?}"));
    let name = args.join(" ");
    [
        Place::new(format!("{name} (out)"), said.out.as_bytes()),
        Place::new(format!("{name} (err)"), said.err.as_bytes()),
    ]
}

/// K-4: a worker that runs, its log in both forms, and all that its port answers to whoever asks.
#[tokio::test]
async fn no_canary_is_in_what_a_running_worker_says() {
    for log in ["json", "plain"] {
        let planted = Planted::new().await;
        let places = live(&planted, log).await;
        expect_none(&places, &planted.canaries);
    }
}

/// A worker that goes through all of it.
async fn live(planted: &Planted, log: &str) -> Vec<Place> {
    let (scene, port) = (&planted.scene, free_port());
    let control = Canary::new(Kind::Secret, "control", format!("canary-{port:x}-instance"));
    let mut command = scene.configured(&["run", "--interval-ms", "50", "--log", log]);
    command.args(["--admin", &format!("127.0.0.1:{port}"), "--instance", control.text()]);
    command.arg("--journal-dir").arg(scene.path("journal"));
    planted.telling_all(&mut command, &["run"]);
    let mut child = command.spawn().unwrap();
    let (out, err) = (all_of(child.stdout.take()), all_of(child.stderr.take()));
    let mut follow = scene.command(&["events", "--follow", "--json"]);
    planted.telling_all(&mut follow, &["events"]);
    let mut following = follow.spawn().unwrap();
    let followed = all_of(following.stdout.take());

    let all: BTreeSet<_> = MOODS.into_iter().chain(["hook"]).collect();
    until("all moods", || async { planted.echo.seen() == all }).await;
    let metric = async |series: &str, least: f64| {
        let (_, text) = get(port, "/metrics").await.unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.is_some_and(|value: f64| value >= least)
    };
    for (series, least) in [
        ("vestibule_refresh_total{connector=\"mine\",outcome=\"fresh\"}", 1.0),
        ("vestibule_needs_reauth_total{connector=\"mine\",reason=\"rejected\"}", 1.0),
        ("vestibule_connector_paused_total{connector=\"other\"}", 1.0),
    ] {
        until(series, || metric(series, least)).await;
    }

    // Reloaded; then with files that are none, and have secrets where they do not belong.
    let [done, failed] = ["reloaded", "failed"]
        .map(|outcome| format!("vestibule_reloads_total{{outcome=\"{outcome}\"}}"));
    signal(&child, "HUP");
    until("reloaded", || metric(&done, 1.0)).await;
    let keys = fs::read_to_string(scene.path("keys.toml")).unwrap();
    let config = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let secret = planted.canaries[0].text();
    let misplaced =
        config.replace("slug = \"mine\"", &format!("slug = \"mine\"\nx = \"{secret}\""));
    let bad = [
        ("keys.toml", keys.replacen('"', "'", 1)),
        ("keys.toml", keys.replacen("= \"", "= \"!", 1)),
        ("keys.toml", keys.repeat(2)),
        ("vestibule.toml", misplaced),
        ("vestibule.toml", config.replace("slug = \"mine\"", &format!("slug = \"{secret}\""))),
        ("vestibule.toml", config.replace("client_id = \"me\"", &format!("client_id = {secret}"))),
    ];
    for (count, (name, text)) in bad.iter().enumerate() {
        fs::write(scene.path(name), text).unwrap();
        signal(&child, "HUP");
        until("refused", || metric(&failed, (count + 1) as f64)).await;
        fs::write(scene.path("keys.toml"), &keys).unwrap();
        fs::write(scene.path("vestibule.toml"), &config).unwrap();
    }

    let mut places = served(planted, port, &control).await;
    planted.server.stop();
    let ready = async || get(port, "/readyz").await.is_some_and(|(status, _)| status == 200);
    until("unready", || async { !ready().await }).await;
    places.extend(served(planted, port, &control).await);
    planted.server.cont();
    until("ready", ready).await;

    signal(&child, "TERM");
    signal(&following, "INT");
    assert_eq!(timeout(2 * PATIENCE, child.wait()).await.unwrap().unwrap().code(), Some(0));
    assert!(timeout(PATIENCE, following.wait()).await.unwrap().unwrap().success());
    let err = Place::new("log", &err.await.unwrap());
    let followed = Place::new("events", &followed.await.unwrap());
    assert!(err.text.contains("TRACE") && err.text.contains("stopped"));
    assert!(followed.text.contains("needs_reauth"), "{}", followed.text);
    // By the worker's user the page is not seen whole, as it says.
    let refused = planted.server.refused();
    assert!(refused.iter().all(|it| it.starts_with("test-worker: command ")), "{refused:?}");
    // The search can find: the replica's name is said.
    assert!(!hits(std::slice::from_ref(&err), &[control]).is_empty());
    places.extend([err, followed, Place::new("out", &out.await.unwrap())]);
    places
}

/// What the port answers: to who has the token, who has none, and who has another.
async fn served(planted: &Planted, port: u16, control: &Canary) -> Vec<Place> {
    let token = fs::read_to_string(planted.scene.path("admin")).unwrap();
    let client = reqwest::Client::new();
    let mut places = Vec::new();
    for path in ["/", "/status", "/status?refresh=off", "/metrics", "/healthz", "/readyz", "/x"] {
        for token in [None, Some("another"), Some(token.trim())] {
            let mut ask = client.get(format!("http://127.0.0.1:{port}{path}"));
            if let Some(token) = token {
                ask = ask.bearer_auth(token);
            }
            let answer = ask.send().await.unwrap();
            let headers = format!("{:?}\n", answer.headers());
            let text = headers + &answer.text().await.unwrap();
            places.push(Place::new(path, text.as_bytes()));
        }
    }
    assert!(!hits(&places, std::slice::from_ref(control)).is_empty(), "it would be found");
    places
}

fn all_of(from: Option<impl AsyncRead + Unpin + Send + 'static>) -> JoinHandle<Vec<u8>> {
    let mut from = from.expect("piped");
    tokio::spawn(async move {
        let mut all = Vec::new();
        from.read_to_end(&mut all).await.unwrap();
        all
    })
}

#[track_caller]
fn expect_none(places: &[Place], canaries: &[Canary]) {
    let hits = hits(places, canaries);
    assert!(hits.is_empty(), "{} hits:\n{}", hits.len(), hits.join("\n"));
}
