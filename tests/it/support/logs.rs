//! All that is traced in this process, to find what must not be in it.

use std::{
    io,
    sync::{Mutex, MutexGuard, OnceLock},
};

use tracing_subscriber::fmt::MakeWriter;

static LOGS: OnceLock<Logs> = OnceLock::new();

/// The text of every event and span, of every level and crate, since the first [`capture`].
#[derive(Debug, Default)]
pub struct Logs(Mutex<Vec<u8>>);

/// Starts to capture, once per process. Other tests of the process write here too, so look for
/// what only one test has.
pub fn capture() -> &'static Logs {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let logs = LOGS.get_or_init(Logs::default);
    INSTALLED.get_or_init(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(logs)
            .init();
    });
    logs
}

impl Logs {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer()).into_owned()
    }

    pub fn contain(&self, what: &str) -> bool {
        self.text().contains(what)
    }

    fn buffer(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap()
    }
}

impl<'a> MakeWriter<'a> for &'static Logs {
    type Writer = Writer<'a>;

    fn make_writer(&'a self) -> Writer<'a> {
        Writer(self.buffer())
    }
}

#[derive(Debug)]
pub struct Writer<'a>(MutexGuard<'a, Vec<u8>>);

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
