//! A Redis with something of everything in it, and the binary in front of it.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use vestibule::{
    Keys, Vestibule,
    connection::{Connections, ReplayPolicy, SignIn},
    inspect::Names,
    pending::{Namespace, Pendings, PendingsConfig, Spec},
    store::{
        ConnectionId, ConnectorName, PendingId, TokenId,
        redis::{Keyspace, Prefix, RedisConfig},
    },
    token::{MintSpec, Scope, Scopes},
};
use vestibule_worker::provider::{Provider, Settings};

use crate::support::{
    server::{self, TestServer},
    sign_in::{connections_of, connector, sign_in},
    stores::fresh_prefix,
};

/// In every secret and every value that a user brought: nowhere in what is printed.
pub(crate) const CANARY: &str = "canary-hunter2";
pub(crate) const REASON: &str = "client secret has expired";

/// What there is.
pub(crate) struct Scene {
    pub(crate) provider: Provider,
    pub(crate) dir: TempDir,
    pub(crate) prefix: String,
    pub(crate) redis: String,
    pub(crate) keys: Keys,
    pub(crate) names: Keyspace,
}

/// The records of a populated Redis.
pub(crate) struct Ids {
    /// A form that waits for one person, and a replica that waits for it.
    pub(crate) waited: PendingId,
    pub(crate) cancelled: PendingId,
    pub(crate) token: TokenId,
    pub(crate) revoked_token: TokenId,
    /// Revoked with all others of its resource.
    pub(crate) dropped_token: TokenId,
    pub(crate) active: ConnectionId,
    pub(crate) overdue: ConnectionId,
    pub(crate) unsigned: ConnectionId,
    pub(crate) exhausted: ConnectionId,
    pub(crate) revoked: ConnectionId,
    pub(crate) held: ConnectionId,
    pub(crate) failing: ConnectionId,
    pub(crate) deleted: ConnectionId,
    /// The PKCE states' digests.
    pub(crate) live_state: String,
    pub(crate) taken_state: String,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Scene {
    pub(crate) async fn shared() -> Self {
        Self::on(&server::shared().await.url()).await
    }

    pub(crate) async fn on(redis: &str) -> Self {
        let provider = Provider::start(Settings::default()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let text = Keys::generate_toml();
        let prefix = fresh_prefix();
        let names = Keyspace::new(Prefix::new(&*prefix).unwrap());
        let keys = Keys::from_toml(&text).unwrap();
        let scene = Self { provider, dir, prefix, redis: redis.to_owned(), keys, names };
        fs::write(scene.path("keys.toml"), &*text).unwrap();
        let settings = Settings::default();
        fs::write(scene.path("secret"), format!("{}\n", settings.client_secret)).unwrap();
        let issuer = scene.provider.issuer();
        let config = format!(
            "[[connectors]]\nslug = \"demo\"\nauthorize_url = \"{issuer}/authorize\"\n\
             token_url = \"{issuer}/token\"\nclient_id = \"{}\"\nclient_secret_file = {:?}\n\
             issuer = \"{issuer}\"\nreplay_grace_s = 30\n",
            settings.client_id,
            scene.path("secret")
        );
        fs::write(scene.path("vestibule.toml"), config).unwrap();
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) async fn vestibule(&self) -> Vestibule {
        let config = RedisConfig::new(&self.redis).unwrap().with_prefix(&*self.prefix).unwrap();
        Vestibule::connect(config, &self.keys).await.unwrap()
    }

    pub(crate) async fn host(&self) -> Connections {
        let grace = ReplayPolicy::Grace(Duration::from_secs(30));
        connections_of(&self.vestibule().await, connector(&self.provider.issuer(), grace))
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = worker(args);
        command.args(["--redis", &self.redis, "--prefix", &self.prefix]);
        command
    }

    /// Without any key: what only looks needs none.
    pub(crate) async fn look(&self, args: &[&str]) -> Said {
        said(self.command(args)).await
    }

    /// With the keys and the connectors.
    pub(crate) async fn run(&self, args: &[&str]) -> Said {
        let mut command = self.command(args);
        command.arg("--keys").arg(self.path("keys.toml"));
        command.arg("--config").arg(self.path("vestibule.toml"));
        said(command).await
    }

    pub(crate) async fn json(&self, args: &[&str]) -> Value {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        let said = self.run(&args).await;
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    pub(crate) fn pause_key(&self) -> String {
        let shard = Names::new(self.keys.naming.clone()).connector("demo");
        self.names.pause(ConnectorName { shard, slug: "demo" })
    }

    /// One record of every kind and state.
    pub(crate) async fn populate(&self, server: &TestServer) -> Ids {
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

        let active = sign_in(&host, CANARY).await;
        let taken_state = self.states(&mut raw).await[0].clone();
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
        let ends = (now + 58_000).to_string();
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
        self.set(&mut raw, &held, &lease, now + 58_000).await;
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
        sign_in(host, CANARY).await
    }

    pub(crate) async fn set(
        &self,
        raw: &mut MultiplexedConnection,
        id: &ConnectionId,
        fields: &[(&str, &str)],
        due: u64,
    ) {
        let _: () = raw.hset_multiple(self.names.connection(id), fields).await.unwrap();
        let _: () = raw.zadd(self.names.due(id.shard()), id.as_str(), due).await.unwrap();
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
    pub(crate) fn named(&self) -> Vec<(String, &'static str)> {
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

pub(crate) async fn now_ms(raw: &mut MultiplexedConnection) -> u64 {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(raw).await.unwrap();
    seconds * 1000 + micros / 1000
}

pub(crate) fn worker(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule-worker"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What an operator's shell may have set must not decide a test.
    for name in ["REDIS_URL", "KEYS_FILE", "KEYS", "CONFIG", "PREFIX", "INSTANCE", "JOURNAL_DIR"] {
        command.env_remove(format!("VESTIBULE_{name}"));
    }
    command.env_remove("RUST_LOG").kill_on_drop(true);
    command
}

pub(crate) async fn said(mut command: Command) -> Said {
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints UTF-8");
    let said = Said {
        code: output.status.code().expect("it exits"),
        out: text(output.stdout),
        err: text(output.stderr),
    };
    assert!(!said.err.contains("panicked"), "{said:?}");
    said
}
