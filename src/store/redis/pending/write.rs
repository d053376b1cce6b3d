//! What writes a pending: a put, and a replacement.

use std::time::Duration;

use super::{
    super::{RedisStore, record, scripts, scripts::Arg},
    text,
};
use crate::{
    digest::Digest,
    store::{Ending, GRACE, NewPending, PutPending, Replaced, StoreError, millis},
};

pub(super) async fn put(store: &RedisStore, new: NewPending<'_>) -> Result<PutPending, StoreError> {
    store.keep_time().await?;
    let names = Names::of(store, &new);
    let value = write(store, &new, [new.request, Digest::NONE]);
    let argv = [
        Arg::Bytes(new.request.as_bytes()),
        text(&names.id),
        Arg::Bytes(&value),
        Arg::Number(millis(new.ttl)),
        Arg::Number(millis(GRACE)),
        text(if new.extends { "1" } else { "" }),
    ];
    let request = new.request.as_bytes();
    let reply = store.run_script(&scripts::PENDING_PUT, names.keys(), argv, request).await?;
    match reply.word() {
        "stored" => Ok(PutPending::Stored),
        "joined" => Ok(PutPending::Joined {
            id: reply.part::<String>(0)?.parse().map_err(|_| reply.unknown_word())?,
            left: Duration::from_millis(reply.part(1)?),
        }),
        "collision" => Ok(PutPending::Collision),
        _ => Err(reply.unknown_word()),
    }
}

pub(super) async fn replace(
    store: &RedisStore,
    new: NewPending<'_>,
) -> Result<Replaced, StoreError> {
    store.keep_time().await?;
    let names = Names::of(store, &new);
    // The script keeps who put it.
    let value = write(store, &new, [Digest::NONE, new.request]);
    let channel = store.keys.wake();
    let argv = [
        Arg::Bytes(new.request.as_bytes()),
        text(&names.id),
        Arg::Bytes(&value),
        Arg::Number(millis(new.ttl)),
        Arg::Number(millis(GRACE)),
        text(&channel),
    ];
    let request = new.request.as_bytes();
    let reply = store.run_script(&scripts::PENDING_REPLACE, names.keys(), argv, request).await?;
    let corrupt =
        |what| StoreError::Corrupt { verb: "pending/replace", key: names.record.clone(), what };
    Ok(match reply.word() {
        "replaced" => Replaced::Replaced,
        "ceiling" => Replaced::BeyondCeiling { left: Duration::from_millis(reply.part(0)?) },
        "ended" => Replaced::Ended(
            Ending::from_word(&reply.part::<String>(0)?)
                .ok_or_else(|| corrupt("its state is unknown"))?,
        ),
        "expired" => Replaced::Expired,
        "absent" => Replaced::Absent,
        "corrupt" => return Err(corrupt("its head cannot be read")),
        _ => return Err(reply.unknown_word()),
    })
}

/// What a pending that is written is called.
struct Names {
    id: String,
    record: String,
    index: String,
    dedup: Option<String>,
}

impl Names {
    fn of(store: &RedisStore, new: &NewPending<'_>) -> Self {
        let shard = new.id.shard();
        Self {
            id: new.id.to_string(),
            record: store.keys.pending(new.id),
            index: store.keys.pendings(shard, new.id.namespace()),
            dedup: new.dedup.map(|dedup| store.keys.dedup(shard, dedup)),
        }
    }

    fn keys(&self) -> [&str; 3] {
        [&self.record, &self.index, self.dedup.as_deref().unwrap_or(&self.index)]
    }
}

/// The whole record, with who put it and who replaced it.
fn write(store: &RedisStore, new: &NewPending<'_>, [put, replaced]: [Digest; 2]) -> Vec<u8> {
    let slots = [put, replaced, new.subject.unwrap_or(Digest::NONE)];
    let ceiling_ms = millis(new.ceiling.max(new.ttl));
    record::write_slots(store.clock.now_ms(), ceiling_ms, new.display, &slots, new.body)
}
