//! What a server was told, by its own account: MONITOR tells each command with its time, and what
//! the scripts call.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::Drive;
use crate::support::server::{TestServer, random};

/// What is asked for is drawn at random: so often, until each script was among it.
const TRIES: u32 = 5;

/// A command, and what it called if it is a script.
#[derive(Clone)]
pub struct Call {
    /// Seconds and microseconds.
    pub at: (String, String),
    pub args: Vec<Vec<u8>>,
    pub inner: Vec<Call>,
}

pub struct Recording {
    pub calls: Vec<Call>,
}

impl Recording {
    /// Of all that `drive` does to a server of its own.
    pub async fn of(drive: Drive, size: u64) -> Self {
        let server = Arc::new(TestServer::builder().start().await);
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        stream.write_all(b"MONITOR\r\n").await.unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = told.clone();
        let hearing = tokio::spawn(async move {
            let mut piece = vec![0; 1 << 16];
            while let Ok(read @ 1..) = stream.read(&mut piece).await {
                hears.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        for tries in 1..=TRIES {
            let driven = server.clone();
            // It has a runtime of its own.
            let driving = thread::spawn(move || drive(&driven, size));
            while !driving.is_finished() {
                sleep(Duration::from_millis(10)).await;
            }
            driving.join().expect("what is recorded succeeds");
            all_of_it(&server, &told).await;
            let calls = calls(&told.lock().unwrap());
            if tries == TRIES || scripts_in(&calls) == super::headers().len() {
                hearing.abort();
                return Self { calls };
            }
        }
        unreachable!("it ends with the last try")
    }
}

/// Waits until MONITOR has told all so far.
async fn all_of_it(server: &TestServer, told: &Mutex<Vec<u8>>) {
    let mark = format!("all-until-{}", random());
    let mut end = redis::cmd("ECHO");
    end.arg(&mark).query_async::<()>(&mut server.raw().await).await.unwrap();
    let is_there = || {
        let told = told.lock().unwrap();
        let end = &told[told.len().saturating_sub(4096)..];
        end.windows(mark.len()).any(|part| part == mark.as_bytes())
    };
    while !is_there() {
        sleep(Duration::from_millis(10)).await;
    }
}

fn scripts_in(calls: &[Call]) -> usize {
    let run = calls.iter().filter(|call| call.word() == "evalsha");
    run.map(Call::sha).collect::<BTreeSet<_>>().len()
}

fn calls(told: &[u8]) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for line in told.split(|byte| *byte == b'\n') {
        // `+1763697824.123456 [0 127.0.0.1:5000] "get" "key"`, or `[0 lua]` within a script.
        let Some(line) = line.strip_prefix(b"+").filter(|line| line.contains(&b'[')) else {
            continue;
        };
        let time = String::from_utf8_lossy(&line[..line.iter().position(|b| *b == b' ').unwrap()]);
        let (seconds, micros) = time.split_once('.').unwrap();
        let at = (seconds.to_owned(), micros.trim_start_matches('0').to_owned());
        let at = (at.0, if at.1.is_empty() { "0".to_owned() } else { at.1 });
        let who = line.iter().position(|b| *b == b']').unwrap();
        let call = Call { at, args: words(&line[who + 1..]), inner: Vec::new() };
        if line[..who].ends_with(b"lua") {
            calls.last_mut().expect("a script calls").inner.push(call);
        } else {
            calls.push(call);
        }
    }
    calls
}

/// The words of a line, as Redis quotes them.
fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.iter().copied();
    while bytes.any(|byte| byte == b'"') {
        let mut word = Vec::new();
        loop {
            match bytes.next() {
                None | Some(b'"') => break,
                Some(b'\\') => word.push(match bytes.next().expect("an escape has a letter") {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'x' => {
                        let mut digit = || (bytes.next().unwrap() as char).to_digit(16).unwrap();
                        (digit() * 16 + digit()) as u8
                    }
                    other => other,
                }),
                Some(byte) => word.push(byte),
            }
        }
        words.push(word);
    }
    words
}

impl Call {
    /// The command's name.
    pub fn word(&self) -> String {
        let word = self.args.first().map(|word| String::from_utf8_lossy(word).to_ascii_lowercase());
        word.unwrap_or_default()
    }

    pub fn sha(&self) -> String {
        String::from_utf8_lossy(&self.args[1]).into_owned()
    }

    /// The keys that a script declares.
    pub fn declared(&self) -> &[Vec<u8>] {
        let count: usize = String::from_utf8_lossy(&self.args[2]).parse().unwrap();
        &self.args[3..3 + count]
    }

    /// The keys that a script's calls touch, each once.
    pub fn touched(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for key in self.inner.iter().flat_map(|inner| inner.args.iter().skip(1)) {
            let is_key = key.windows(2).any(|part| part == b":{") && !key.contains(&b' ');
            if is_key && !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for arg in &self.args {
            write!(f, "{} ", arg.escape_ascii())?;
        }
        for inner in &self.inner {
            write!(f, "\n    {inner:?}")?;
        }
        Ok(())
    }
}
