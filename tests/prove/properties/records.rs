//! Records that are not what the library writes: each verb says so, and does nothing worse.

use std::{sync::Mutex, time::Duration};

use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;
use vestibule::store::{
    Class, Ending, Kind, PendingId, RecordName, Store, StoreError, TokenId, redis::RedisStore,
};

use super::{Progress, Verdict, live, malformed::Dice, verdict};
use crate::support::{
    server::{TestServer, random},
    stores::store,
    verbs,
};

const CALLERS: u64 = 64;

/// Which scripts: those that are, or a reader that believes what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Vestibule,
    /// It takes the offset of the binary part as it stands there.
    Trusting,
}

#[derive(Debug, Default)]
struct Seen {
    corrupt: u64,
    answered: u64,
    wrong: Vec<String>,
}

/// Altered, cut and random records under each kind of verb: an outcome, or *corrupt*, and no other
/// error.
pub async fn are_refused(reader: Reader, count: u64, progress: Progress) -> Verdict {
    let seed = random();
    let server = TestServer::builder().cluster(false).start().await;
    let store = store(&server, "vst").await;
    let seen = std::sync::Arc::new(Mutex::new(Seen::default()));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS.min(count) {
        let (store, mut raw) = (store.clone(), server.raw().await);
        let (seen, progress) = (seen.clone(), progress.clone());
        callers.spawn(async move {
            let mut dice = Dice::new(seed.wrapping_add(caller * 7919));
            let good = good(&store, &mut raw).await;
            for number in (caller..count).step_by(CALLERS as usize) {
                let mut bytes = good[number as usize % 3].clone();
                damage(&mut dice, &mut bytes);
                let outcome = match reader {
                    Reader::Vestibule => one(&store, &mut raw, number, &bytes).await,
                    Reader::Trusting => trusting(&mut raw, &bytes).await,
                };
                let mut seen = seen.lock().unwrap();
                match outcome {
                    Ok(()) => seen.answered += 1,
                    Err((Some(Class::Corrupt), _)) => seen.corrupt += 1,
                    Err((_, said)) => {
                        seen.wrong.push(format!("{said}\n{}", bytes.escape_ascii()));
                    }
                }
                progress(1);
            }
        });
    }
    callers.join_all().await;
    let Seen { corrupt, answered, wrong } = std::mem::take(&mut *seen.lock().unwrap());
    for wrong in wrong.iter().take(5) {
        println!("{wrong}");
    }
    verdict(
        format!(
            "{count} altered, cut and random records: {corrupt} times told as damaged, {answered} \
             times answered, never another error; seed {seed}"
        ),
        &[
            ("other errors", wrong.len() as u64),
            ("runs in which no record was damaged", u64::from(corrupt + wrong.len() as u64 == 0)),
        ],
    )
}

/// A state's, a pending's and a token's record, as the library writes them.
async fn good(store: &RedisStore, raw: &mut MultiplexedConnection) -> [Vec<u8>; 3] {
    let keys = store.keyspace();
    let name = verbs::live(store).await;
    let (pending, token) = (live::pending(store).await, live::token(store).await);
    let names = [keys.one_shot(&name), keys.pending(pending), keys.token(token)];
    redis::cmd("MGET")
        .arg(&names)
        .query_async::<Vec<Vec<u8>>>(raw)
        .await
        .unwrap()
        .try_into()
        .unwrap()
}

fn damage(dice: &mut Dice, bytes: &mut Vec<u8>) {
    match dice.below(4) {
        // The head is where a reader can be led astray.
        0 => {
            let at = dice.below(60.min(bytes.len()));
            bytes[at] = dice.roll() as u8;
        }
        1 => {
            let at = 55 + dice.below(4);
            let digits = [b'0', b'1', b'9', b' ', b'-', b'.', b'e', b'x', 0];
            bytes[at] = digits[dice.below(digits.len())];
        }
        2 => *bytes = (0..dice.below(200)).map(|_| dice.roll() as u8).collect(),
        _ => dice.mutate(bytes),
    }
}

type Outcome = Result<(), (Option<Class>, String)>;

/// Lays the record down where a verb will find it, and asks.
async fn one(
    store: &RedisStore,
    raw: &mut MultiplexedConnection,
    number: u64,
    bytes: &[u8],
) -> Outcome {
    let (keys, request) = (store.keyspace(), verbs::request());
    let keys = keys.clone();
    let store: &dyn Store = store;
    let outcome: Result<(), StoreError> = match number % 3 {
        0 => {
            let name = RecordName::alone(Kind::Pkce, request);
            lay(raw, keys.one_shot(&name), bytes).await;
            store.take(&name, verbs::request()).await.map(drop)
        }
        1 => {
            let id = PendingId::random(request);
            lay(raw, keys.pending(id), bytes).await;
            list(raw, keys.pendings(id.shard(), id.namespace()), id.to_string()).await;
            match number / 3 % 5 {
                0 => live::finish(store, id, verbs::request(), Ending::Completed).await.map(drop),
                1 => store.read_pending(id).await.map(drop),
                2 => {
                    let cleared = store.clear_pendings(id.namespace(), request, "test", 50);
                    cleared.await.map(drop)
                }
                3 => live::put_pending(store, id, verbs::request()).await.map(drop),
                _ => replace(store, id).await,
            }
        }
        _ => {
            let id = TokenId::new(request, verbs::request());
            lay(raw, keys.token(id), bytes).await;
            list(raw, keys.tokens(id.shard(), id.index()), id.digest().to_hex()).await;
            match number / 3 % 4 {
                0 => store.use_token(id, verbs::request(), 2).await.map(drop),
                1 => store.revoke_token(id, verbs::request()).await.map(drop),
                2 => store.read_token(id, None).await.map(drop),
                _ => live::mint(store, id, verbs::request()).await.map(drop),
            }
        }
    };
    outcome.map_err(|error| (Some(error.class()), error.to_string()))
}

async fn lay(raw: &mut MultiplexedConnection, key: String, bytes: &[u8]) {
    let mut set = redis::cmd("SET");
    set.arg(key).arg(bytes).arg("PX").arg(600_000).query_async::<()>(raw).await.unwrap();
}

async fn list(raw: &mut MultiplexedConnection, key: String, member: String) {
    let mut add = redis::cmd("ZADD");
    add.arg(key).arg(9e15).arg(member).query_async::<()>(raw).await.unwrap();
}

async fn replace(store: &dyn Store, id: PendingId) -> Result<(), StoreError> {
    let (ttl, subject, dedup, display) = (Duration::from_secs(60), None, None, &[("kind", "test")]);
    let (request, ceiling) = (verbs::request(), ttl);
    let new = vestibule::store::NewPending {
        id,
        request,
        ttl,
        ceiling,
        subject,
        dedup,
        extends: false,
        display,
        body: verbs::BODY,
    };
    store.replace_pending(new).await.map(drop)
}

async fn trusting(raw: &mut MultiplexedConnection, bytes: &[u8]) -> Outcome {
    let mut eval = redis::cmd("EVAL");
    let script = "local value = ARGV[1]
        local offset = value:sub(56, 59) + 0
        return value:sub(offset + 1, offset + 16) == value and 1 or value:byte(offset) + 0";
    eval.arg(script).arg(0).arg(bytes);
    let said = eval.query_async::<redis::Value>(raw).await;
    said.map(drop).map_err(|error| (None, error.to_string()))
}
