//! docs/redis-cli.md: every line that it says to type is typed, on a Redis with such records in it.

mod headers;

use std::time::Duration;

use redis::{Value, aio::MultiplexedConnection};
use vestibule::{
    Digest,
    store::{
        Caps, ConnectionId, ConnectorName, Ending, Fail, FailureKind, Finish, Kind, LimitStore,
        NewCredential, NewPending, NewRecord, NewToken, Pause, PendingId, PendingStore, RecordName,
        Reserve, Shard, Store, TokenId, TokenStore, redis::RedisStore,
    },
};

use crate::support::{
    server::TestServer,
    stores,
    verbs::{self, owner_of, request},
};

const COOKBOOK: &str = include_str!("../../docs/redis-cli.md");
/// What stands for now in it.
const NOW: &str = "1763697824123";
const LIFE: Duration = Duration::from_secs(600);

/// A line that is typed, and what must be in the answer.
struct Line {
    typed: String,
    answers: Vec<String>,
}

#[tokio::test]
async fn every_line_of_the_cookbook_answers() {
    let server = TestServer::builder().start().await;
    let store = stores::store(&server, "vst").await;
    populate(&store).await;
    headers::populate(&store).await;
    let mut raw = server.raw().await;
    let lines = lines(COOKBOOK);
    assert!(lines.len() >= 38, "{}", lines.len());
    for line in &lines {
        if let Some(fault) = fault(&mut raw, line).await {
            panic!("{}: {fault}", line.typed);
        }
    }

    // A line that rots is found: another key, another field, another answer.
    for (typed, answer) in [
        ("GET vst:mata", ""),
        ("HMGET vst:{7f}:conn:7f00112233445566778899aabbccddbbbb state", "needs_reauth"),
        ("GET vst:meta", "v2"),
        ("GETT vst:meta", ""),
    ] {
        let line = Line { typed: typed.to_owned(), answers: vec![answer.to_owned()] };
        assert!(fault(&mut raw, &line).await.is_some(), "{typed}");
    }
    assert_eq!(COOKBOOK.matches("\n## ").count(), 18, "a question was lost");
}

/// What is in blocks of `redis`; what follows `#=>` must be in the answer to the line before.
fn lines(text: &str) -> Vec<Line> {
    let blocks = text.split("```redis\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut lines: Vec<Line> = Vec::new();
    for line in blocks.flat_map(str::lines) {
        match line.strip_prefix("#=> ") {
            Some(answer) => lines.last_mut().expect("a line").answers.push(answer.to_owned()),
            None => lines.push(Line { typed: line.to_owned(), answers: Vec::new() }),
        }
    }
    lines
}

async fn fault(raw: &mut MultiplexedConnection, line: &Line) -> Option<String> {
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(raw).await.unwrap();
    let typed = line.typed.replace(NOW, &(seconds * 1000 + 1000).to_string());
    let mut words = typed.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    let reply: Value = match command.arg(words.collect::<Vec<_>>()).query_async(raw).await {
        Ok(reply) => reply,
        Err(error) => return Some(error.to_string()),
    };
    let mut said = String::new();
    flatten(&reply, &mut said);
    if said.trim().is_empty() {
        return Some("it answers nothing".to_owned());
    }
    line.answers
        .iter()
        .find(|answer| !said.contains(*answer))
        .map(|it| format!("no {it} in {said}"))
}

fn flatten(value: &Value, text: &mut String) {
    match value {
        Value::BulkString(bytes) => *text += &String::from_utf8_lossy(bytes),
        Value::SimpleString(said) => *text += said,
        Value::Int(number) => *text += &number.to_string(),
        Value::Double(number) => *text += &number.to_string(),
        Value::Array(values) => values.iter().for_each(|value| flatten(value, text)),
        Value::Nil => {}
        other => *text += &format!("{other:?}"),
    }
    text.push('\n');
}

fn connection(end: &str) -> ConnectionId {
    format!("7f00112233445566778899aabbccdd{end}").parse().unwrap()
}

fn pending(end: &str) -> PendingId {
    format!("5c00112233445566778899aabbccddee00112233445566778899aabbccdd{end}").parse().unwrap()
}

fn digest(hex: &str) -> Digest {
    Digest::from_hex(hex).unwrap()
}

/// The records that the cookbook asks about.
async fn populate(store: &RedisStore) {
    for end in ["eeff", "aaaa", "bbbb", "cccc"] {
        store_credential(store, &connection(end)).await;
    }
    let held = begin(store, "aaaa", "worker-a").await;
    assert_eq!(held.fence, 1);
    fail(store, "bbbb", FailureKind::NeedsReauth, "invalid_grant").await;
    fail(store, "cccc", FailureKind::Transient, "503 Service Unavailable").await;

    let github = ConnectorName { shard: Shard::new(0x3a), slug: "github" };
    let caps = Caps { rate: None, at_once: Some(8.try_into().unwrap()) };
    let holder = digest("00000000000000000000000000000009");
    let reserve = Reserve { connector: github, holder, lease: LIFE, caps, in_line: false };
    store.reserve(reserve).await.unwrap();
    let reason = "invalid_client";
    let (connector, first, longest) = (github, LIFE, LIFE);
    let pause = Pause { connector, request: request(), reason, first, longest, by: verbs::BY };
    store.pause_connector(pause).await.unwrap();

    let (waited, ended) = (pending("eeff"), pending("0000"));
    for id in [waited, ended] {
        put_pending(store, id).await;
    }
    store.note_waiter(waited, "replica-b", LIFE).await.unwrap();
    let finish = Finish {
        id: ended,
        request: request(),
        how: Ending::Completed,
        subject: None,
        by: "replica-c",
        body: b"a sealed answer",
        longest: LIFE,
    };
    store.finish_pending(finish).await.unwrap();

    let name = RecordName::alone(Kind::Pkce, digest("9e00112233445566778899aabbccddee"));
    let display = &[("kind", "connection")];
    let record = NewRecord { name, request: request(), ttl: LIFE, display, body: verbs::BODY };
    store.put(record).await.unwrap();
    store.take(&name, request()).await.unwrap();

    let index = digest("b100112233445566778899aabbccddee");
    let token = NewToken {
        id: TokenId::new(index, digest("00112233445566778899aabbccddeeff")),
        scope: request(),
        request: request(),
        ttl: LIFE,
        display: &[("scope", "mcp_auth")],
        body: verbs::BODY,
        receipt: None,
    };
    store.mint_token(token).await.unwrap();
}

async fn store_credential(store: &RedisStore, id: &ConnectionId) {
    let credential = NewCredential {
        id,
        request: request(),
        owner: owner_of(id),
        connector: "github",
        secret: verbs::SECRET,
        sealed_by: 1,
        refresh_token: Some(Digest::NONE),
        expires_in: Some(LIFE),
        refresh_expires_in: None,
        next_in: Some(Duration::ZERO),
        known_end: None,
        by: verbs::BY,
    };
    store.store_credential(credential).await.unwrap();
}

async fn begin(store: &RedisStore, end: &str, instance: &str) -> vestibule::store::Begun {
    let attempt = vestibule::store::Attempt {
        id: &connection(end),
        holder: request(),
        owner: None,
        lease: verbs::LEASE,
        instance,
        forgiven: LIFE,
        settled: LIFE,
        lifetime: None,
        by: verbs::BY,
    };
    match store.begin(attempt).await.unwrap() {
        vestibule::store::Begin::Begun(begun) => begun,
        other => panic!("{other:?}"),
    }
}

async fn fail(store: &RedisStore, end: &str, kind: FailureKind, reason: &str) {
    let begun = begin(store, end, "worker-a").await;
    let fail = Fail {
        id: &connection(end),
        request: request(),
        fence: begun.fence,
        grant: begun.grant,
        presented: begun.refresh_token,
        kind,
        reason,
        backoff: Duration::from_secs(30),
        horizon: None,
        by: verbs::BY,
    };
    store.fail(fail).await.unwrap();
}

async fn put_pending(store: &RedisStore, id: PendingId) {
    let new = NewPending {
        id,
        request: request(),
        ttl: LIFE,
        ceiling: LIFE,
        subject: None,
        dedup: None,
        extends: false,
        display: &[("kind", "form"), ("alias", "approve")],
        body: verbs::BODY,
    };
    store.put_pending(new).await.unwrap();
}
