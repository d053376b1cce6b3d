//! A worker beside a provider, with credentials on a Redis.

use std::{
    fs,
    path::PathBuf,
    process::{ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use redis::AsyncCommands;
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::{sleep, timeout},
};
use vestibule::{
    Keys, Vestibule,
    connection::{Connections, ReplayPolicy},
    store::{ConnectionId, redis::RedisConfig},
};
use vestibule_worker::provider::{Provider, Settings};

use crate::support::{
    ageing::age,
    server::TestServer,
    sign_in::{connections_of, connector, sign_in},
    stores::fresh_prefix,
};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Whom the provider takes everybody for who does not say.
const SUBJECT: &str = "someone";

/// A provider, a key file, a connectors file, and credentials on a Redis.
pub struct Scene {
    pub provider: Provider,
    dir: TempDir,
    pub prefix: String,
    pub redis: String,
}

impl Scene {
    pub async fn new(redis: &str) -> Self {
        let provider = Provider::start(Settings::default()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let scene = Self { provider, dir, prefix: fresh_prefix(), redis: redis.to_owned() };
        fs::write(scene.path("keys.toml"), &*Keys::generate_toml()).unwrap();
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `run` with everything it needs.
    pub fn command(&self, admin: &str) -> Command {
        let mut command = self.asked(&["run", "--interval-ms", "50", "--log", "json"]);
        command.args(["--admin", admin]);
        command
    }

    /// Any command, on this Redis with these files.
    pub fn asked(&self, args: &[&str]) -> Command {
        let mut command = worker(args);
        command
            .args(["--redis", &self.redis, "--prefix", &self.prefix])
            .arg("--keys")
            .arg(self.path("keys.toml"))
            .arg("--config")
            .arg(self.path("vestibule.toml"));
        command
    }

    pub async fn host(&self) -> Connections {
        let keys = Keys::from_file(self.path("keys.toml")).unwrap();
        let config = RedisConfig::new(&self.redis).unwrap().with_prefix(&*self.prefix).unwrap();
        let vestibule = Vestibule::connect(config, &keys).await.unwrap();
        let grace = ReplayPolicy::Grace(Duration::from_secs(30));
        connections_of(&vestibule, connector(&self.provider.issuer(), grace))
    }

    /// So many credentials, all due.
    pub async fn due(&self, server: &TestServer, count: usize) -> Vec<ConnectionId> {
        let host = self.host().await;
        let mut ids = Vec::new();
        for owner in 0..count {
            ids.push(sign_in(&host, &format!("owner-{owner}")).await);
        }
        age(&mut server.raw().await, &self.prefix, Duration::from_secs(290)).await;
        ids
    }

    /// A credential whose person has withdrawn consent at the provider, which nobody knows yet.
    pub async fn withdrawn(&self) -> ConnectionId {
        let id = sign_in(&self.host().await, "withdrawn").await;
        assert!(self.provider.revoke_subject(SUBJECT) > 0);
        id
    }

    /// How many of these have their second secret.
    pub async fn refreshed(&self, server: &TestServer, ids: &[ConnectionId]) -> usize {
        let mut raw = server.raw().await;
        let mut refreshed = 0;
        for id in ids {
            let key = format!("{}:{{{}}}:conn:{id}", self.prefix, id.shard());
            let ver: u64 = raw.hget(key, "ver").await.unwrap();
            assert!(ver <= 2, "{id} was refreshed twice");
            refreshed += usize::from(ver == 2);
        }
        refreshed
    }
}

pub fn worker(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule-worker"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What an operator's shell may have set must not decide a test.
    for name in ["REDIS_URL", "KEYS_FILE", "KEYS", "CONFIG", "PREFIX", "INSTANCE", "JOURNAL_DIR"] {
        command.env_remove(format!("VESTIBULE_{name}"));
    }
    command.env_remove("RUST_LOG").kill_on_drop(true);
    command
}

pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

pub fn signal(child: &Child, name: &str) {
    let pid = child.id().expect("it runs").to_string();
    assert!(
        std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success()
    );
}

/// Waits for its end, and returns what it logged.
pub async fn end(mut child: Child) -> (ExitStatus, String) {
    let mut stderr = child.stderr.take().unwrap();
    let mut log = String::new();
    let read = async {
        stderr.read_to_string(&mut log).await.unwrap();
    };
    timeout(PATIENCE, read).await.expect("it ends");
    (child.wait().await.unwrap(), log)
}

pub async fn fails(mut command: Command) -> String {
    let Output { status, stderr, .. } = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}
