//! Somebody who writes to Redis cannot write to a terminal.

use redis::AsyncCommands;

use super::scene::{LISTS, Scene};
use crate::support::server;

/// A screen that is cleared, a line that is forged, a text that is turned around, a title that is
/// set, a bell; controls of eight bits, and what is no UTF-8.
const HOSTILE: &[u8] =
    b"\x1b[2J\x1b]0;title\x07\r\nforged: yes\n\xe2\x80\xaegnp.exe\xc2\x9b31m\xff\xfe\x7f\xe2\x80\xa8x\x00";

/// Every field that a record has, with that in it: nothing of it is obeyed, no line is forged, and
/// nothing fails.
#[tokio::test]
async fn a_terminal_is_safe_from_what_is_in_redis() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let mut raw = server::shared().await.raw().await;
    let hostile_fields = |fields: &[&'static str]| -> Vec<(&'static str, &'static [u8])> {
        fields.iter().map(|field| (*field, HOSTILE)).collect()
    };
    let texts = ["reason", "last_error", "lease_by", "connector", "owner"];
    for id in [&ids.held, &ids.failing, &ids.exhausted] {
        let fields = hostile_fields(&texts);
        let _: () = raw.hset_multiple(scene.names.connection(id), &fields).await.unwrap();
    }
    let all =
        ["status", "grant", "ver", "next_at", "expires_at", "attempts", "fence", "created_at"];
    let fields = hostile_fields(&all);
    let _: () = raw.hset_multiple(scene.names.connection(&ids.overdue), &fields).await.unwrap();
    let pause = hostile_fields(&["reason", "since_at", "times"]);
    let _: () = raw.hset_multiple(scene.pause_key(), &pause).await.unwrap();
    let until = super::scene::now_ms(&mut raw).await + 3_600_000;
    let _: () = raw.zadd(scene.names.waiters(ids.waited), HOSTILE, until).await.unwrap();
    // Over the line for people, which is as long as the words in it.
    let _: () = raw.setrange(scene.names.pending(ids.waited), 60, &HOSTILE[..24]).await.unwrap();
    let _: () = raw.setrange(scene.names.token(ids.token), 3, HOSTILE[..9].to_vec()).await.unwrap();
    let outcome = [b"v1 completed 1763697824123 ", HOSTILE, b"\n"].concat();
    let _: () = raw.set(scene.names.outcome(ids.cancelled), outcome).await.unwrap();
    // Keys and members that are none of ours, and records of another type.
    let strange = [format!("{}:{{00}}:conn:", scene.prefix).as_bytes(), HOSTILE].concat();
    let _: () = raw.set(strange, "x").await.unwrap();
    let due = scene.names.due(ids.active.shard());
    let _: () = raw.zadd(due, HOSTILE, 1).await.unwrap();
    let _: () = raw.del(scene.names.connection(&ids.revoked)).await.unwrap();
    let _: () = raw.set(scene.names.connection(&ids.revoked), HOSTILE).await.unwrap();

    let mut commands: Vec<Vec<String>> = Vec::new();
    for what in LISTS {
        commands.push(vec!["ls".into(), what.into()]);
    }
    commands.push(vec!["waiters".into(), ids.waited.to_string()]);
    commands.push(vec!["doctor".into()]);
    for (id, _) in ids.named() {
        commands.push(vec!["why".into(), id.clone()]);
        commands.push(vec!["show".into(), id]);
    }
    for command in commands {
        for json in [false, true] {
            let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
            args.extend(json.then_some("--json"));
            let said = scene.look(&args).await;
            assert!([0, 3].contains(&said.code), "{said:?}");
            if json {
                let _: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
            }
            for text in [&said.out, &said.err] {
                let bad =
                    |c: char| c.is_control() && c != '\n' || ('\u{2028}'..='\u{202e}').contains(&c);
                assert!(!text.contains(bad), "{args:?}: {text:?}");
                assert!(!text.lines().any(|line| line.starts_with("forged")), "{args:?}: {text}");
            }
        }
    }
}
