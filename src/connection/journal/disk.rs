//! The files of a journal.
//!
//! Each is written beside its place, synced, moved there, and the directory is synced: it is whole
//! or it is not there.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::JournalError;

const WHOLE: &str = "entries";
const UNFINISHED: &str = "unfinished";
const DAMAGED: &str = "damaged";
/// No write takes that long: what is still unfinished then was left by a process that died.
const ABANDONED: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// The lock of the one that replays: held until the process ends.
    replays: Mutex<Option<File>>,
    /// What was found unfinished, and when first.
    unfinished: Mutex<HashMap<PathBuf, Instant>>,
}

impl Disk {
    /// Makes the directory if it is missing, and shows that it may be written.
    pub(super) fn open(path: PathBuf) -> Result<Self, JournalError> {
        let disk = Self { path, replays: Mutex::default(), unfinished: Mutex::default() };
        disk.doing("making the directory", || {
            DirBuilder::new().recursive(true).mode(0o700).create(&disk.path)
        })?;
        disk.doing("opening the lock", || disk.lock_file().map(drop))?;
        Ok(disk)
    }

    pub(super) fn write(&self, stem: &str, bytes: &[u8]) -> Result<(), JournalError> {
        self.doing("writing", || {
            let unfinished = self.file(stem, UNFINISHED);
            let written = write_new(&unfinished, bytes)
                .and_then(|()| fs::rename(&unfinished, self.file(stem, WHOLE)));
            if written.is_err() {
                // What cannot even be removed now is removed once it is old.
                let _ = fs::remove_file(&unfinished);
            }
            written?;
            File::open(&self.path)?.sync_all()
        })
    }

    /// The stems of the files that are whole, and nothing else is left for ever.
    pub(super) fn list(&self) -> Result<Vec<String>, JournalError> {
        let paths = self.doing("listing", || {
            let entries = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.path()));
            entries.collect::<io::Result<Vec<_>>>()
        })?;
        self.remove_abandoned(&paths);
        let whole = paths.iter().filter(|path| has_extension(path, WHOLE));
        let stem = |path: &PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
        let mut stems: Vec<_> = whole.filter_map(stem).collect();
        stems.sort();
        Ok(stems)
    }

    /// `None` if it was removed meanwhile.
    pub(super) fn read(&self, stem: &str) -> Result<Option<Vec<u8>>, JournalError> {
        self.doing("reading", || unless_gone(fs::read(self.file(stem, WHOLE))))
    }

    pub(super) fn remove(&self, stem: &str) -> Result<(), JournalError> {
        let remove = || unless_gone(fs::remove_file(self.file(stem, WHOLE))).map(drop);
        self.doing("removing what is decided", remove)
    }

    /// Keeps a damaged file for people to see.
    pub(super) fn set_aside(&self, stem: &str) -> Result<(), JournalError> {
        let aside = || fs::rename(self.file(stem, WHOLE), self.file(stem, DAMAGED));
        self.doing("setting a damaged file aside", || unless_gone(aside()).map(drop))
    }

    /// Whether this process has the lock, now or since an earlier call.
    pub(super) fn may_replay(&self) -> Result<bool, JournalError> {
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        if replays.is_some() {
            return Ok(true);
        }
        let file = self.doing("opening the lock", || self.lock_file())?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                *replays = Some(file);
                Ok(true)
            }
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => self.doing("taking the lock", || Err(error.into())),
        }
    }

    fn lock_file(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        options.open(self.path.join("lock"))
    }

    fn remove_abandoned(&self, paths: &[PathBuf]) {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *unfinished);
        for path in paths.iter().filter(|path| has_extension(path, UNFINISHED)) {
            let first = before.get(path).copied().unwrap_or_else(Instant::now);
            if first.elapsed() < ABANDONED || fs::remove_file(path).is_err() {
                unfinished.insert(path.clone(), first);
            }
        }
    }

    fn file(&self, stem: &str, extension: &str) -> PathBuf {
        self.path.join(format!("{stem}.{extension}"))
    }

    fn doing<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, JournalError> {
        work().map_err(|error| JournalError::Io {
            path: self.path.display().to_string(),
            doing,
            source: Arc::new(error),
        })
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The other process that works on the directory may have been there first.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}
