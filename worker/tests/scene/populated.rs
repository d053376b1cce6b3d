//! A Redis with something of everything in it.

use std::time::Duration;

use redis::{AsyncCommands, aio::MultiplexedConnection};
use vestibule::{
    connection::{Connections, SignIn},
    pending::{Namespace, Pendings, PendingsConfig, Spec},
    store::{ConnectionId, PendingId, TokenId},
    token::{MintSpec, Scope, Scopes},
};

use super::Scene;
use crate::support::{server::TestServer, sign_in::sign_in};

/// In every secret and every value that a user brought: nowhere in what is printed.
pub const CANARY: &str = "canary-hunter2";
pub const REASON: &str = "client secret has expired";
/// None is longer than a minute.
const LEASE_MS: u64 = 58_000;
/// What `ls` lists.
pub const LISTS: [&str; 9] = [
    "pendings",
    "tokens",
    "states",
    "connections",
    "due",
    "leases",
    "connectors",
    "headers",
    "orphans",
];

/// The records of a populated Redis.
pub struct Ids {
    /// A form that waits for one person, and a replica that waits for it.
    pub waited: PendingId,
    pub cancelled: PendingId,
    pub token: TokenId,
    pub revoked_token: TokenId,
    /// Revoked with all others of its resource.
    pub dropped_token: TokenId,
    pub active: ConnectionId,
    pub overdue: ConnectionId,
    pub unsigned: ConnectionId,
    pub exhausted: ConnectionId,
    pub revoked: ConnectionId,
    pub held: ConnectionId,
    pub failing: ConnectionId,
    pub deleted: ConnectionId,
    /// The PKCE states' digests.
    pub live_state: String,
    pub taken_state: String,
}

impl Scene {
    /// One record of every kind and state.
    pub async fn populate(&self, server: &TestServer) -> Ids {
        let mut raw = server.raw().await;
        let vestibule = self.vestibule().await;
        let host = self.host().await;
        let config = PendingsConfig { instance: "replica-a".into(), ..Default::default() };
        let pendings: Pendings<String> = vestibule.pendings(config);
        let namespace = Namespace::new(CANARY).unwrap();
        let mut spec = Spec::new("form", CANARY.to_owned());
        spec.alias = "approve the order".to_owned();
        spec.subject = Some(CANARY.to_owned());
        let waited = pendings.create(&namespace, &spec).await.unwrap().id;
        let spec = Spec::new("device_code", CANARY.to_owned());
        let cancelled = pendings.create(&namespace, &spec).await.unwrap().id;
        pendings.cancel(cancelled, None).await.unwrap();
        self.waiter(&mut raw, waited, "replica-b").await;

        let scopes = Scopes::default();
        scopes.register(Scope::mcp_auth("/mcp")).unwrap();
        let tokens = vestibule.temp_tokens(scopes);
        let mint = async |resource: &str| {
            let life = Duration::from_secs(600);
            tokens.mint(&MintSpec::new("mcp_auth", resource, life)).await.unwrap().id
        };
        let (token, revoked_token) = (mint("flow-1").await, mint("flow-1").await);
        let dropped_token = mint("flow-2").await;
        tokens.revoke_id(revoked_token).await.unwrap();
        tokens.revoke_resource("mcp_auth", "flow-2").await.unwrap();

        let active = self.another(&host).await;
        let taken_state = self.states(&mut raw).await[0].clone();
        apart().await;
        let started = SignIn::new(CANARY, "demo", CANARY, "http://127.0.0.1:9/callback");
        host.start(started).await.unwrap();
        let live_state = self.states(&mut raw).await;
        let live_state = live_state.into_iter().find(|state| *state != taken_state).unwrap();

        let unsigned = host.create(CANARY, "demo").await.unwrap();
        let revoked = self.another(&host).await;
        host.revoke(CANARY, &revoked, "the user left").await.unwrap();
        let deleted = self.another(&host).await;
        host.delete(CANARY, &deleted).await.unwrap();
        let now = now_ms(&mut raw).await;
        let overdue = self.another(&host).await;
        self.set(&mut raw, &overdue, &[("next_at", &(now - 600_000).to_string())], now - 600_000)
            .await;
        let held = self.another(&host).await;
        let ends = (now + LEASE_MS).to_string();
        let since = (now - 5_000).to_string();
        let lease = [
            ("fence", "7"),
            ("lease", "00112233445566778899aabbccddeeff"),
            ("lease_by", "worker-a"),
            ("lease_ends_at", &ends),
            ("att_token", "00112233445566778899aabbccddeeff"),
            ("att_fence", "7"),
            ("att_at", &since),
        ];
        self.set(&mut raw, &held, &lease, now + LEASE_MS).await;
        let failing = self.another(&host).await;
        let next = (now + 3_600_000).to_string();
        let failed = [
            ("attempts", "3"),
            ("last_error", "503 Service Unavailable"),
            ("error_at", &since),
            ("failing_at", &since),
            ("next_at", &next),
        ];
        self.set(&mut raw, &failing, &failed, now + 3_600_000).await;
        let exhausted = self.another(&host).await;
        let given_up = [
            ("status", "exhausted"),
            ("reason", "503 Service Unavailable"),
            ("status_at", &since),
            ("attempts", "40"),
        ];
        self.set(&mut raw, &exhausted, &given_up, now).await;
        let _: () = raw.zrem(self.names.due(exhausted.shard()), exhausted.as_str()).await.unwrap();
        let until = (now + 3_600_000).to_string();
        let pause =
            [("reason", REASON), ("since_at", &since), ("until_at", &until), ("times", "2")];
        let _: () = raw.hset_multiple(self.pause_key(), &pause).await.unwrap();
        Ids {
            waited,
            cancelled,
            token,
            revoked_token,
            dropped_token,
            active,
            overdue,
            unsigned,
            exhausted,
            revoked,
            held,
            failing,
            deleted,
            live_state,
            taken_state,
        }
    }

    async fn another(&self, host: &Connections) -> ConnectionId {
        apart().await;
        sign_in(host, CANARY).await
    }

    pub async fn set(
        &self,
        raw: &mut MultiplexedConnection,
        id: &ConnectionId,
        fields: &[(&str, &str)],
        due: u64,
    ) {
        let _: () = raw.hset_multiple(self.names.connection(id), fields).await.unwrap();
        let _: () = raw.zadd(self.names.due(id.shard()), id.as_str(), due).await.unwrap();
    }

    /// Renews the lease that is held: for who looks for longer than it lasts.
    pub async fn renew(&self, raw: &mut MultiplexedConnection, ids: &Ids) {
        let ends = now_ms(raw).await + LEASE_MS;
        self.set(raw, &ids.held, &[("lease_ends_at", &ends.to_string())], ends).await;
    }

    async fn waiter(&self, raw: &mut MultiplexedConnection, id: PendingId, who: &str) {
        let until = now_ms(raw).await + 3_600_000;
        let _: () = raw.zadd(self.names.waiters(id), who, until).await.unwrap();
    }

    async fn states(&self, raw: &mut MultiplexedConnection) -> Vec<String> {
        let pattern = self.names.pattern("pkce");
        let keys: Vec<String> = raw.keys(pattern).await.unwrap();
        keys.iter().map(|key| key.rsplit(':').next().unwrap().to_owned()).collect()
    }
}

impl Ids {
    /// The ids by name, for golden outputs.
    pub fn named(&self) -> Vec<(String, &'static str)> {
        vec![
            (self.waited.to_string(), "<waited>"),
            (self.cancelled.to_string(), "<cancelled>"),
            (self.token.to_string(), "<token>"),
            (self.revoked_token.to_string(), "<revoked token>"),
            (self.dropped_token.to_string(), "<dropped token>"),
            (self.active.to_string(), "<active>"),
            (self.overdue.to_string(), "<overdue>"),
            (self.unsigned.to_string(), "<unsigned>"),
            (self.exhausted.to_string(), "<exhausted>"),
            (self.revoked.to_string(), "<revoked>"),
            (self.held.to_string(), "<held>"),
            (self.failing.to_string(), "<failing>"),
            (self.deleted.to_string(), "<deleted>"),
            (self.live_state.clone(), "<live state>"),
            (self.taken_state.clone(), "<taken state>"),
        ]
    }
}

/// What happens next is told as later, in whatever shard it does.
async fn apart() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

pub async fn now_ms(raw: &mut MultiplexedConnection) -> u64 {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(raw).await.unwrap();
    seconds * 1000 + micros / 1000
}
