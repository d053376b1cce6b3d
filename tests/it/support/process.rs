//! Server processes that cannot outlive the tests, however those end.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// A process under a shell that waits for us: when our end of its pipe closes, which a SIGKILL of
/// the tests does as well, the shell kills the process and removes its directory.
#[derive(Debug)]
pub struct Guarded {
    shell: Child,
    pid: u32,
}

/// A line on stdin means: kill, but keep the directory. End of file: kill and remove.
const GUARD: &str = r#"
dir=$1; shift; remove=
"$@" >>"$dir/log" 2>&1 </dev/null &
pid=$!
echo "$pid"
exec >/dev/null
read -r word || remove=yes
kill -9 "$pid"
wait "$pid"
[ -z "$remove" ] || rm -rf "$dir"
"#;

impl Guarded {
    /// Starts `program` with `dir` as its own: its output goes to `dir/log`.
    pub fn spawn(program: &Path, args: &[String], dir: &Path) -> Self {
        use std::os::unix::process::CommandExt;

        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(dir)
            .arg(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal goes to a whole group; the guard must survive it to clean up.
            .process_group(0)
            .spawn()
            .expect("sh can be started");
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("the guard tells the pid");
        let pid = line.trim().parse().expect("a pid");
        Self { shell, pid }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// SIGKILL; the directory stays. Returns when the process is gone.
    pub fn kill9(mut self) {
        if let Some(stdin) = &mut self.shell.stdin {
            let _ = stdin.write_all(b"keep\n"); // fails only if the guard is dead already
        }
        // The rest is what dropping does; the guard has its answer.
    }

    /// Sends a signal by name, as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        signal(self.pid, name);
    }
}

/// Sends a signal by name to a process that we started.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.expect("kill can be started").success(), "cannot send {name} to {pid}");
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait(); // nothing can be done about a failure here
    }
}

/// The Redis or Valkey server to test with. A missing one is a failure, never a skipped test.
pub fn server_program() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let wanted = match std::env::var("VESTIBULE_TEST_SERVER") {
            Ok(path) => vec![path],
            Err(_) => vec!["redis-server".to_owned(), "valkey-server".to_owned()],
        };
        wanted.into_iter().find(|name| major_version(name) >= Some(7)).map(PathBuf::from).expect(
            "these tests need a redis-server or valkey-server >= 7 on the PATH: run `.ci/setup`, \
             or `apt-get install redis-server`, or `brew install redis`",
        )
    })
}

/// Of `Redis server v=7.0.15 sha=…`, 7.
fn major_version(program: &str) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_once("v=")?.1.split('.').next()?.parse().ok()
}
