//! Header credentials, orphans, events and who was told of them.

use std::time::Duration;

use vestibule::store::{
    AccessStore, BeginTurn, BindingName, EndTurn, EventStore, HeadersMode, HeadersStore,
    MarkHeaders, NewHeaders, OutboxGroup, OutboxRead, PendingId, ReadOutbox, Shard, SweepName,
    SweepStore, Turn, TurnEnd, UpsertedHeaders, WithdrawConnection, WithdrawnConnection,
    WithdrawnHeaders, redis::RedisStore,
};

use super::{LIFE, connection, digest, put_pending, store_credential};
use crate::support::verbs::{self, owner_of, request};

const IDENTITY: &str = "7f000000000000000000000000001d00";
const CLIENT: &str = "0000000000000000000000000000c1c1";
/// The number of the key that sealed them.
const KEY: &str = "0000002a";

pub(super) async fn populate(store: &RedisStore) {
    let [marked, lost] = ["aaaa", "bbbb"].map(|end| (end, binding(end)));
    upsert(store, marked).await;
    mark(store).await;
    upsert(store, lost).await;
    let withdrawn = store.withdraw_headers(lost.1, None, request(), "left_the_team").await.unwrap();
    assert_eq!(withdrawn, WithdrawnHeaders::Withdrawn);

    let flow: PendingId = format!("{IDENTITY}00112233445566778899aabbccdd0001").parse().unwrap();
    put_pending(store, flow).await;
    store.claim_flow(flow, request(), LIFE).await.unwrap();

    let id = connection("dddd");
    store_credential(store, &id).await;
    // From here on it is told.
    let hooks = OutboxGroup::new("hooks").unwrap();
    store.open_outbox(&hooks).await.unwrap();
    let (request, owner) = (verbs::request(), owner_of(&id));
    let withdraw = WithdrawConnection { id: &id, request, owner, reason: "left_the_team" };
    let withdrawn = store.withdraw_connection(withdraw).await.unwrap();
    assert_eq!(withdrawn, WithdrawnConnection::Withdrawn);
    turn(store).await;
    let read = ReadOutbox {
        shard: Shard::new(0x7f),
        group: &hooks,
        consumer: "worker-a",
        request,
        after: None,
        count: 10,
        idle: LIFE,
    };
    let read = store.read_outbox(read).await.unwrap();
    assert!(matches!(read, OutboxRead::Page(page) if page.events.len() == 1));
}

fn binding(end: &str) -> BindingName {
    let last = if end == "aaaa" { "b1" } else { "b2" };
    let digest = digest(&format!("7f0000000000000000000000000000{last}"));
    BindingName { shard: Shard::new(0x7f), digest }
}

async fn upsert(store: &RedisStore, (end, binding): (&str, BindingName)) {
    let new = NewHeaders {
        id: format!("7f00112233445566778899aabbcc00{end}").parse().unwrap(),
        request: request(),
        binding,
        mode: HeadersMode::User,
        identity: digest(IDENTITY),
        client: digest(CLIENT),
        client_name: "weather",
        secret: verbs::SECRET,
        key: KEY,
        flow: None,
    };
    let upserted = store.upsert_headers(new).await.unwrap();
    assert!(matches!(upserted, UpsertedHeaders::Upserted { ver: 1, .. }));
}

async fn mark(store: &RedisStore) {
    let mark = MarkHeaders {
        shard: Shard::new(0x7f),
        client: digest(CLIENT),
        request: request(),
        reason: "rotated",
        after: None,
        limit: 10,
    };
    assert_eq!(store.mark_headers(mark).await.unwrap().count, 1);
}

/// A round of the orphans' sweep that came to its end.
async fn turn(store: &RedisStore) {
    let (sweep, shard, request) = (SweepName::Orphans, Shard::new(0x7f), request());
    let lease = Duration::from_secs(60);
    let begin = BeginTurn { sweep, shard, request, lease, not_within: Duration::ZERO };
    assert!(matches!(store.begin_turn(begin).await.unwrap(), Turn::Begun { .. }));
    let end = EndTurn { sweep, shard, request, cursor: None, found: 7, done: 5 };
    assert_eq!(store.end_turn(end).await.unwrap(), TurnEnd::Ended);
}
