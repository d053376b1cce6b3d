//! A worker's world: a provider, a key file and connectors, under a prefix of its own on a Redis; and
//! the binary in front of it, by the user whom the manual has run each of its commands.
//!
//! Shared by the tests of the worker; each uses a part of it.

mod due;
mod populated;
mod process;

use std::{fs, path::PathBuf, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use vestibule::{
    Keys, Vestibule,
    connection::{Connections, ReplayPolicy},
    inspect::{Names, Role},
    store::{
        ConnectorName,
        redis::{Keyspace, Prefix, RedisConfig},
    },
};
use vestibule_worker::provider::{Provider, Settings};

pub use self::{
    populated::{CANARY, Ids, LISTS, REASON, now_ms},
    process::{PATIENCE, Running, Said, end, fails, get, said, signal, until, worker},
};
use crate::support::{
    server::{self, users::by, with_every_right},
    sign_in::{connections_of, connector},
    stores::fresh_prefix,
};

pub struct Scene {
    pub provider: Provider,
    pub dir: TempDir,
    pub prefix: String,
    /// By the library's user, if it is of a test server.
    pub redis: String,
    pub keys: Keys,
    pub names: Keyspace,
}

impl Scene {
    pub async fn shared() -> Self {
        Self::on(&server::shared().await.url()).await
    }

    pub async fn on(redis: &str) -> Self {
        Self::at(Provider::start(Settings::default()).await.unwrap(), redis).await
    }

    /// With a provider that has settings of its own, and the usual client.
    pub async fn at(provider: Provider, redis: &str) -> Self {
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub async fn vestibule(&self) -> Vestibule {
        self.vestibule_with(&self.keys).await
    }

    /// By another key file than the first.
    pub async fn vestibule_with(&self, keys: &Keys) -> Vestibule {
        let config = RedisConfig::new(&self.redis).unwrap().with_prefix(&*self.prefix).unwrap();
        Vestibule::connect(config, keys).await.unwrap()
    }

    pub async fn host(&self) -> Connections {
        self.host_of(&self.vestibule().await)
    }

    pub fn host_of(&self, vestibule: &Vestibule) -> Connections {
        let grace = ReplayPolicy::Grace(Duration::from_secs(30));
        connections_of(vestibule, connector(&self.provider.issuer(), grace))
    }

    pub fn pause_key(&self) -> String {
        let shard = Names::new(self.keys.naming.clone()).connector("demo");
        self.names.pause(ConnectorName { shard, slug: "demo" })
    }

    /// Without any key: what only looks needs none.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = worker(args);
        command.args(["--redis", &self.redis_for(args), "--prefix", &self.prefix]);
        command
    }

    /// By whose user the manual has a command run: the worker sweeps, an inspector looks, and an operator
    /// changes something. A doctor who sees everything is nobody with a role.
    pub fn redis_for(&self, args: &[&str]) -> String {
        let looks = ["ls", "show", "why", "key", "waiters", "events", "top"];
        match args {
            ["doctor", ..] => with_every_right(&self.redis),
            ["run" | "sweep", ..] => by(Role::Worker, &self.redis),
            ["keys", "status", ..] => by(Role::Inspector, &self.redis),
            [command, ..] if looks.contains(command) => by(Role::Inspector, &self.redis),
            _ => by(Role::Operator, &self.redis),
        }
    }

    /// With the keys and the connectors.
    pub fn configured(&self, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.arg("--keys").arg(self.path("keys.toml"));
        command.arg("--config").arg(self.path("vestibule.toml"));
        command
    }

    /// `run`, with an admin port there.
    pub fn sweeping(&self, admin: &str) -> Command {
        self.configured(&["run", "--interval-ms", "50", "--log", "json", "--admin", admin])
    }

    pub async fn look(&self, args: &[&str]) -> Said {
        said(self.command(args)).await
    }

    pub async fn run(&self, args: &[&str]) -> Said {
        said(self.configured(args)).await
    }

    pub async fn json(&self, args: &[&str]) -> Value {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        let said = self.run(&args).await;
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }
}
