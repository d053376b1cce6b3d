//! Somebody who writes to Redis cannot write to a terminal.

use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::Value;
use tokio::process::Command;
use vestibule::{
    inspect::Names,
    store::{HeadersId, Shard, SweepName},
};

use super::scene::{CANARY, Ids, LISTS, Said, Scene, now_ms, said};
use crate::support::server;

/// A screen that is cleared, a line that is forged, a text that is turned around, a title that is
/// set, a bell; controls of eight bits, and what is no UTF-8.
const HOSTILE: &[u8] =
    b"\x1b[2J\x1b]0;title\x07\r\nforged: yes\n\xe2\x80\xaegnp.exe\xc2\x9b31m\xff\xfe\x7f\xe2\x80\xa8x\x00\xe2\x81\xa6";

/// Numbers that nobody can reckon with.
const NUMBERS: [&str; 3] = ["18446744073709551615", "9223372036854775807", "-1"];

/// Whatever is obeyed, or begins a line.
fn expect_harmless(said: &Said, args: &[&str]) {
    for text in [&said.out, &said.err] {
        let turns = |c: char| {
            ('\u{2028}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
        };
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n' || turns(c)),
            "{args:?}: {text:?}"
        );
        assert!(!text.lines().any(|line| line.starts_with("forged")), "{args:?}: {text}");
    }
}

/// Runs it for people and for programs: what comes of it may be an error, but no more than that.
async fn run_both(args: &[&str], codes: &[i32], command: impl Fn(&[&str]) -> Command) {
    for json in [&[][..], &["--json"]] {
        let args = [args, json].concat();
        let said = said(command(&args)).await;
        assert!(codes.contains(&said.code), "{args:?}: {said:?}");
        expect_harmless(&said, &args);
        if !json.is_empty() {
            let _: Value = serde_json::from_str(&said.out).expect("JSON");
        }
    }
}

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
    let until = now_ms(&mut raw).await + 3_600_000;
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

    let is_well = |args: &[&str]| scene.command(args);
    for what in LISTS {
        run_both(&["ls", what], &[0], is_well).await;
    }
    run_both(&["waiters", &ids.waited.to_string()], &[0], is_well).await;
    run_both(&["doctor"], &[0], is_well).await;
    for (id, _) in ids.named() {
        run_both(&["why", &id], &[0, 3], is_well).await;
        run_both(&["show", &id], &[0, 3], is_well).await;
        run_both(&["key", &id], &[0], is_well).await;
    }
    // What is done to a pending tells who ended it before.
    for args in [&["cancel", &*ids.cancelled.to_string()][..], &["cancel", &ids.waited.to_string()]]
    {
        run_both(args, &[0, 1], |args| scene.configured(args)).await;
    }
}

/// What stands aside of the connections, with that in every field: header credentials, turns at
/// sweeping, indexes, and what happened.
struct Aside<'a> {
    scene: &'a Scene,
    raw: MultiplexedConnection,
    headers: Vec<HeadersId>,
}

const HEADERS: [&str; 16] = [
    "v",
    "status",
    "reason",
    "status_at",
    "was",
    "was_reason",
    "mode",
    "identity",
    "client",
    "binding",
    "name",
    "key",
    "ver",
    "created_at",
    "updated_at",
    "deleted_at",
];
const EVENT: [&str; 9] = ["type", "kind", "id", "name", "owner", "actor", "host", "at", "detail"];

impl<'a> Aside<'a> {
    async fn of(scene: &'a Scene) -> Self {
        Self { scene, raw: server::shared().await.raw().await, headers: Vec::new() }
    }

    /// One that is whole but for these fields.
    async fn headers(&mut self, status: &str, fields: &[&str], value: &[u8]) {
        let id: HeadersId = format!("c3{:032x}", self.headers.len()).parse().unwrap();
        let (key, digest) = (self.scene.names.headers(id), "00112233445566778899aabbccddeeff");
        let whole = [
            ("status", status),
            ("mode", "user"),
            ("identity", digest),
            ("client", digest),
            ("name", "jira"),
            ("ver", "1"),
            ("secret", "x"),
            ("created_at", "1763697824123"),
        ];
        let _: () = self.raw.hset_multiple(&key, &whole).await.unwrap();
        for field in fields {
            let _: () = self.raw.hset(&key, field, value).await.unwrap();
        }
        let member = format!("headers:{id}");
        let (sealed, orphans) =
            (self.scene.names.sealed(id.shard()), self.scene.names.orphans(id.shard()));
        let _: () = self.raw.zadd(sealed, &member, 7).await.unwrap();
        let _: () = self.raw.zadd(orphans, &member, 7).await.unwrap();
        self.headers.push(id);
    }

    async fn turns(&mut self, value: &[u8]) {
        let fields = ["holder", "lease_ends_at", "cursor", "last_at", "found", "done", "ended"];
        for (n, sweep) in SweepName::ALL.into_iter().enumerate() {
            let key = self.scene.names.sweep(Shard::new(n as u8), sweep);
            let fields = fields.map(|field| (field, value));
            let _: () = self.raw.hset_multiple(key, &fields).await.unwrap();
        }
    }

    async fn indexes(&mut self, ids: &Ids) {
        let names = &self.scene.names;
        let shard = ids.active.shard();
        let of_owner = Names::new(self.scene.keys.naming.clone()).owner(CANARY);
        let of_owner = names.owner(shard, of_owner);
        let of_tokens = names.tokens(ids.token.shard(), ids.token.index());
        for key in
            [names.sealed(shard), names.orphans(shard), names.due(shard), of_owner, of_tokens]
        {
            for (kind, score) in [("", "1"), ("conn:", "+inf"), ("headers:", "-inf"), ("alt:", "2")]
            {
                let member = [kind.as_bytes(), HOSTILE].concat();
                let mut add = redis::cmd("ZADD");
                add.arg(&key).arg(score).arg(member);
                let _: () = add.query_async(&mut self.raw).await.unwrap();
            }
        }
        // And where there is none at all.
        let taken = [shard, Shard::new(0xc3)];
        let other = (3..).map(Shard::new).find(|shard| !taken.contains(shard)).unwrap();
        let keys = [names.sealed(other), names.orphans(other), names.due(other)];
        let streams = [names.history(other), names.outbox(other)];
        let turns = SweepName::ALL.map(|sweep| names.sweep(other, sweep));
        for key in keys.into_iter().chain(streams).chain(turns) {
            let _: () = self.raw.set(key, HOSTILE).await.unwrap();
        }
        let _: () =
            self.raw.zadd(names.due(shard), ids.active.as_str(), f64::INFINITY).await.unwrap();
    }

    /// Three: of nobody; of a connection, so that who asks for its events finds it; and one that is whole
    /// but for its texts, so that it is delivered.
    async fn events(&mut self, ids: &Ids, value: &[u8]) {
        let (shard, id) = (ids.active.shard(), ids.active.as_str().as_bytes());
        let of_connection = [(&b"kind"[..], &b"connection"[..]), (b"id", id)];
        let whole: [(&[u8], &[u8]); 6] = [
            (b"type", b"needs_reauth"),
            (b"kind", b"connection"),
            (b"id", id),
            (b"owner", b""),
            (b"actor", b"operator"),
            (b"at", b"1763697824123"),
        ];
        // What is no text is no event that anybody is told of.
        let text = String::from_utf8_lossy(value);
        for stream in [self.scene.names.history(shard), self.scene.names.outbox(shard)] {
            for given in [&[][..], &of_connection, &whole] {
                let is_whole = given.len() == whole.len();
                let value = if is_whole { text.as_bytes() } else { value };
                let mut event = redis::cmd("XADD");
                event.arg(&stream).arg("*");
                for field in EVENT {
                    let given = given.iter().find(|(name, _)| *name == field.as_bytes());
                    event.arg(field).arg(given.map_or(value, |(_, given)| given));
                }
                // A field that is none of ours.
                if !is_whole {
                    event.arg(value).arg(value);
                }
                let _: String = event.query_async(&mut self.raw).await.unwrap();
            }
        }
    }

    /// Everything that looks at any of it.
    async fn expect_safe(&self, ids: &Ids) {
        let id = ids.active.as_str();
        let configured = |args: &[&str]| self.scene.configured(args);
        for what in LISTS {
            run_both(&["ls", what], &[0], configured).await;
        }
        for args in [
            &["events"][..],
            &["events", "--connection", id],
            &["why", id],
            &["top"],
            &["keys", "status"],
            &["doctor"],
            &["sweep", "orphans", "--dry-run"],
            &["sweep", "expired", "--dry-run"],
            &["sweep", "reseal", "--dry-run"],
        ] {
            run_both(args, &[0, 1], configured).await;
        }
        for id in &self.headers {
            let id = id.to_string();
            for command in ["show", "why", "key"] {
                run_both(&[command, &id], &[0, 3], configured).await;
            }
        }
    }
}

/// Header credentials, orphans, sweeps, the index of keys and events: what is in them is shown, and
/// neither obeyed nor fatal.
#[tokio::test]
async fn what_stands_aside_is_harmless_too() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let mut aside = Aside::of(&scene).await;
    aside.headers("active", &HEADERS, HOSTILE).await;
    for status in ["active", "needs_update", "orphaned"] {
        aside
            .headers(status, &["reason", "was", "was_reason", "mode", "name", "key"], HOSTILE)
            .await;
    }
    aside.headers("active", &["deleted_at", "identity", "client", "ver"], HOSTILE).await;
    aside.turns(HOSTILE).await;
    aside.indexes(&ids).await;
    aside.events(&ids, HOSTILE).await;
    aside.expect_safe(&ids).await;
    let events = scene.run(&["events"]).await;
    assert!(events.out.contains("\\x1b[2J"), "they are shown: {events:?}");
    // Beside them all else is still there, and what cannot be told is named.
    let due = scene.run(&["ls", "due"]).await;
    assert!(due.out.contains(ids.overdue.as_str()), "{due:?}");
    let of_owner = scene.run(&["ls", "connections", "--owner", CANARY]).await;
    assert!(of_owner.out.contains(ids.overdue.as_str()), "{of_owner:?}");
    let doctor = scene.run(&["doctor"]).await;
    assert!(
        doctor.out.contains(":sealed is damaged") && doctor.out.contains("are due, the first"),
        "{doctor:?}"
    );
    let status = scene.run(&["keys", "status"]).await;
    assert!(status.code == 1 && status.err.contains(":sealed is damaged"), "{status:?}");
}

/// Numbers that nobody can reckon with are shown or left out.
#[tokio::test]
async fn no_number_is_fatal() {
    for number in NUMBERS {
        let scene = Scene::shared().await;
        let ids = scene.populate(server::shared().await).await;
        let mut aside = Aside::of(&scene).await;
        let times = ["status_at", "ver", "created_at", "updated_at", "deleted_at"];
        for status in ["active", "needs_update", "orphaned"] {
            aside.headers(status, &times, number.as_bytes()).await;
        }
        aside.turns(number.as_bytes()).await;
        aside.indexes(&ids).await;
        aside.events(&ids, number.as_bytes()).await;
        let fields = [
            "status_at",
            "grant",
            "ver",
            "expires_at",
            "refresh_expires_at",
            "next_at",
            "fence",
            "lease_ends_at",
            "att_at",
            "att_fence",
            "attempts",
            "error_at",
            "failing_at",
            "answered_at",
            "created_at",
            "updated_at",
        ];
        let fields = fields.map(|field| (field, number));
        for id in [&ids.held, &ids.failing, &ids.exhausted, &ids.active] {
            let key = scene.names.connection(id);
            let _: () = aside.raw.hset_multiple(key, &fields).await.unwrap();
        }
        let pause = ["since_at", "until_at", "times", "probe_ends_at"].map(|field| (field, number));
        let _: () = aside.raw.hset_multiple(scene.pause_key(), &pause).await.unwrap();
        aside.expect_safe(&ids).await;
        for id in [&ids.held, &ids.failing, &ids.exhausted, &ids.active] {
            run_both(&["why", id.as_str()], &[0], |args| scene.configured(args)).await;
            run_both(&["show", id.as_str()], &[0], |args| scene.configured(args)).await;
        }
    }
}

/// A database that says of itself what it likes: whoever connects refuses it, and does not repeat it.
#[tokio::test]
async fn a_hostile_database_is_refused() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let mut raw = server::shared().await.raw().await;
    let layout = "v1 shards=256 naming=";
    for meta in [HOSTILE.to_vec(), [layout.as_bytes(), HOSTILE].concat()] {
        let _: () = raw.set(scene.names.meta(), meta).await.unwrap();
        let waited = ids.waited.to_string();
        for args in [
            &["doctor"][..],
            &["cancel", &waited],
            &["keys", "reseal"],
            &["sweep", "orphans", "--dry-run"],
            &["run", "--once"],
        ] {
            run_both(args, &[1], |args| scene.configured(args)).await;
        }
        run_both(&["top"], &[0], |args| scene.configured(args)).await;
        run_both(&["keys", "status"], &[0], |args| scene.configured(args)).await;
    }
}

/// A worker's log goes to a terminal too: one that refreshes, sweeps and tells of events says nothing that
/// is obeyed.
#[tokio::test]
async fn a_log_is_harmless_too() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let text = std::fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let notify = format!("{text}\n[notify]\nlog = true\n");
    std::fs::write(scene.path("vestibule.toml"), notify).unwrap();
    // From then on there is an outbox.
    assert_eq!(scene.run(&["run", "--once"]).await.code, 0);
    let mut aside = Aside::of(&scene).await;
    for status in ["active", "needs_update", "orphaned"] {
        aside.headers(status, &["reason", "was", "was_reason", "mode", "name"], HOSTILE).await;
    }
    aside.turns(HOSTILE).await;
    aside.indexes(&ids).await;
    let texts = ["connector", "owner", "last_error", "lease_by", "secret", "key", "token"];
    for id in [&ids.held, &ids.failing, &ids.overdue] {
        let fields = texts.map(|field| (field, HOSTILE));
        let _: () = aside.raw.hset_multiple(scene.names.connection(id), &fields).await.unwrap();
        let due = scene.names.due(id.shard());
        let _: () = aside.raw.zadd(due, id.as_str(), 1).await.unwrap();
    }
    for format in ["plain", "json"] {
        aside.events(&ids, HOSTILE).await;
        let args = ["run", "--once", "--log", format];
        let mut command = scene.configured(&args);
        command.env("RUST_LOG", "debug");
        let said = said(command).await;
        assert!([0, 1].contains(&said.code), "{said:?}");
        expect_harmless(&said, &args);
        assert!(said.err.contains("needs_reauth"), "it is told: {}", said.err);
        if format == "json" {
            let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok();
            assert!(said.err.lines().all(is_json), "{}", said.err);
        }
    }
}
