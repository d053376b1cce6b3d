//! The binary as a process: how it is started, told, and what comes of it.

use std::{
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::{sleep, timeout},
};

pub const PATIENCE: Duration = Duration::from_secs(20);

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
