//! Who competes over PKCE states: the library, the plain commands, and what is usually written.

use std::{sync::Arc, time::Duration};

use deadpool_redis::Pool;
use redis::{
    AsyncConnectionConfig, Cmd, IntoConnectionInfo, Script, Value, aio::MultiplexedConnection, cmd,
    io::tcp::TcpSettings,
};
use serde::Serialize;
use vestibule::{
    Keys, RequestId, Vestibule,
    pkce::{OauthState, PkceState, PkceStates, PkceVerifier},
    seal::{Binding, Seal},
    store::redis::{RedisConfig, RedisStore},
};

use crate::{
    rounds::{Work, work},
    support::server::TestServer,
};

/// The payload of every contestant, in bytes: a usual record, encoded.
pub const PAYLOAD: usize = 364;

/// A life, and the grace after it.
const TTL: Duration = Duration::from_secs(600);
const GRACE: Duration = Duration::from_secs(60);

/// A record that takes [`PAYLOAD`] bytes encoded.
pub fn record() -> PkceState {
    record_of(PAYLOAD)
}

/// A record that takes so many bytes encoded.
pub fn record_of(length: usize) -> PkceState {
    let mut record = PkceState::new("github", PkceVerifier::random());
    record.started_by = "user-4711".to_owned();
    record.created_at_ms = 1_763_697_824_123;
    record.redirect_uri = "https://service.example/oauth/callback".to_owned();
    record.session = "0f2c7d3a91b84be6".to_owned();
    record.resource = "https://provider.example/api".to_owned();
    record.return_url = "https://service.example/settings/connections?".to_owned();
    while encoded(&record) < length {
        record.return_url.push('r');
    }
    assert_eq!(encoded(&record), length);
    record
}

/// How many bytes a value takes encoded: the version, then the value.
pub fn encoded<T: Serialize>(value: &T) -> usize {
    1 + rmp_serde::to_vec_named(value).unwrap().len()
}

pub fn state(number: u64) -> OauthState {
    OauthState::new(name(number))
}

/// As long as a random state, or nearly so. Padding the number would be half of a cheap verb.
pub fn name(number: u64) -> String {
    format!("a-state-as-long-as-a-random-one-is-{number}")
}

/// A connection as the library opens its own.
pub async fn shared(server: &TestServer) -> MultiplexedConnection {
    connection(server, Duration::from_secs(1)).await
}

/// The same for who does not try again: a machine that stops for a moment must not end the run.
pub async fn patient(server: &TestServer) -> MultiplexedConnection {
    connection(server, Duration::from_secs(10)).await
}

async fn connection(server: &TestServer, response: Duration) -> MultiplexedConnection {
    let info = server.url().into_connection_info().unwrap();
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(response));
    let client = redis::Client::open(info).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

pub async fn vestibule(server: &TestServer) -> Vestibule {
    replica(server, &Keys::random()).await
}

/// One of several that share a database, and so its keys.
pub async fn replica(server: &TestServer, keys: &Keys) -> Vestibule {
    Vestibule::connect(RedisConfig::new(&server.url()).unwrap(), keys).await.unwrap()
}

/// Through the library: sealed, idempotent, taken exactly once.
pub async fn ours(server: &TestServer) -> Work {
    let (states, record) = (vestibule(server).await.pkce(), record());
    put_and_take(states, record)
}

/// The same without a seal: encoded, in the open. Shows what of the cost is the cipher's.
pub async fn unsealed(server: &TestServer) -> Work {
    let keys = Keys::random();
    let config = RedisConfig::new(&server.url()).unwrap().with_prefix("open").unwrap();
    let store = Arc::new(RedisStore::connect(config, &keys.naming).await.unwrap());
    let vestibule = Vestibule::assemble(store, Seal::passthrough_for_development(), &keys);
    put_and_take(vestibule.pkce(), record())
}

pub fn put_and_take(states: PkceStates, record: PkceState) -> Work {
    let record = Arc::new(record);
    work(move |number| {
        let (states, record) = (states.clone(), record.clone());
        async move {
            let state = state(number);
            states.put(&state, &record).await.unwrap();
            let taken = states.take(&state).await.unwrap();
            assert_eq!(taken.created_at_ms, record.created_at_ms);
        }
    })
}

/// The ceiling: the two plain commands through one shared connection. Nothing is encoded, sealed
/// or safe to retry.
pub async fn plain(server: &TestServer) -> Work {
    let connection = shared(server).await;
    let payload: Arc<[u8]> = vec![b'p'; PAYLOAD].into();
    work(move |number| {
        let (mut connection, payload) = (connection.clone(), payload.clone());
        async move {
            let key = name(number);
            let mut put = cmd("SET");
            put.arg(&key).arg(&payload[..]).arg("NX").arg("PX").arg(TTL.as_millis() as u64);
            let put: Value = put.query_async(&mut connection).await.unwrap();
            assert_eq!(put, Value::Okay);
            let taken: Vec<u8> =
                cmd("GETDEL").arg(&key).query_async(&mut connection).await.unwrap();
            assert_eq!(taken.len(), PAYLOAD);
        }
    })
}

/// The library's own verbs, sealed likewise, with a connection checked out for each.
pub async fn checkout(server: &TestServer) -> Work {
    let pool = deadpool_redis::Config::from_url(server.url())
        .builder()
        .unwrap()
        .max_size(16)
        .runtime(deadpool_redis::Runtime::Tokio1)
        .build()
        .unwrap();
    let by_hand = Arc::new(ByHand {
        pool,
        seal: Seal::new(Keys::random().ring),
        take: Script::new(include_str!("../lua/pkce/take.lua")),
        record: record(),
    });
    by_hand.take.load_async(&mut by_hand.pool.get().await.unwrap()).await.unwrap();
    work(move |number| {
        let by_hand = by_hand.clone();
        async move { by_hand.put_and_take(number).await }
    })
}

struct ByHand {
    pool: Pool,
    seal: Seal,
    take: Script,
    record: PkceState,
}

impl ByHand {
    async fn put_and_take(&self, number: u64) {
        let name = *blake3::keyed_hash(&[7; 32], state(number).secret().as_bytes()).as_bytes();
        let hex: String = name[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let key = format!("vst:{{{}}}:pkce:{hex}", &hex[..2]);
        let binding = Binding { purpose: "pkce", prefix: "vst", name: &name[..16] };

        let sealed = self.seal.seal_short(binding, TTL, &self.record).unwrap();
        let mut put = cmd("SET");
        put.arg(&key).arg(stored(&sealed)).arg("NX").arg("GET").arg("PX");
        put.arg((TTL + GRACE).as_millis() as u64);
        assert_eq!(self.run(&put).await, Value::Nil);

        let request = *RequestId::random().digest().as_bytes();
        let mut take = cmd("EVALSHA");
        take.arg(self.take.get_hash()).arg(1).arg(&key).arg(&request[..]);
        take.arg(GRACE.as_millis() as u64);
        let Value::Array(reply) = self.run(&take).await else { panic!("no array") };
        let [_, _, Value::BulkString(value), _] = reply.as_slice() else { panic!("{reply:?}") };
        let body = &value[value.len() - sealed.len()..];
        let taken: PkceState = self.seal.open_short(binding, body).unwrap();
        assert_eq!(taken.created_at_ms, self.record.created_at_ms);
    }

    async fn run(&self, command: &Cmd) -> Value {
        let mut connection = self.pool.get().await.unwrap();
        command.query_async(&mut connection).await.unwrap()
    }
}

/// A live record of the library's layout around a sealed body.
pub fn stored(sealed: &[u8]) -> Vec<u8> {
    let line = "kind=mcp connection=github\n";
    let offset = 60 + line.len();
    let head =
        format!("v1 live      1763697824123 1763698424123 0000000000000 {offset:04}\n{line}");
    [head.as_bytes(), &[9; 16], &[0; 32], sealed].concat()
}
