//! How a header credential is read.

use redis::{Value, cmd, from_redis_value_ref};

use super::{
    super::{RedisStore, reply, scripts, scripts::Arg},
    text,
};
use crate::{
    digest::Digest,
    store::{
        BindingName, HeadersBinding, HeadersId, HeadersMode, HeadersPage, HeadersPlace, HeadersRow,
        HeadersStatus, SealedHeaders, Shard, StoreError,
    },
};

pub(super) const STATUS: &str = "its status is unknown";
pub(super) const WAS: &str = "its `was` is unknown: what it was before it became an orphan";

pub(super) async fn read(
    store: &RedisStore,
    binding: BindingName,
) -> Result<Option<SealedHeaders>, StoreError> {
    // Nothing to be told apart by: it writes nothing, so any echo will do.
    let request = binding.digest.to_hex();
    let verb = &scripts::HEADERS_GET;
    let key = store.keys.binding(binding);
    let reply = store.run_script(verb, [&key], [text(&request)], request.as_bytes()).await?;
    match reply.word() {
        "row" => {}
        "absent" => return Ok(None),
        _ => return Err(reply.unknown_word()),
    }
    let corrupt = |key, what| StoreError::Corrupt { verb: verb.name, key, what };
    let id = reply.part::<String>(0)?;
    let id: HeadersId = id.parse().map_err(|_| corrupt(key, "it leads to no id"))?;
    let Value::Array(mut fields) = reply.part(1)? else { return Err(reply.unknown_word()) };
    let key = store.keys.headers(id);
    let secret = fields.pop();
    match row(id, Some(binding), &fields).map_err(|what| corrupt(key.clone(), what))? {
        None => Ok(None),
        Some(row) => match secret {
            Some(Value::BulkString(secret)) => Ok(Some(SealedHeaders { row, secret })),
            _ => Err(corrupt(key, "it has no secret")),
        },
    }
}

pub(super) async fn find(
    store: &RedisStore,
    id: HeadersId,
) -> Result<Option<HeadersBinding>, StoreError> {
    const VERB: &str = "find_headers";
    let key = store.keys.headers(id);
    let mut command = cmd("HMGET");
    command.arg(&key).arg(&["status", "binding", "mode", "identity"]);
    let found = store.read(VERB, &command).await?;
    let fields: [Option<String>; 4] =
        from_redis_value_ref(&found).map_err(|_| reply::unreadable(VERB))?;
    let [Some(_), binding, mode, identity] = fields else { return Ok(None) };
    let digest = |hex: Option<String>| hex.and_then(|hex| Digest::from_hex(&hex));
    let mode = mode.and_then(|word| HeadersMode::from_word(&word));
    match (digest(binding), mode, digest(identity)) {
        (Some(digest), Some(mode), Some(identity)) => {
            let name = BindingName { shard: id.shard(), digest };
            Ok(Some(HeadersBinding { name, mode, identity }))
        }
        _ => Err(StoreError::Corrupt { verb: VERB, key, what: "whose it is, is not there" }),
    }
}

pub(super) async fn list(
    store: &RedisStore,
    shard: Shard,
    client: Digest,
    after: Option<HeadersPlace>,
    limit: u16,
) -> Result<HeadersPage, StoreError> {
    let limit = limit.clamp(1, 100);
    let (from, after) = place(after);
    let request = client.to_hex();
    let argv = [text(&request), Arg::Number(limit.into()), Arg::Number(from), text(&after)];
    let (verb, key) = (&scripts::HEADERS_LIST, store.keys.client(shard, client));
    let reply = store.run_script(verb, [&key], argv, request.as_bytes()).await?;
    if reply.word() != "page" {
        return Err(reply.unknown_word());
    }
    let Value::Array(listed) = reply.part(0)? else { return Err(reply.unknown_word()) };
    let mut page = HeadersPage::default();
    let mut last = None;
    for entry in listed.chunks_exact(3) {
        let id = from_redis_value_ref::<String>(&entry[0]).ok().and_then(|id| id.parse().ok());
        // A member that is no id of ours is nobody's credential.
        let Some(id) = id.filter(|id: &HeadersId| id.shard() == shard) else { continue };
        let from_ms = from_redis_value_ref(&entry[1]).map_err(|_| reply::unreadable(verb.name))?;
        last = Some(HeadersPlace { after: id, from_ms });
        let Value::Array(fields) = &entry[2] else { return Err(reply.unknown_word()) };
        match row(id, None, fields) {
            Ok(Some(row)) if row.client == client => page.rows.push(row),
            Ok(_) => {}
            Err(_) => page.damaged.push(id),
        }
    }
    page.next = last.filter(|_| listed.len() == usize::from(limit) * 3);
    Ok(page)
}

/// `None` if there is no such credential, or it is another binding's; an error names what is damaged.
fn row(
    id: HeadersId,
    binding: Option<BindingName>,
    fields: &[Value],
) -> Result<Option<HeadersRow>, &'static str> {
    let [
        status_word,
        reason,
        status_at,
        was,
        mode,
        identity,
        client,
        name,
        of,
        created,
        updated,
        ver,
    ] = fields
    else {
        return Err("it is no hash, or has other fields");
    };
    let string = |value: &Value| from_redis_value_ref::<Option<String>>(value).ok().flatten();
    let told = |value: &Value| string(value).filter(|text| !text.is_empty());
    let number = |value: &Value, what| match value {
        Value::Nil => Err(what),
        value => from_redis_value_ref::<u64>(value).map_err(|_| what),
    };
    let digest = |value: &Value| string(value).and_then(|hex| Digest::from_hex(&hex));
    let of = digest(of);
    // Of one that was removed only receipts are left.
    if *status_word == Value::Nil && *mode == Value::Nil {
        return Ok(None);
    }
    if binding.is_some_and(|binding| of != Some(binding.digest)) {
        return Ok(None);
    }
    let was = match was {
        Value::Nil => None,
        word => Some(string(word).and_then(|word| status(&word)).ok_or(WAS)?),
    };
    Ok(Some(HeadersRow {
        id,
        mode: string(mode)
            .and_then(|word| HeadersMode::from_word(&word))
            .ok_or("its mode is unknown")?,
        identity: digest(identity).ok_or("it has no identity")?,
        client: digest(client).ok_or("it has no client")?,
        client_name: told(name),
        status: string(status_word).and_then(|word| status(&word)).ok_or(STATUS)?,
        reason: told(reason),
        status_at_ms: number(status_at, "its status_at is no time")?,
        was,
        created_at_ms: number(created, "its created_at is no time")?,
        updated_at_ms: number(updated, "its updated_at is no time")?,
        ver: number(ver, "its ver is no number")?,
    }))
}

pub(super) fn status(word: &str) -> Option<HeadersStatus> {
    HeadersStatus::from_word(word)
}

/// Where a page begins, as a script takes it.
pub(super) fn place(after: Option<HeadersPlace>) -> (u64, String) {
    after.map_or((0, String::new()), |place| (place.from_ms, place.after.to_string()))
}
