//! A server whose clock jumps when a test says so; the machine's own stays as it is.

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::server::Builder;

/// The wall clock of one server, in front of the system's. Its monotonic clock is not touched.
#[derive(Debug)]
pub struct Clock {
    shift: File,
    dir: TempDir,
}

impl Clock {
    /// Compiles what stands between the server and its clock.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("vst-clock-").tempdir().expect("a directory");
        let source = dir.path().join("clock.c");
        std::fs::write(&source, include_str!("clock.c")).expect("a file");
        let compiled = Command::new("cc")
            .args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC"])
            .arg(&source)
            .arg("-o")
            .arg(dir.path().join("clock.so"))
            .status()
            .expect("there is a C compiler: run `.ci/setup`");
        assert!(compiled.success(), "clock.c does not compile");
        let clock = Self { shift: File::create(dir.path().join("shift")).expect("a file"), dir };
        clock.jump_to(0);
        clock
    }

    /// The same server, under this clock.
    pub fn before(&self, server: Builder) -> Builder {
        let path = |name: &str| -> String {
            let path: PathBuf = self.dir.path().join(name);
            path.display().to_string()
        };
        server.env("LD_PRELOAD", &path("clock.so")).env("VESTIBULE_TEST_CLOCK", &path("shift"))
    }

    /// From now on the server's time is the system's and so many seconds.
    pub fn jump_to(&self, seconds: i64) {
        self.shift.write_all_at(&seconds.to_ne_bytes(), 0).expect("a file");
    }
}
