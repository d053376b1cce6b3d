//! A private Redis: on a free port, with nothing on disk, gone with the demo.

use std::{net::TcpListener, path::Path, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::guarded::Guarded;

/// How long it may take to come up, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct RedisServer {
    process: Guarded,
    port: u16,
    version: String,
}

impl RedisServer {
    /// Starts the `redis-server` or `valkey-server` of this machine.
    ///
    /// # Errors
    ///
    /// If there is none of version 7 or newer: how to get one.
    pub(super) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let (program, version) = installed().await?;
        let log = dir.join("redis.log");
        for _ in 0..5 {
            let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let mut command = Command::new(program);
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
            command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
            command.arg("--dir").arg(dir);
            let mut process = Guarded::start(&command, &log).await?;
            if answers(&mut process, port).await? {
                return Ok(Self { process, port, version });
            }
            let said = tokio::fs::read_to_string(&log).await.unwrap_or_default();
            if !said.contains("Address already in use") {
                bail!("{program} ended at once: {}", said.lines().last().unwrap_or("no word"));
            }
        }
        bail!("five ports that were free were taken a moment later")
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `redis-server 7.0.15 (pid 4711)`.
    pub(super) fn describe(&self) -> String {
        format!("{} (pid {})", self.version, self.process.pid())
    }

    pub(super) async fn stop(self) {
        self.process.stop().await;
    }
}

/// The first that is there and recent enough, and how it calls itself.
async fn installed() -> anyhow::Result<(&'static str, String)> {
    let mut too_old = String::new();
    for program in ["redis-server", "valkey-server"] {
        let Ok(output) = Command::new(program).arg("--version").output().await else { continue };
        let Some(version) = version(&String::from_utf8_lossy(&output.stdout)) else { continue };
        if version.split('.').next().and_then(|major| major.parse().ok()) >= Some(7) {
            return Ok((program, format!("{program} {version}")));
        }
        too_old = format!(" ({program} {version} is too old)");
    }
    bail!(
        "the demo needs a redis-server or valkey-server of version 7 or newer on the PATH{too_old}: \
         `apt-get install redis-server`, or `brew install redis`, or give --redis URL"
    )
}

/// Of `Redis server v=7.0.15 sha=…`, `7.0.15`.
fn version(text: &str) -> Option<String> {
    Some(text.split_once("v=")?.1.split_whitespace().next()?.to_owned())
}

/// False if the process ended instead.
async fn answers(process: &mut Guarded, port: u16) -> anyhow::Result<bool> {
    let client =
        redis::Client::open(("127.0.0.1", port)).context("a client for the private Redis")?;
    let deadline = Instant::now() + PATIENCE;
    while !process.has_ended() {
        if let Ok(mut connection) = client.get_multiplexed_async_connection().await
            && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            // Somebody else's server may have got the port first.
            && !process.has_ended()
        {
            return Ok(true);
        }
        if Instant::now() > deadline {
            bail!("the private Redis does not answer within {PATIENCE:?}");
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_server_tells_its_version() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(version(redis).as_deref(), Some("7.0.15"));
        assert_eq!(version("Valkey server v=8.1.0 sha=0").as_deref(), Some("8.1.0"));
        assert_eq!(version("something else"), None);
    }
}
