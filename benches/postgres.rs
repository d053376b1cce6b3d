//! A private PostgreSQL, where its server is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, Statement};

use crate::{
    contestants::{PAYLOAD, name},
    rounds::{Work, work},
    support::process::Guarded,
};

/// Group commit wants many, two cores want few: of 16, 32, 64 and 128 this was the fastest.
const CONNECTIONS: usize = 32;

/// A running cluster with the defaults, fsync included; only a Unix socket leads to it.
pub struct Postgres {
    process: Guarded,
    dir: TempDir,
}

impl Postgres {
    /// `None` if there is no server here.
    pub async fn start() -> Option<Self> {
        let bin = binaries()?;
        let dir = tempfile::Builder::new().prefix("vst-pg-").tempdir().expect("a directory");
        let data = dir.path().join("data").display().to_string();
        if is_root() {
            // The server refuses to run as root.
            let owned = Command::new("chown").arg("postgres").arg(dir.path()).status();
            owned.ok().filter(std::process::ExitStatus::success)?;
        }
        let initdb = bin.join("initdb").display().to_string();
        let made = as_owner(&[&initdb, "-D", &data, "-A", "trust", "-U", "postgres"]);
        let made = Command::new(&made[0]).args(&made[1..]).output().expect("initdb can be started");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

        let server = bin.join("postgres").display().to_string();
        let socket = dir.path().display().to_string();
        let settings = ["-k", &socket, "-c", "listen_addresses=", "-c", "max_connections=200"];
        let line = as_owner(&[&[server.as_str(), "-D", &data][..], &settings].concat());
        let process = Guarded::spawn(Path::new(&line[0]), &line[1..], dir.path());
        let postgres = Self { process, dir };
        let client = postgres.client().await;
        let table = "CREATE TABLE pkce (state text PRIMARY KEY, record bytea NOT NULL, \
                     expires_at timestamptz NOT NULL)";
        client.batch_execute(table).await.expect("a table");
        Some(postgres)
    }

    /// Ends it in order: a killed one would leave its shared memory behind.
    pub fn stop(self) {
        self.process.signal("INT");
        let pid = self.dir.path().join("data/postmaster.pid");
        let deadline = Instant::now() + Duration::from_secs(10);
        while pid.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn client(&self) -> Client {
        let config = format!("host={} user=postgres dbname=postgres", self.dir.path().display());
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match tokio_postgres::connect(&config, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return client;
                }
                Err(error) => assert!(Instant::now() < deadline, "PostgreSQL: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What a store on PostgreSQL does: one statement puts, one takes, each its own transaction.
pub async fn insert_and_delete(postgres: &Postgres) -> Work {
    let mut sessions = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = postgres.client().await;
        let put = "INSERT INTO pkce VALUES ($1, $2, now() + interval '10 minutes') \
                   ON CONFLICT DO NOTHING";
        let take = "DELETE FROM pkce WHERE state = $1 AND expires_at > now() RETURNING record";
        let put = client.prepare(put).await.unwrap();
        let take = client.prepare(take).await.unwrap();
        sessions.push(Session { client, put, take });
    }
    let sessions = Arc::new(sessions);
    work(move |number| {
        let sessions = sessions.clone();
        async move {
            let session = &sessions[number as usize % sessions.len()];
            let (state, payload) = (name(number), [b'p'; PAYLOAD]);
            let put = session.client.execute(&session.put, &[&state, &&payload[..]]).await;
            assert_eq!(put.unwrap(), 1);
            let taken = session.client.query_one(&session.take, &[&state]).await.unwrap();
            assert_eq!(taken.get::<_, &[u8]>(0).len(), PAYLOAD);
        }
    })
}

struct Session {
    client: Client,
    put: Statement,
    take: Statement,
}

/// Where Debian keeps the server's programs, which are not on the PATH; the newest.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let bins = versions.map(|version| version.path().join("bin"));
    bins.filter(|bin| bin.join("postgres").exists() && bin.join("initdb").exists()).max()
}

fn as_owner(line: &[&str]) -> Vec<String> {
    let owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"];
    let before = if is_root() { &owner[..] } else { &[] };
    before.iter().chain(line).map(|word| (*word).to_owned()).collect()
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}
