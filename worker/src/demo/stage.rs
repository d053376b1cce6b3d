//! Everything that the demo starts, and how it ends again.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use tempfile::TempDir;
use vestibule::{Keys, Vestibule, pkce::OauthState, store::redis::RedisConfig};

use super::{
    Options,
    browser::Browser,
    inspect::Inspector,
    narrator::Narrator,
    processes::{Replica, Worker, sweep_orphans},
    redis_server::RedisServer,
};
use crate::provider::{Provider, Settings};

/// What the provider forgives: a refresh token may be presented again for so long.
pub(super) const REUSE_GRACE: Duration = Duration::from_secs(30);
/// Long enough that nothing comes due twice.
const REFRESHED_LIFE: Duration = Duration::from_secs(120);
/// What a token that is handed out must have left of its life.
pub(super) const SERVE_MARGIN: Duration = Duration::from_secs(2);
/// Where the provider sends users back to. Whichever replica takes it: the browser decides.
pub(super) const REDIRECT_URI: &str = "http://service.localhost/callback";

pub(super) struct Stage {
    pub(super) narrator: Narrator,
    pub(super) provider: Provider,
    pub(super) redis: Inspector,
    pub(super) browser: Browser,
    pub(super) replicas: Vec<Replica>,
    pub(super) workers: Vec<Worker>,
    server: Option<RedisServer>,
    url: String,
    config: PathBuf,
    /// After the processes that log into it: fields are dropped in this order.
    dir: TempDir,
}

impl Stage {
    /// Starts Redis and the provider, and writes the keys and the configuration.
    pub(super) async fn open(options: &Options, narrator: Narrator) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("vestibule-demo-").tempdir()?;
        let (server, url, prefix) = backend(options, dir.path(), narrator).await?;
        let config = RedisConfig::new(&url)?.with_prefix(&prefix)?;
        let keys = Keys::generate_toml();
        // The first to connect finds out what is wrong with a server, and says it in words.
        Vestibule::connect(config, &Keys::from_toml(&keys)?).await.context("Redis")?;
        let redis = Inspector::connect(&url, &prefix).await?;

        let secret = OauthState::random().secret().to_owned();
        let provider = Provider::start(Settings {
            reuse_grace: REUSE_GRACE,
            access_lifetime_first: REFRESHED_LIFE,
            access_lifetime_refreshed: REFRESHED_LIFE,
            client_id: CLIENT_ID.to_owned(),
            client_secret: secret.clone(),
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            ..Settings::default()
        })
        .await
        .context("the provider")?;
        narrator.say(format!("an OAuth provider on {}", provider.issuer()));
        narrator
            .add("It rotates the refresh token at every refresh. Whoever presents a spent one is");
        narrator.add(format!(
            "forgiven for {} s; after that everything that came of the sign-in is revoked.",
            REUSE_GRACE.as_secs()
        ));

        private(&dir.path().join("keys.toml"), &keys)?;
        let entry = Entry {
            slug: CONNECTOR,
            provider: &provider,
            client_id: CLIENT_ID,
            client_secret: &secret,
            grace: REUSE_GRACE,
        };
        let config = write_config(dir.path(), "worker", &url, &prefix, &[entry])?;
        Ok(Self {
            url,
            config,
            narrator,
            provider,
            redis,
            browser: Browser::new()?,
            replicas: Vec::new(),
            workers: Vec::new(),
            server,
            dir,
        })
    }

    /// Starts the replicas and the workers.
    pub(super) async fn populate(&mut self) -> anyhow::Result<()> {
        for name in ["A", "B", "C"] {
            let replica = self.start_replica(name).await?;
            self.replicas.push(replica);
        }
        for name in ["worker-1", "worker-2"] {
            let (config, log) = self.files(name);
            self.workers.push(Worker::start(name, &config, &log).await?);
        }
        let replicas: Vec<_> =
            self.replicas.iter().map(|it| format!("{} (pid {})", it.name, it.pid)).collect();
        let workers: Vec<_> = self
            .workers
            .iter()
            .map(|it| format!("{} (pid {})", it.name, it.process.pid()))
            .collect();
        self.narrator.say(format!("three replicas of a service: {}", replicas.join(", ")));
        self.narrator
            .say(format!("two workers that keep credentials fresh: {}", workers.join(", ")));
        Ok(())
    }

    /// Starts one more replica, which knows nothing but where Redis and the keys are.
    pub(super) async fn start_replica(&self, name: &'static str) -> anyhow::Result<Replica> {
        let (config, log) = self.files(name);
        Replica::start(name, &config, REDIRECT_URI, &log).await
    }

    /// Reaps orphans, in a process of its own. Returns how many.
    pub(super) async fn sweep_orphans(&self) -> anyhow::Result<u64> {
        sweep_orphans(&self.config).await
    }

    /// Writes a configuration of this name, for others on the same Redis.
    pub(super) fn write_config(
        &self,
        name: &str,
        prefix: &str,
        entries: &[Entry<'_>],
    ) -> anyhow::Result<PathBuf> {
        write_config(self.dir.path(), name, &self.url, prefix, entries)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether the Redis was there before.
    pub(super) fn shares_redis(&self) -> bool {
        self.server.is_none()
    }

    /// What a process reads, and where it logs.
    fn files(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.config.clone(), self.dir.path().join(format!("{name}.log")))
    }

    /// The last words of every process, for whoever must find out what went wrong.
    pub(super) fn show_logs(&self) {
        let Ok(files) = std::fs::read_dir(self.dir.path()) else { return };
        let mut logs: Vec<_> = files.flatten().map(|file| file.path()).collect();
        logs.retain(|path| path.extension().is_some_and(|it| it == "log"));
        logs.sort();
        for path in logs {
            let Ok(log) = std::fs::read_to_string(&path) else { continue };
            let name = path.file_stem().unwrap_or_default().display();
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

/// A Redis, where it is, and the first part of the demo's keys in it.
async fn backend(
    options: &Options,
    dir: &Path,
    narrator: Narrator,
) -> anyhow::Result<(Option<RedisServer>, String, String)> {
    let Some(url) = &options.redis else {
        let server = RedisServer::start(dir).await?;
        let (url, version) = (server.url(), server.describe());
        narrator.say(format!("a private Redis: {version} on {url}, nothing on disk"));
        return Ok((Some(server), url, "vst".to_owned()));
    };
    if !["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme)) {
        bail!(
            "--redis: the demo looks into Redis as redis-cli does, so it takes one server: \
             redis://… or rediss://…"
        );
    }
    let mut tag = [0; 4];
    getrandom::fill(&mut tag)?;
    let prefix = format!("demo-{:08x}", u32::from_be_bytes(tag));
    narrator.say(format!("your Redis: every key of the demo begins with {prefix}:"));
    Ok((None, url.clone(), prefix))
}

/// The connector of the provider that everybody signs in at.
pub(super) const CONNECTOR: &str = "demo";
const CLIENT_ID: &str = "demo-service";

/// What a configuration says of one connector.
pub(super) struct Entry<'a> {
    pub(super) slug: &'a str,
    pub(super) provider: &'a Provider,
    pub(super) client_id: &'a str,
    pub(super) client_secret: &'a str,
    /// None is strict.
    pub(super) grace: Duration,
}

/// Writes what replicas and workers read. Returns where.
fn write_config(
    dir: &Path,
    name: &str,
    url: &str,
    prefix: &str,
    entries: &[Entry<'_>],
) -> anyhow::Result<PathBuf> {
    // What JSON quotes, TOML reads.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let file = |name: &str| quoted(&dir.join(name).to_string_lossy());
    let mut text = format!(
        "redis = {}\nprefix = {}\nkeys_file = {}\njournal_dir = {}\njournal_window_s = 1\n",
        quoted(url),
        quoted(prefix),
        file("keys.toml"),
        file(&format!("{name}-journal")),
    );
    for entry in entries {
        let secret = format!("{}-secret", entry.slug);
        private(&dir.join(&secret), entry.client_secret)?;
        write!(
            text,
            "\n[[connectors]]\nslug = {}\nauthorize_url = {}\ntoken_url = {}\nissuer = {}\n\
             client_id = {}\nclient_secret_file = {}\nscopes = [\"offline_access\"]\n\
             refresh_lead_s = 3\nserve_margin_s = {}\n",
            quoted(entry.slug),
            quoted(&entry.provider.authorize_url()),
            quoted(&entry.provider.token_url()),
            quoted(&entry.provider.issuer()),
            quoted(entry.client_id),
            file(&secret),
            SERVE_MARGIN.as_secs(),
        )?;
        if !entry.grace.is_zero() {
            writeln!(text, "replay_grace_s = {}", entry.grace.as_secs())?;
        }
    }
    let path = dir.join(format!("{name}.toml"));
    private(&path, &text)?;
    Ok(path)
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
