//! Who may look, what it costs, and what is there while Redis is away.

use std::{process::Stdio, time::Instant};

use futures_util::future::join_all;
use redis::AsyncCommands;
use sha2::{Digest as _, Sha256};
use vestibule_worker::{config::AdminToken, status::Access, sweeps::Sweep};

use super::{
    scene::{CANARY, REASON, Scene, get, said, until, worker},
    served::Served,
};
use crate::support::server::{self, TestServer, free_port};

const TOKEN: &str = "correct-horse-battery";

/// It tells what is there, no secret, and nobody's name: not even the digest of one.
#[tokio::test]
async fn it_tells_how_everything_stands() {
    let scene = Scene::shared().await;
    let server = server::shared().await;
    let ids = scene.populate(server).await;
    let page = Served::of(&scene, Access::ThisMachine).await.page().await;
    for (what, told) in [
        ("what is overdue", ids.overdue.to_string()),
        ("who holds what", ids.held.to_string()),
        ("the holder", "worker-a".to_owned()),
        ("what is failing", "503 Service Unavailable".to_owned()),
        ("what was given up", ids.exhausted.to_string()),
        ("a paused connector", REASON.to_owned()),
        ("who waits", "replica-b".to_owned()),
        ("an event", "connect completed".to_owned()),
        ("the policy of Redis", "noeviction".to_owned()),
    ] {
        assert!(page.contains(&told), "{what}: {told} is not there");
    }
    let (_, sweeps) = page.split_once("<h2>Sweeps").unwrap();
    for sweep in ["refresh_due"].into_iter().chain(Sweep::ALL.map(Sweep::as_str)) {
        assert!(sweeps.contains(&format!("<div>{sweep}")), "{sweep} is not listed: {sweeps}");
    }
    let mut raw = server.raw().await;
    let owner: String = raw.hget(scene.names.connection(&ids.active), "owner").await.unwrap();
    let keys = std::fs::read_to_string(scene.path("keys.toml")).unwrap();
    let secrets = keys.split('"').skip(1).step_by(2);
    for hidden in secrets.chain([CANARY, &owner, &owner[..8]]) {
        assert!(!page.contains(hidden), "{hidden} is there");
    }
}

/// A page that nobody else may frame, keep, or add anything to.
#[tokio::test]
async fn every_answer_is_guarded() {
    let scene = Scene::shared().await;
    let token = AdminToken::new(TOKEN, "test").unwrap();
    for access in [Access::ThisMachine, Access::Token(token)] {
        let served = Served::of(&scene, access).await;
        let response = served.get("/status?refresh=off").await;
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
    }
}

#[tokio::test]
async fn a_token_lets_in_and_nothing_else_does() {
    let scene = Scene::shared().await;
    let token = AdminToken::new(TOKEN, "test").unwrap();
    let served = Served::of(&scene, Access::Token(token)).await;
    let client = reqwest::Client::new();
    let ask = || client.get(&served.origin);
    let refused = ask().send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let schemes: Vec<_> = refused.headers().get_all("www-authenticate").iter().collect();
    assert!(schemes[0].to_str().unwrap().starts_with("Basic realm="), "{schemes:?}");
    assert!(!refused.text().await.unwrap().contains("Overdue"));
    assert_eq!(ask().bearer_auth("correct-horse-batter").send().await.unwrap().status(), 401);
    assert_eq!(ask().basic_auth("anybody", Some("wrong")).send().await.unwrap().status(), 401);
    for allowed in [ask().bearer_auth(TOKEN), ask().basic_auth("anybody", Some(TOKEN))] {
        let response = allowed.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.text().await.unwrap().contains("Overdue"));
    }

    // A name that somebody made to lead here: a page from there must not read this one.
    let served = Served::of(&scene, Access::ThisMachine).await;
    let rebound = client.get(&served.origin).header("host", "evil.example:9464");
    let rebound = rebound.send().await.unwrap();
    assert_eq!(rebound.status(), 421);
    assert!(!rebound.text().await.unwrap().contains("Overdue"));
}

/// What other machines can reach has a token, or it does not start; probes and metrics need none.
#[tokio::test]
async fn an_open_port_without_a_token_is_refused_at_start() {
    let server = TestServer::builder().start().await;
    let scene = Scene::on(&server.url()).await;
    let port = free_port();
    let admin = format!("0.0.0.0:{port}");
    let run = |extra: &[&str]| {
        let mut command = scene.configured(&["run", "--admin", &admin]);
        command.args(extra);
        command
    };
    let refused = said(run(&[])).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    for word in ["--admin", "`admin.token_file`", "VESTIBULE_ADMIN_TOKEN", "127.0.0.1"] {
        assert!(refused.err.contains(word), "{word}: {refused:?}");
    }
    let mut check = worker(&["config", "check", "--admin", &admin, "--redis", &scene.redis]);
    check.arg("--keys").arg(scene.path("keys.toml"));
    let check = said(check).await;
    assert!(check.code == 1 && check.out.contains("`admin.token_file`"), "{check:?}");

    let file = scene.path("admin-token");
    std::fs::write(&file, "short\n").unwrap();
    let config = format!("admin.token_file = {file:?}\n");
    let text = std::fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    std::fs::write(scene.path("vestibule.toml"), config + &text).unwrap();
    let weak = said(run(&[])).await;
    assert!(weak.code == 1 && weak.err.contains("`admin.token_file`"), "{weak:?}");
    assert!(!weak.err.contains("short"), "{weak:?}");

    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let mut command = run(&[]);
    command.stderr(Stdio::null()).stdout(Stdio::null());
    let _running = command.spawn().unwrap();
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    until("ready", || async { get(port, "/readyz").await.is_some_and(|(code, _)| code == 200) })
        .await;
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/", 401)] {
        assert_eq!(reqwest::get(url(path)).await.unwrap().status(), status, "{path}");
    }
    let client = reqwest::Client::new();
    let page = client.get(url("/")).bearer_auth(TOKEN).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("Overdue"));
    // By the worker's user it is not seen whole, as it says.
    let refused = server.refused();
    assert!(refused.len() == 4 && refused[0].starts_with("test-worker: command "), "{refused:?}");
}

/// Ten tabs, and more, cost one look.
#[tokio::test]
async fn many_who_look_cost_as_one() {
    let server = TestServer::builder().start().await;
    let scene = Scene::on(&server.url()).await;
    let served = Served::of(&scene, Access::ThisMachine).await;
    let asked = Instant::now();
    join_all((0..20).map(|_| served.page())).await;
    // A look is good for two seconds.
    let most = 1 + asked.elapsed().as_secs() / 2;
    let mut raw = server.raw().await;
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut raw).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_xrevrange:calls="));
    let calls: u64 = line.unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(calls >= 256 && calls <= 256 * most, "{calls} of {most} looks");
}

/// The page answers all the same, says since when, and shows what was seen last.
#[tokio::test]
async fn redis_may_go_and_come_back() {
    let server = TestServer::builder().start().await;
    let scene = Scene::on(&server.url()).await;
    let ids = scene.populate(&server).await;
    let served = Served::of(&scene, Access::ThisMachine).await;
    assert!(served.page().await.contains("Overdue"));
    server.kill9();
    served.readiness.set(false);
    until("away", || async { served.page().await.contains("Redis does not answer") }).await;
    let page = served.page().await;
    for told in ["Redis does not answer", "since 20", "not ready for", "Redis is away"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(page.contains(&ids.overdue.to_string()), "what was seen last is not there");

    // Who comes when it is away has nothing to see, and is told so.
    let late = Served::of(&scene, Access::ThisMachine).await.page().await;
    assert!(late.contains("Redis does not answer") && late.contains("Nothing has been seen yet"));

    server.restart().await;
    served.readiness.set(true);
    until("back", || async { !served.page().await.contains("Redis does not answer") }).await;
}

/// The worker's own user sees nearly all of it, and is told what it may not see; the inspector's all.
#[tokio::test]
async fn what_a_user_may_not_see_is_left_out() {
    let server = TestServer::builder().start().await;
    let scene = Scene::on(&server.url()).await;
    let ids = scene.populate(&server).await;
    let mut raw = server.raw().await;
    let hash: String = Sha256::digest("pw").iter().map(|b| format!("{b:02x}")).collect();
    for role in ["worker", "inspector"] {
        let args = ["acl", "--role", role, "--hash", &hash, "--prefix", &scene.prefix];
        let line = said(worker(&args)).await.out;
        let mut words = line.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap());
        let _: () = command.arg(words.collect::<Vec<_>>()).query_async(&mut raw).await.unwrap();
        let redis = server.url_as(&format!("vestibule-{role}"), "pw");
        let page = Served::at(&scene, &redis, Access::ThisMachine).await.page().await;
        for id in [&ids.overdue, &ids.held, &ids.exhausted, &ids.failing] {
            assert!(page.contains(id.as_str()), "{role}: {id}");
        }
        assert!(page.contains(REASON), "{role}");
        let is_refused = page.contains("Redis does not let this user see: walk");
        assert_eq!(is_refused, role == "worker", "{page}");
        assert_eq!(page.contains("replica-b"), role == "inspector");
    }
}
