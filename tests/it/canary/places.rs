//! A Redis that writes down all it can, and the other places where something could be read.

use std::{
    fmt::{Debug, Write},
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use redis::{Value, aio::MultiplexedConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::search::Place;
use crate::support::{
    exposition::Sample,
    logs::{self, Logs},
    server::TestServer,
};

/// Everything that anybody watches.
pub struct Watched {
    pub server: TestServer,
    pub raw: MultiplexedConnection,
    pub metrics: Recorded,
    /// How many verbs did what they should.
    pub successes: usize,
    monitor: Arc<Mutex<Vec<u8>>>,
    logs: &'static Logs,
    printed: String,
}

impl Watched {
    /// Starts a server and the watch. Nothing is compressed, so that what is there can be found.
    pub async fn start() -> Self {
        let logs = logs::capture();
        let mut builder = TestServer::builder();
        for (name, value) in [
            ("--appendonly", "yes"),
            ("--rdbcompression", "no"),
            ("--slowlog-log-slower-than", "0"),
            ("--slowlog-max-len", "1000000"),
            ("--acllog-max-len", "100000"),
            ("--loglevel", "debug"),
            ("--crash-memcheck-enabled", "no"),
        ] {
            builder = builder.arg(name, value);
        }
        let server = builder.start().await;
        let monitor = monitor(server.port()).await;
        let raw = server.raw().await;
        let (metrics, printed) = (Recorded::default(), String::new());
        Self { server, raw, metrics, successes: 0, monitor, logs, printed }
    }

    /// Prints what a host could print.
    pub fn see(&mut self, value: &dyn Debug) {
        writeln!(self.printed, "{value:?}\n{value:#?}").unwrap();
    }

    /// Prints what came of a verb, an error with all its causes.
    pub fn outcome<T: Debug, E: std::error::Error>(&mut self, outcome: Result<T, E>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.see(&value);
                self.successes += 1;
                Some(value)
            }
            Err(error) => {
                self.see(&error);
                let mut cause: Option<&dyn std::error::Error> = Some(&error);
                while let Some(error) = cause {
                    writeln!(self.printed, "{error}").unwrap();
                    cause = error.source();
                }
                None
            }
        }
    }

    pub async fn ask(&mut self, words: &[&str]) -> Value {
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut self.raw).await.unwrap()
    }

    /// All places, as they are now.
    pub async fn places(&mut self) -> Vec<Place> {
        self.ask(&["SAVE"]).await;
        let mut places = Vec::new();
        for (name, words) in
            [("SLOWLOG", &["SLOWLOG", "GET", "-1"]), ("ACL LOG", &["ACL", "LOG", "100000"])]
        {
            let mut bytes = Vec::new();
            flatten(&self.ask(words).await, &mut bytes);
            places.push(Place::new(name, &bytes));
        }
        self.catch_up().await;
        places.push(Place::new("MONITOR", &self.monitor.lock().unwrap()));
        places.extend(self.places_without_redis());
        places
    }

    /// Those that are left when Redis is dead: also what it left behind.
    pub fn places_without_redis(&self) -> Vec<Place> {
        let mut places = vec![
            Place::new("library logs", self.logs.text().as_bytes()),
            Place::new("metrics", self.metrics.text().as_bytes()),
            Place::new("Debug", self.printed.as_bytes()),
        ];
        files(self.server.dir(), &mut places);
        places
    }

    /// Waits until MONITOR has told of all that was done until now.
    async fn catch_up(&mut self) {
        let mark = format!("mark-{:x}", crate::support::server::random());
        self.ask(&["ECHO", &mark]).await;
        let seen = async {
            while !String::from_utf8_lossy(&self.monitor.lock().unwrap()).contains(&mark) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), seen).await.expect("MONITOR tells");
    }
}

async fn monitor(port: u16) -> Arc<Mutex<Vec<u8>>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"MONITOR\r\n").await.unwrap();
    let mut ok = [0; 5];
    stream.read_exact(&mut ok).await.unwrap();
    assert_eq!(&ok, b"+OK\r\n");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let into = heard.clone();
    tokio::spawn(async move {
        let mut part = vec![0; 1 << 16];
        while let Ok(length @ 1..) = stream.read(&mut part).await {
            into.lock().unwrap().extend_from_slice(&part[..length]);
        }
    });
    heard
}

fn files(dir: &Path, places: &mut Vec<Place>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            files(&path, places);
        } else if kind.is_file() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            places.push(Place::new(name, &fs::read(&path).unwrap()));
        }
    }
}

fn flatten(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::BulkString(text) => bytes.extend_from_slice(text),
        Value::SimpleString(text) => bytes.extend_from_slice(text.as_bytes()),
        Value::Array(values) => values.iter().for_each(|value| flatten(value, bytes)),
        Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            flatten(key, bytes);
            flatten(value, bytes);
        }),
        _ => {}
    }
    bytes.push(b'\n');
}

/// The name, the labels and the description of every metric.
#[derive(Debug, Clone, Default)]
pub struct Recorded(Arc<Mutex<String>>, Arc<Mutex<Vec<Sample>>>);

impl Recorded {
    pub fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// What is not in the list of metrics.
    pub fn unlisted(&self) -> Vec<String> {
        self.1.lock().unwrap().iter().filter_map(Sample::fault).collect()
    }

    fn note_key(&self, key: &Key, suffix: &str) {
        self.note(key);
        let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned()));
        let (name, labels) = (format!("{}{suffix}", key.name()), labels.collect());
        self.1.lock().unwrap().push(Sample { name, labels, value: 0.0 });
    }

    fn note(&self, value: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{value:?}").unwrap();
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.note(&(name, text));
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.note(&(name, text));
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.note(&(name, text));
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.note_key(key, "");
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.note_key(key, "");
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.note_key(key, "_count");
        Histogram::noop()
    }
}
