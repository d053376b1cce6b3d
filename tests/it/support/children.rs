//! Tests that need several processes start themselves again.
//!
//! A child is this very binary with a role in its environment: it plays the role and exits, and
//! never reaches the harness. It prints `CHILD` and a JSON value per line, and reads lines from
//! its stdin. It dies with its parent, whose end of that pipe it watches.
//!
//! ```ignore
//! let mut racers = children::spawn_many(4, "take", &json!({ "url": server.url() })).await;
//! children::start_together(&mut racers).await;
//! let won = racers[0].next().await.expect("a result");
//! ```

use std::{
    io::{BufRead, Write},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{ChildStdin, ChildStdout, Command},
    sync::mpsc,
    time::timeout,
};

use super::roles;

const ROLE: &str = "VESTIBULE_TEST_CHILD";
const ARGS: &str = "VESTIBULE_TEST_CHILD_ARGS";
const MARK: &str = "CHILD ";

/// How long a parent waits for a child's next word.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a child enters: as a test that is none when nobody asked for a role.
#[test]
fn entry() {
    run_if_child();
}

/// Plays the role and exits the process, if this process is a child. A binary without the test
/// harness calls it first thing in `main`, outside of any runtime.
pub fn run_if_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let args = std::env::var(ARGS).expect("a child has arguments");
    let args = serde_json::from_str(&args).expect("its arguments are JSON");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(roles::play(&role, args, Parent::watch()));
    std::process::exit(0);
}

/// A child process, as its parent sees it; killed when dropped.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

/// Starts a child in `role`; see [`roles::play`].
pub async fn spawn(role: &str, args: &Value) -> Child {
    let mut process = Command::new(std::env::current_exe().expect("this binary"))
        .args(["support::children::entry", "--exact", "--nocapture"])
        .env(ROLE, role)
        .env(ARGS, args.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("this binary starts again");
    let stdin = process.stdin.take().expect("piped");
    let stdout = BufReader::new(process.stdout.take().expect("piped")).lines();
    Child { process, stdin, stdout }
}

pub async fn spawn_many(count: usize, role: &str, args: &Value) -> Vec<Child> {
    let mut children = Vec::with_capacity(count);
    for _ in 0..count {
        children.push(spawn(role, args).await);
    }
    children
}

/// The barrier: all have said [`Parent::ready`] before the first may go.
pub async fn start_together(children: &mut [Child]) {
    for child in &mut *children {
        let said = child.next().await;
        assert_eq!(said, Some(Value::from("READY")), "a child fails before it is ready");
    }
    for child in children {
        child.tell("GO").await;
    }
}

impl Child {
    /// The next value that the child prints; `None` when it has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let line = timeout(PATIENCE, self.stdout.next_line()).await;
            let line = line.expect("a child is silent for too long").expect("a pipe")?;
            // The harness prints lines too.
            if let Some(json) = line.strip_prefix(MARK) {
                return Some(serde_json::from_str(json).expect("a child prints JSON"));
            }
        }
    }

    /// All that it still prints, until it ends by itself.
    pub async fn rest(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(value) = self.next().await {
            all.push(value);
        }
        all
    }

    pub async fn tell(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.expect("the child listens");
    }

    /// SIGKILL. Returns when it is gone.
    pub async fn kill9(&mut self) {
        self.process.kill().await.expect("the child can be killed");
    }

    /// If it ended by itself, and well.
    pub async fn wait(&mut self) -> bool {
        self.process.wait().await.expect("a child").success()
    }

    pub fn pid(&self) -> u32 {
        self.process.id().expect("the child runs")
    }
}

/// The parent, as a child sees it.
#[derive(Debug)]
pub struct Parent {
    lines: mpsc::UnboundedReceiver<String>,
}

impl Parent {
    fn watch() -> Self {
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                let _ = sender.send(line); // the role may not care
            }
            std::process::exit(0); // the parent is gone
        });
        Self { lines }
    }

    /// Prints one value for the parent.
    pub fn say(&self, value: impl Into<Value>) {
        // The harness may have begun a line.
        let line = format!("\n{MARK}{}\n", value.into());
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).expect("the parent reads");
    }

    /// The next line from the parent.
    pub async fn hear(&mut self) -> String {
        self.lines.recv().await.expect("the parent lives, or this process is ending")
    }

    /// Says READY and waits for GO; see [`start_together`].
    pub async fn ready(&mut self) {
        self.say("READY");
        assert_eq!(self.hear().await, "GO");
    }
}
