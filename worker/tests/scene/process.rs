//! The binary as a process: how it is started, told, and what comes of it.

use std::{
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// On a machine that is slow, and busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn worker(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule-worker"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What an operator's shell may have set must not decide a test.
    for name in vestibule_worker::cli::variables() {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG").kill_on_drop(true);
    command
}

/// Runs a command to its end, which is no panic.
pub async fn said(mut command: Command) -> Said {
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

/// What it says of why it does not start.
pub async fn fails(command: Command) -> String {
    let said = timeout(PATIENCE, said(command)).await.expect("it ends");
    assert_eq!(said.code, 1, "{said:?}");
    said.err
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
    crate::support::process::signal(child.id().expect("it runs"), name);
}

/// Waits for its end, and returns what it logged.
pub async fn end(mut child: Child) -> (ExitStatus, String) {
    let mut stderr = child.stderr.take().unwrap();
    let mut log = String::new();
    timeout(PATIENCE, stderr.read_to_string(&mut log)).await.expect("it ends").unwrap();
    (child.wait().await.unwrap(), log)
}

/// A worker whose log is read while it runs: what it has come to is seen there.
pub struct Running {
    child: Child,
    log: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::<Mutex<String>>::default();
        let kept = Arc::clone(&log);
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                *kept.lock().unwrap() += &format!("{line}\n");
            }
        });
        Self { child, log, reading }
    }

    /// Waits until it has said this.
    pub async fn says(&self, what: &str) {
        until(what, || async { self.log.lock().unwrap().contains(what) }).await;
    }

    /// Waits until it sweeps: from then on it does as it is told by signals.
    pub async fn sweeps(&self) {
        self.says("\"sweeping\"").await;
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end, and returns what it logged.
    pub async fn end(mut self) -> (ExitStatus, String) {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        self.reading.await.unwrap();
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        (status, log)
    }
}
