//! Storing a header credential, with the end of the flow that it was submitted in.

use super::{
    super::{RedisStore, scripts, scripts::Arg},
    text,
};
use crate::store::{Ending, GRACE, NewHeaders, StoreError, UpsertedHeaders, millis};

pub(super) async fn upsert(
    store: &RedisStore,
    new: NewHeaders<'_>,
) -> Result<UpsertedHeaders, StoreError> {
    let shard = new.binding.shard;
    let record = store.keys.headers(new.id);
    let binding = store.keys.binding(new.binding);
    let clients = store.keys.client(shard, new.client);
    let (sealed, orphans) = (store.keys.sealed(shard), store.keys.orphans(shard));
    let [outbox, history] = store.keys.events(shard);
    let flow = new.flow.as_ref().map(|flow| {
        let (keys, id) = (&store.keys, flow.id);
        [keys.pending(id), keys.claim(id), keys.outcome(id), keys.pendings(shard, id.namespace())]
    });
    let [pending, claim, outcome, flows] = match &flow {
        Some(keys) => keys.each_ref().map(String::as_str),
        None => [&*binding, &binding, &binding, &orphans],
    };
    let keys = [
        &*record, &binding, &clients, &sealed, &orphans, pending, claim, outcome, flows, &outbox,
        &history,
    ];
    let (request, id) = (new.request.to_hex(), new.id.to_string());
    let (identity, client) = (new.identity.to_hex(), new.client.to_hex());
    let (digest, channel) = (new.binding.digest.to_hex(), store.keys.wake());
    let flow_id = new.flow.as_ref().map(|flow| flow.id.to_string()).unwrap_or_default();
    let end = new.flow.as_ref();
    let argv = [
        text(&request),
        text(&id),
        text(new.mode.as_str()),
        text(&identity),
        text(&client),
        text(new.client_name),
        text(&digest),
        Arg::Bytes(new.secret),
        text(new.key),
        Arg::Number(millis(GRACE)),
        text(&flow_id),
        Arg::Bytes(end.map_or(&[], |end| end.claim.as_bytes())),
        text(end.map_or("", |end| end.by)),
        Arg::Bytes(end.map_or(&[], |end| end.answer)),
        Arg::Number(end.map_or(0, |end| millis(end.longest))),
        text(&channel),
    ];
    let verb = &scripts::HEADERS_UPSERT;
    let reply = store.run_script(verb, keys, argv, request.as_bytes()).await?;
    let corrupt = |what| StoreError::Corrupt { verb: verb.name, key: pending.to_owned(), what };
    Ok(match reply.word() {
        "upserted" => UpsertedHeaders::Upserted {
            id: reply.part::<String>(0)?.parse().map_err(|_| reply.unknown_word())?,
            created_at_ms: reply.part(1)?,
            updated_at_ms: reply.part(2)?,
            ver: reply.part(3)?,
        },
        "not_claimed" => UpsertedHeaders::NotClaimed,
        "ended" => UpsertedHeaders::FlowEnded(
            Ending::from_word(&reply.part::<String>(0)?)
                .ok_or_else(|| corrupt("its state is unknown"))?,
        ),
        "gone" => UpsertedHeaders::FlowGone,
        "corrupt" => return Err(corrupt("its head cannot be read")),
        _ => return Err(reply.unknown_word()),
    })
}
