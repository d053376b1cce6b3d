//! What stands aside: header credentials, orphans, and what happened.

use redis::AsyncCommands;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
    time::timeout,
};
use vestibule::{
    headers::{Binding, Headers, HeadersConfig, Identity},
    store::{HeadersId, Shard},
    token::{LinkBase, Scopes},
};

use super::{
    golden::expect,
    scene::{CANARY, PATIENCE, Scene, now_ms},
};
use crate::support::{
    server::{self, TestServer},
    sign_in::sign_in,
};

/// A header credential is listed, shown, told of and found in Redis by its id, which looks as a
/// connection's does; its headers are nowhere.
#[tokio::test]
async fn header_credentials_are_told_by_their_ids() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let mut raw = server::shared().await.raw().await;
    let now = now_ms(&mut raw).await.to_string();
    let digest = "00112233445566778899aabbccddeeff";
    let id: HeadersId = format!("c3{digest}").parse().unwrap();
    assert_eq!(id.shard(), Shard::new(0xc3));
    let fields = [
        ("v", "1"),
        ("status", "needs_update"),
        ("reason", "rejected"),
        ("status_at", &*now),
        ("mode", "user"),
        ("identity", digest),
        ("client", digest),
        ("name", "jira"),
        ("secret", CANARY),
        ("ver", "2"),
        ("created_at", &*now),
        ("updated_at", &*now),
    ];
    let _: () = raw.hset_multiple(scene.names.headers(id), &fields).await.unwrap();
    let text = id.to_string();
    let mut all = String::new();
    for args in [
        &["ls", "headers"][..],
        &["ls", "headers", "--status", "needs_update"],
        &["show", &text],
        &["why", &text],
        &["key", &text],
        &["key", &format!("headers:{text}")],
    ] {
        let said = scene.look(args).await;
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{args:?}: {said:?}");
        all += &format!("== {}\n{}", args.join(" "), said.out);
    }
    assert!(!all.contains(CANARY), "{all}");
    expect("headers", &all.replace(&text, "<headers>"), &scene, &ids);
    assert!(scene.look(&["ls", "headers", "--status", "active"]).await.out.contains("none"));
    // A connection with that id is none: it is not taken for one.
    assert_eq!(scene.look(&["show", &format!("connection:{text}")]).await.code, 3);
    assert_eq!(scene.look(&["ls", "orphans"]).await.code, 0);
}

/// Access is withdrawn and given back by hand: whole, once, and told.
#[tokio::test]
async fn an_orphan_is_given_back_whole() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let id = ids.active.as_str();
    let none = scene.look(&["ls", "orphans"]).await;
    assert!(none.out.contains("nothing that is kept"), "{none:?}");
    let mut all = String::new();
    for (args, code) in [
        (&["orphan", id, "--reason", "left_the_group"][..], 0),
        (&["orphan", id], 0),
        (&["ls", "orphans"], 0),
        (&["why", id], 0),
        (&["restore", id], 0),
        (&["restore", id], 0),
        (&["orphan", ids.revoked.as_str()], 1),
        (&["orphan", id, "--reason", "two words"], 2),
        (&["orphan", &"00".repeat(17)], 3),
        (&["restore", &"00".repeat(17)], 3),
    ] {
        let said = scene.run(args).await;
        assert_eq!(said.code, code, "{args:?}: {said:?}");
        all += &format!("== {}\n{}{}", args.join(" "), said.out, said.err);
    }
    expect("orphan", &all, &scene, &ids);
    let json = scene.json(&["show", id]).await;
    assert_eq!(json["record"]["status"], "active");
    let json = scene.json(&["ls", "orphans"]).await;
    assert_eq!(json["count"], 0, "{json}");
}

/// H-9: the access to a header credential is withdrawn and given back by its id, with the submissions that
/// are under way; a session's is left alone.
#[tokio::test]
async fn orphaned_headers_are_given_back_whole() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let vestibule = scene.vestibule().await;
    let host =
        vestibule.header_credentials(HeadersConfig::new(vestibule.temp_tokens(Scopes::default())));
    let of = |identity: Identity| Binding::new(identity, "jira").unwrap();
    let (person, session) =
        (of(Identity::user(CANARY).unwrap()), of(Identity::session(CANARY).unwrap()));
    let headers = Headers::new([("Authorization", CANARY)]).unwrap();
    let id = host.upsert(&person, &headers).await.unwrap().id.to_string();
    let of_session = host.upsert(&session, &headers).await.unwrap().id.to_string();
    let base = LinkBase::parse("https://app.example/").unwrap();
    let flow = host.initiate(&person, &base).await.unwrap().flow;

    let mut all = String::new();
    for (args, code) in [
        (&["orphan", &id, "--reason", "left_the_group"][..], 0),
        (&["orphan", &format!("headers:{id}")], 0),
        (&["ls", "orphans"], 0),
        (&["why", &id], 0),
        (&["restore", &id], 0),
        (&["restore", &id], 0),
        (&["orphan", &of_session], 1),
        (&["orphan", &format!("headers:{}", "00".repeat(17))], 3),
        (&["restore", &format!("headers:{}", "00".repeat(17))], 3),
        (&["orphan", "demo"], 2),
    ] {
        let said = scene.run(args).await;
        assert_eq!(said.code, code, "{args:?}: {said:?}");
        all += &format!("== {}\n{}{}", args.join(" "), said.out, said.err);
        let found = host.vend(&person).await;
        assert_eq!(found.is_ok(), all.contains("Given back"), "{args:?}");
        assert!(host.flow(flow).await.unwrap().is_none(), "its submission has ended");
    }
    assert!(!all.contains(CANARY), "{all}");
    let all = all.replace(&id, "<headers>").replace(&of_session, "<of a session>");
    expect("orphaned_headers", &all, &scene, &ids);
    let told = scene.look(&["events", "--headers", &id]).await;
    expect("headers_events", &told.out.replace(&id, "<headers>"), &scene, &ids);
    assert_eq!(scene.look(&["events", "--headers", "x"]).await.code, 2);
    assert!(host.vend(&session).await.is_ok());
}

/// What happened is listed, of all or of one connection, and never whom it belongs to.
#[tokio::test]
async fn events_are_listed() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let said = scene.look(&["events", "--since", "1h"]).await;
    assert!(said.code == 0 && said.out.contains("connect_completed"), "{said:?}");
    let json = scene.json(&["events", "--connection", ids.revoked.as_str()]).await;
    let kinds: Vec<_> =
        json["rows"].as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["connect_completed", "token_deleted_revoked"], "{json}");
    assert!(!json.to_string().contains(CANARY));
    let json = scene.json(&["events", "--limit", "3"]).await;
    assert_eq!(json["rows"].as_array().unwrap().len(), 3);
    for args in [
        &["events", "--since", "soon"][..],
        &["events", "--connection", "x"],
        &["events", "--kind", "reauth"],
    ] {
        assert_eq!(scene.look(args).await.code, 2, "{args:?}");
    }
}

/// Of some kinds, of one connector: the newest of them, behind however many of others.
#[tokio::test]
async fn events_are_sought() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let mut others = redis::pipe();
    let history = format!("{}:{{{}}}:history", scene.prefix, ids.revoked.shard());
    for (number, name) in (0..1500).map(|number| (number, if number == 7 { "seven" } else { "x" }))
    {
        let event =
            [("type", "recovered"), ("kind", "connection"), ("id", "other"), ("name", name)];
        others.cmd("XADD").arg(&history).arg("*").arg(&event[..]).arg("at").arg(number).ignore();
    }
    others.query_async::<()>(&mut server::shared().await.raw().await).await.unwrap();
    let kinds = async |args: &[&str]| -> Vec<String> {
        let json = scene.json(&[&["events"], args].concat()).await;
        let rows = json["rows"].as_array().unwrap().iter();
        rows.map(|row| row["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&["--of", "seven"]).await, ["recovered"]);
    let two = ["--kind", "token_deleted_revoked", "--kind", "needs_reauth"];
    let found = kinds(&two).await;
    assert!(found.contains(&"token_deleted_revoked".to_owned()), "{found:?}");
    assert!(found.iter().all(|kind| two.contains(&&**kind)), "{found:?}");
    assert_eq!(kinds(&["--of", "seven", "--kind", "needs_reauth"]).await, [""; 0]);
    assert_eq!(kinds(&["--kind", "recovered", "--limit", "3"]).await, ["recovered"; 3]);
}

/// Those of one connection are found behind however many of others.
#[tokio::test]
async fn events_of_others_hide_none() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let mut others = redis::pipe();
    let history = format!("{}:{{{}}}:history", scene.prefix, ids.revoked.shard());
    for number in 0..2500 {
        let event = [("type", "recovered"), ("kind", "connection"), ("id", "other")];
        others.cmd("XADD").arg(&history).arg("*").arg(&event[..]).arg("at").arg(number).ignore();
    }
    others.query_async::<()>(&mut server::shared().await.raw().await).await.unwrap();
    let json = scene.json(&["events", "--connection", ids.revoked.as_str()]).await;
    assert_eq!(json["rows"].as_array().unwrap().len(), 2, "{json}");
    let json = scene.json(&["events", "--connection", ids.revoked.as_str(), "--limit", "1"]).await;
    assert_eq!(json["rows"][0]["kind"], "token_deleted_revoked", "{json}");
}

/// Following goes on over a Redis that dies and comes back, tells each event once, and ends well with
/// Ctrl-C.
#[tokio::test]
async fn following_survives_redis() {
    let server = TestServer::builder().start().await;
    let scene = Scene::on(&server.url()).await;
    let before = sign_in(&scene.host().await, CANARY).await;
    let mut command = scene.command(&["events", "--follow", "--json"]);
    let mut following: Child = command.spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    told(&mut lines, before.as_str()).await;

    let second = sign_in(&scene.host().await, CANARY).await;
    assert_eq!(told(&mut lines, second.as_str()).await, 0, "an event is told twice");
    server.restart().await;
    let third = sign_in(&scene.host().await, CANARY).await;
    told(&mut lines, third.as_str()).await;

    let pid = following.id().unwrap().to_string();
    let _ = std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let ended = timeout(PATIENCE, following.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
}

/// Reads until this connection's sign-in is complete; returns how many completed before.
async fn told(lines: &mut Lines<BufReader<ChildStdout>>, id: &str) -> usize {
    let mut others = 0;
    loop {
        let line = timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("it is told in time").unwrap().expect("it goes on");
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["kind"] == "connect_completed" {
            if event["subject_id"] == id {
                return others;
            }
            others += 1;
        }
    }
}
