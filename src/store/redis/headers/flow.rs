//! The claim of a submission flow, which is a pending.

use std::time::Duration;

use super::super::{RedisStore, record, scripts, scripts::Arg};
use crate::{
    digest::Digest,
    store::{ClaimedFlow, Ending, GRACE, PendingId, StoreError, millis},
};

pub(super) async fn claim(
    store: &RedisStore,
    id: PendingId,
    request: Digest,
    lease: Duration,
) -> Result<ClaimedFlow, StoreError> {
    let keys = [store.keys.pending(id), store.keys.claim(id)];
    let request = request.as_bytes();
    // Zero is no life for a key.
    let lease = millis(lease).max(1);
    let argv = [Arg::Bytes(request), Arg::Number(lease), Arg::Number(millis(GRACE))];
    let verb = &scripts::HEADERS_CLAIM;
    let mut reply = store.run_script(verb, [&keys[0], &keys[1]], argv, request).await?;
    let corrupt = |what| StoreError::Corrupt { verb: verb.name, key: keys[0].clone(), what };
    Ok(match reply.word() {
        "claimed" => {
            let mut bytes = reply.take_bytes(0)?;
            let Some((_, body)) = record::read_pending(&bytes) else {
                return Err(corrupt(HEAD));
            };
            bytes.drain(..body);
            ClaimedFlow::Claimed { body: bytes, left: Duration::from_millis(reply.part(1)?) }
        }
        // The lease may end between the script's reads.
        "busy" => ClaimedFlow::Busy {
            left: Duration::from_millis(u64::try_from(reply.part::<i64>(0)?).unwrap_or(0)),
        },
        "ended" => ClaimedFlow::Ended(
            Ending::from_word(&reply.part::<String>(0)?)
                .ok_or_else(|| corrupt("its state is unknown"))?,
        ),
        "expired" => ClaimedFlow::Expired,
        "absent" => ClaimedFlow::Absent,
        "corrupt" => return Err(corrupt(HEAD)),
        _ => return Err(reply.unknown_word()),
    })
}

pub(super) async fn release(
    store: &RedisStore,
    id: PendingId,
    request: Digest,
) -> Result<(), StoreError> {
    let (key, request) = (store.keys.claim(id), request.as_bytes());
    let verb = &scripts::HEADERS_RELEASE;
    store.run_script(verb, [&key], [Arg::Bytes(request)], request).await.map(drop)
}

const HEAD: &str = "its head cannot be read";
