//! Everything that the demo starts, and how it ends again.

use std::{io::Write, path::Path, time::Duration};

use anyhow::{Context, bail};
use tempfile::TempDir;
use vestibule::{Keys, pkce::OauthState, store::redis::RedisConfig};

use super::{
    Options,
    browser::Browser,
    inspect::Inspector,
    narrator::Narrator,
    processes::{Replica, Worker},
    redis_server::RedisServer,
};
use crate::provider::{Provider, Settings};

/// What the provider forgives: a refresh token may be presented again for so long.
pub(super) const REUSE_GRACE: Duration = Duration::from_secs(30);
/// How long the access token of a sign-in lives. Due at 70 to 80 % of it.
const FIRST_LIFE: Duration = Duration::from_secs(10);
/// Long enough that nothing comes due twice.
const REFRESHED_LIFE: Duration = Duration::from_secs(120);
/// Where the provider sends users back to. Whichever replica takes it: the browser decides.
const REDIRECT_URI: &str = "http://service.localhost/callback";

pub(super) struct Stage {
    pub(super) narrator: Narrator,
    pub(super) provider: Provider,
    pub(super) redis: Inspector,
    pub(super) browser: Browser,
    pub(super) replicas: Vec<Replica>,
    pub(super) workers: Vec<Worker>,
    server: Option<RedisServer>,
    /// After the processes that log into it: fields are dropped in this order.
    dir: TempDir,
}

impl Stage {
    /// Starts Redis and the provider, and writes the keys and the configuration.
    pub(super) async fn open(options: &Options, narrator: Narrator) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("vestibule-demo-").tempdir()?;
        let tag: String = hex(OauthState::random().secret());
        let (server, url, prefix) = match &options.redis {
            None => {
                let server = RedisServer::start(dir.path()).await?;
                let (url, version) = (server.url(), server.describe());
                narrator.say(format!("a private Redis: {version} on {url}, nothing on disk"));
                (Some(server), url, "vst".to_owned())
            }
            Some(url) if ["redis://", "rediss://"].iter().any(|s| url.starts_with(s)) => {
                let prefix = format!("demo-{tag}");
                narrator.say(format!("your Redis; every key of this demo begins with {prefix}:"));
                (None, url.clone(), prefix)
            }
            Some(_) => bail!(
                "--redis: the demo looks into Redis as redis-cli does, so it takes one server: \
                 redis://… or rediss://…"
            ),
        };

        let secret = OauthState::random().secret().to_owned();
        let provider = Provider::start(Settings {
            reuse_grace: REUSE_GRACE,
            access_lifetime_first: FIRST_LIFE,
            access_lifetime_refreshed: REFRESHED_LIFE,
            client_id: "demo-service".to_owned(),
            client_secret: secret.clone(),
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            ..Settings::default()
        })
        .await
        .context("the provider")?;
        narrator.say(format!(
            "an OAuth provider on {}: every refresh rotates the refresh token; whoever presents \
             an old one",
            provider.issuer()
        ));
        narrator.say(format!(
            "  is forgiven for {} s, after that all tokens of that sign-in are revoked",
            REUSE_GRACE.as_secs()
        ));

        let keys = Keys::generate_toml();
        private(&dir.path().join("keys.toml"), &keys)?;
        private(&dir.path().join("client-secret"), &secret)?;
        private(&dir.path().join(CONFIG), &configuration(dir.path(), &url, &prefix, &provider))?;
        // The first to connect finds out what is wrong with a server, in words.
        let config = RedisConfig::new(&url)?.with_prefix(&prefix)?;
        vestibule::Vestibule::connect(config, &Keys::from_toml(&keys)?).await?.ping().await?;
        Ok(Self {
            narrator,
            provider,
            redis: Inspector::connect(&url, &prefix).await?,
            browser: Browser::new()?,
            replicas: Vec::new(),
            workers: Vec::new(),
            server,
            dir,
        })
    }

    /// Starts the replicas and the workers.
    pub(super) async fn populate(&mut self) -> anyhow::Result<()> {
        let config = self.dir.path().join(CONFIG);
        let log = |name: &str| self.dir.path().join(format!("{name}.log"));
        for name in ["A", "B", "C"] {
            self.replicas.push(Replica::start(name, &config, REDIRECT_URI, &log(name)).await?);
        }
        for name in ["worker-1", "worker-2"] {
            self.workers.push(Worker::start(name, &config, &log(name)).await?);
        }
        let replicas: Vec<_> =
            self.replicas.iter().map(|it| format!("{} (pid {})", it.name, it.pid)).collect();
        let workers: Vec<_> = self
            .workers
            .iter()
            .map(|it| format!("{} (pid {})", it.name, it.process.pid()))
            .collect();
        self.narrator.say(format!("three replicas of a service: {}", replicas.join(", ")));
        self.narrator.say(format!("two workers beside them: {}", workers.join(", ")));
        Ok(())
    }

    /// The last words of every process, for whoever must find out what went wrong.
    pub(super) fn show_logs(&self) {
        for name in ["A", "B", "C", "worker-1", "worker-2", "redis"] {
            let path = self.dir.path().join(format!("{name}.log"));
            let Ok(log) = std::fs::read_to_string(path) else { continue };
            let lines: Vec<_> = log.lines().collect();
            if !lines.is_empty() {
                self.narrator.complain(format!("the last words of {name}:"));
                self.narrator.show(&lines[lines.len().saturating_sub(6)..]);
            }
        }
    }

    /// Stops every process, and leaves nothing in a Redis that was there before.
    pub(super) async fn close(self) {
        let Self { narrator, mut redis, replicas, workers, server, .. } = self;
        for worker in workers {
            worker.process.stop().await;
        }
        for replica in replicas {
            replica.stop().await;
        }
        match server {
            Some(server) => server.stop().await,
            None => match redis.clean_up().await {
                Ok(keys) => narrator.say(format!("removed the demo's {keys} keys")),
                Err(error) => narrator.complain(format!("the demo's keys remain: {error:#}")),
            },
        }
    }
}

const CONFIG: &str = "worker.toml";

fn configuration(dir: &Path, url: &str, prefix: &str, provider: &Provider) -> String {
    // What JSON quotes, TOML reads.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let file = |name: &str| quoted(&dir.join(name).to_string_lossy());
    format!(
        "redis = {}\nprefix = {}\nkeys_file = {}\n\n\
         [[connectors]]\nslug = \"demo\"\nauthorize_url = {}\ntoken_url = {}\nissuer = {}\n\
         client_id = \"demo-service\"\nclient_secret_file = {}\nscopes = [\"offline_access\"]\n\
         refresh_lead_s = 3\nserve_margin_s = 2\nreplay_grace_s = {}\n",
        quoted(url),
        quoted(prefix),
        file("keys.toml"),
        quoted(&provider.authorize_url()),
        quoted(&provider.token_url()),
        quoted(&provider.issuer()),
        file("client-secret"),
        REUSE_GRACE.as_secs(),
    )
}

/// Writes a file that only its owner may read.
fn private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    let written = open.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Eight characters that a key prefix may have.
fn hex(random: &str) -> String {
    random.bytes().take(4).map(|byte| format!("{byte:02x}")).collect()
}
