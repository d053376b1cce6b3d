//! The service's replicas and the workers: this program again, each an OS process of its own.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{guarded::Guarded, replica::Event};
use crate::cli;

/// How long a process may take to say what is expected of it, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A replica of the service. It ends when its standard input does.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) name: &'static str,
    pub(super) pid: u32,
    pub(super) port: u16,
    child: Child,
    stdin: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
}

impl Replica {
    /// Starts one, and waits until it listens.
    pub(super) async fn start(
        name: &'static str,
        config: &Path,
        redirect_uri: &str,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = this_program()?;
        command.arg("demo-replica").arg("--config").arg(config);
        let instance = format!("replica-{}", name.to_lowercase());
        command.args(["--instance", &instance, "--redirect-uri", redirect_uri]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(std::fs::File::create(log)?);
        // Ctrl-C goes to the whole group of a terminal; what ends these is the demo.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start replica {name}"))?;
        let (Some(stdin), Some(stdout), Some(pid)) =
            (child.stdin.take(), child.stdout.take(), child.id())
        else {
            bail!("replica {name} ended at once");
        };
        let events = BufReader::new(stdout).lines();
        let mut replica = Self { name, pid, port: 0, child, stdin, events };
        match replica.next_event().await? {
            Event::Ready { port } => replica.port = port,
            other => bail!("replica {name} said {other:?} before it was ready"),
        }
        Ok(replica)
    }

    /// What it says next, to this process only.
    pub(super) async fn next_event(&mut self) -> anyhow::Result<Event> {
        let name = self.name;
        match timeout(PATIENCE, self.events.next_line()).await {
            Ok(Ok(Some(line))) => {
                serde_json::from_str(&line).with_context(|| format!("replica {name} said {line}"))
            }
            Ok(Ok(None)) => bail!("replica {name} ended unexpectedly"),
            Ok(Err(error)) => Err(error).with_context(|| format!("replica {name}")),
            Err(_) => bail!("replica {name} said nothing within {PATIENCE:?}"),
        }
    }

    /// Reads what it says, and keeps none of it, for as long as that is waited for.
    pub(super) async fn unheard(&mut self) {
        while let Ok(Some(_)) = self.events.next_line().await {}
        std::future::pending::<()>().await;
    }

    pub(super) async fn stop(self) {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        if timeout(Duration::from_secs(5), child.wait()).await.is_err() {
            // It is a child of ours and goes with us in any case.
            let _ = child.kill().await;
        }
    }
}

/// A worker: what `vestibule-worker run` is in production.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) process: Guarded,
}

impl Worker {
    pub(super) async fn start(name: &str, config: &Path, log: &Path) -> anyhow::Result<Self> {
        let mut command = this_program()?;
        command.arg("run").arg("--config").arg(config).args(["--instance", name]);
        // Four passes a second: in production one is plenty, here somebody is watching.
        command.args(["--interval-ms", "250", "--admin", "off", "--log", "plain"]);
        Ok(Self { name: name.to_owned(), process: Guarded::start(&command, log).await? })
    }

    /// SIGTERM: it ends what is under way and begins nothing new. Returns its exit code.
    pub(super) async fn terminate(&mut self) -> anyhow::Result<i32> {
        self.process.signal("TERM").await?;
        self.process.ended(PATIENCE).await
    }

    /// SIGKILL: it ends where it stands. Returns what a shell says of it.
    pub(super) async fn kill(&mut self) -> anyhow::Result<i32> {
        self.process.signal("KILL").await?;
        self.process.ended(PATIENCE).await
    }
}

/// Reaps orphans once, as an operator does by hand. Returns how many.
pub(super) async fn sweep_orphans(config: &Path) -> anyhow::Result<u64> {
    let mut command = this_program()?;
    command.args(["sweep", "orphans", "--json", "--config"]).arg(config).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.context("the sweep")??;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    said["done"].as_u64().with_context(|| format!("the sweep said {said}"))
}

/// This program, configured by the demo's file alone and not by what surrounds it.
fn this_program() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("where is this program?")?);
    for name in cli::variables() {
        command.env_remove(name);
    }
    Ok(command)
}
