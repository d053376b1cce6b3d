//! A process that cannot outlive the demo, however the demo ends.
//!
//! A shell stands between: it kills the process when our end of its pipe closes, which a SIGKILL
//! of the demo does as well.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin, Command},
    time::timeout,
};

/// Started as `sh -c GUARD sh LOG PROGRAM ARGUMENT…`: tells the pid, and ends as the process ends.
const GUARD: &str = r#"
log=$1; shift
exec 3<&0
"$@" >>"$log" 2>&1 </dev/null 3<&- &
pid=$!
echo "$pid"
exec >/dev/null 2>&1
{ cat <&3; kill -9 "$pid"; } &
watch=$!
exec 3<&-
wait "$pid"
code=$?
kill "$watch"
exit "$code"
"#;

/// What a shell says of a process that SIGKILL ended.
pub(super) const KILLED: i32 = 128 + 9;

/// A process under its guard. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Guarded {
    pid: u32,
    guard: Child,
    /// Open as long as the process may live.
    stdin: Option<ChildStdin>,
}

impl Guarded {
    /// Starts the program; what it prints goes to `log`.
    pub(super) async fn start(command: &Command, log: &Path) -> anyhow::Result<Self> {
        let inner = command.as_std();
        let program = inner.get_program();
        let mut outer = Command::new("sh");
        outer.args(["-c", GUARD, "sh"]).arg(log).arg(program).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        outer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Ctrl-C goes to the whole group of a terminal; what ends these is the demo.
        outer.process_group(0);

        let what = program.display();
        let mut guard = outer.spawn().with_context(|| format!("cannot start sh for {what}"))?;
        let stdin = guard.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = guard.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).await?;
        }
        let pid = line.trim().parse().with_context(|| format!("no pid of {what}"))?;
        Ok(Self { pid, guard, stdin })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal by name, as `KILL` or `TERM`.
    pub(super) async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let pid = self.pid.to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().await;
        ensure!(sent.context("cannot start kill")?.success(), "cannot send SIG{name} to {pid}");
        Ok(())
    }

    /// Waits until it has ended, and says how: as a shell does, 128 and more for a signal.
    pub(super) async fn ended(&mut self, patience: Duration) -> anyhow::Result<i32> {
        match timeout(patience, self.guard.wait()).await {
            Ok(status) => Ok(code(status?)),
            Err(_) => bail!("process {} did not end within {patience:?}", self.pid),
        }
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.guard.try_wait(), Ok(None))
    }

    /// Kills it, and returns when it is gone.
    pub(super) async fn stop(mut self) {
        drop(self.stdin.take());
        // The guard has heard it; there is nobody to tell if it has not.
        let _ = timeout(Duration::from_secs(5), self.guard.wait()).await;
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}
