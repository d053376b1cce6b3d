//! The journal in a directory: a file for each group of entries that were written together.
//!
//! A file is never changed, and removed when all of its entries are decided; so one that was decided
//! just before a crash may come up again, and is decided again. Those who append while a write is
//! under way share the next one: a sync costs milliseconds, however many it is for. Files are
//! written and read off the runtime's threads.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::{Mutex as Turn, oneshot};

use super::{Journal, JournalEntry, JournalError, Undecided, disk::Disk, file};
use crate::digest::{Digest, random_bytes};

/// How many undecided answers a journal holds. Each is a few KiB.
const CAPACITY: usize = 10_000;

/// The journal in a directory of its own.
///
/// Several processes may append to one directory, if all of them have the same prefix and the same
/// key file; the first to ask for the [undecided](Journal::undecided) replays them until it ends,
/// as a file lock tells.
#[derive(Debug)]
pub struct DirectoryJournal {
    inner: Arc<Inner>,
    /// Whose turn it is to write.
    turn: Arc<Turn<()>>,
}

impl DirectoryJournal {
    /// Opens the journal, and makes the directory if it is missing, for its owner's eyes only.
    ///
    /// # Errors
    ///
    /// [`JournalError::Io`] if it can neither be made nor written.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        let inner = Inner { disk: Disk::open(path.into())?, state: Mutex::default() };
        Ok(Self { inner: Arc::new(inner), turn: Arc::default() })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(|_| JournalError::CutOff)?
    }
}

#[async_trait]
impl Journal for DirectoryJournal {
    async fn append(&self, entry: JournalEntry) -> Result<(), JournalError> {
        if self.inner.is_full() {
            // Nobody writes meanwhile: a file that is not there is one that is gone.
            let turn = self.turn.clone().lock_owned().await;
            self.blocking(move |inner| {
                let _turn = turn;
                inner.forget_gone()
            })
            .await?;
        }
        let written = self.inner.queue(entry)?;
        let turn = self.turn.clone().lock_owned().await;
        if self.inner.lock().queue.is_empty() {
            drop(turn); // the last write was for this one too
        } else {
            // A write goes on without its caller.
            self.blocking(move |inner| {
                let _turn = turn;
                inner.write_queue();
                Ok(())
            })
            .await?;
        }
        written.await.map_err(|_| JournalError::CutOff)?
    }

    async fn decided(&self, name: Digest) -> Result<(), JournalError> {
        match self.inner.strike_out(name) {
            Some(spent) => self.blocking(move |inner| inner.remove(&spent)).await,
            None => Ok(()),
        }
    }

    async fn undecided(&self, limit: usize) -> Result<Option<Undecided>, JournalError> {
        self.blocking(move |inner| inner.read(limit)).await
    }

    async fn quarantine(&self, name: Digest) -> Result<(), JournalError> {
        {
            let mut state = self.inner.lock();
            let stem = state.stems.get(&name).cloned();
            if let Some(group) = stem.and_then(|stem| state.groups.get_mut(&stem)) {
                group.damaged = true;
            }
        }
        self.decided(name).await
    }
}

#[derive(Debug)]
struct Inner {
    disk: Disk,
    /// A std Mutex: never held across a file operation.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<Queued>,
    /// By the stem of its file's name.
    groups: HashMap<String, Group>,
    /// Where each entry is.
    stems: HashMap<Digest, String>,
    /// The file, and the place in it, that the next reading begins with: what stays undecided must
    /// not hide what is behind it.
    next: Option<(String, usize)>,
}

#[derive(Debug)]
struct Queued {
    entry: JournalEntry,
    done: oneshot::Sender<Result<(), JournalError>>,
}

#[derive(Debug, Default)]
struct Group {
    undecided: HashSet<Digest>,
    damaged: bool,
}

/// A file, as it is read.
struct ReadFile {
    /// With their places in it.
    undecided: Vec<(usize, JournalEntry)>,
    damaged: bool,
}

/// A file none of whose entries is undecided.
struct Spent {
    stem: String,
    damaged: bool,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self) -> bool {
        self.lock().is_full()
    }

    /// What another process has decided, which replays this directory, is nowhere else to be seen.
    fn forget_gone(&self) -> Result<(), JournalError> {
        if self.is_full() {
            let there: HashSet<_> = self.disk.list()?.into_iter().collect();
            let mut state = self.lock();
            state.groups.retain(|stem, _| there.contains(stem));
            state.stems.retain(|_, stem| there.contains(stem));
        }
        Ok(())
    }

    fn queue(
        &self,
        entry: JournalEntry,
    ) -> Result<oneshot::Receiver<Result<(), JournalError>>, JournalError> {
        let mut state = self.lock();
        if state.is_full() {
            return Err(JournalError::Full { capacity: CAPACITY });
        }
        let (done, written) = oneshot::channel();
        state.queue.push(Queued { entry, done });
        Ok(written)
    }

    /// Writes all that is queued, and tells those who wait.
    fn write_queue(&self) {
        let queue = std::mem::take(&mut self.lock().queue);
        let stem = Digest::from_bytes(&random_bytes::<16>()).unwrap_or(Digest::NONE).to_hex();
        let names: Vec<_> = queue.iter().map(|queued| queued.entry.name).collect();
        // Before it can be decided.
        self.lock().note(&stem, &names, false);
        let bytes = file::encode(queue.iter().map(|queued| &queued.entry));
        let written = self.disk.write(&stem, &bytes);
        if written.is_err() {
            for name in names {
                self.strike_out(name);
            }
        }
        for queued in queue {
            // Whoever does not wait any more has no use for it.
            let _ = queued.done.send(written.clone());
        }
    }

    /// The file, if this was the last of its entries.
    fn strike_out(&self, name: Digest) -> Option<Spent> {
        let mut state = self.lock();
        let stem = state.stems.remove(&name)?;
        let group = state.groups.get_mut(&stem)?;
        group.undecided.remove(&name);
        if !group.undecided.is_empty() {
            return None;
        }
        let damaged = group.damaged;
        state.groups.remove(&stem);
        Some(Spent { stem, damaged })
    }

    fn remove(&self, spent: &Spent) -> Result<(), JournalError> {
        if spent.damaged { self.disk.set_aside(&spent.stem) } else { self.disk.remove(&spent.stem) }
    }

    fn read(&self, limit: usize) -> Result<Option<Undecided>, JournalError> {
        if !self.disk.may_replay()? {
            return Ok(None);
        }
        let mut found = Undecided::default();
        let mut stems = self.disk.list()?;
        let (first, skipped) = self.lock().next.take().unwrap_or_default();
        let is_before = |stem: &String| *stem < first;
        let before = stems.partition_point(is_before);
        stems.rotate_left(before);
        // What was skipped of the first file comes last.
        let again = stems.first().filter(|stem| **stem == first && skipped > 0).cloned();
        let parts = stems.into_iter().map(|stem| {
            let from = if stem == first { skipped } else { 0 };
            (stem, from..usize::MAX)
        });
        for (stem, places) in parts.chain(again.map(|stem| (stem, 0..skipped))) {
            let Some(file) = self.undecided_in(&stem)? else { continue };
            found.damaged += usize::from(file.damaged && places.end == usize::MAX);
            let part = file.undecided.into_iter().filter(|(place, _)| places.contains(place));
            for (place, entry) in part {
                if found.entries.len() == limit {
                    self.lock().next = Some((stem, place));
                    return Ok(Some(found));
                }
                found.entries.push(entry);
            }
        }
        Ok(Some(found))
    }

    /// What is in a file; one that is spent goes.
    fn undecided_in(&self, stem: &str) -> Result<Option<ReadFile>, JournalError> {
        let Some(bytes) = self.disk.read(stem)? else { return Ok(None) };
        let (entries, damaged) = file::decode(&bytes);
        let names: Vec<_> = entries.iter().map(|entry| entry.name).collect();
        let undecided = self.lock().note(stem, &names, damaged);
        if undecided.is_empty() {
            self.remove(&Spent { stem: stem.to_owned(), damaged })?;
        }
        let open = |(_, entry): &(usize, JournalEntry)| undecided.contains(&entry.name);
        let undecided = entries.into_iter().enumerate().filter(open).collect();
        Ok(Some(ReadFile { undecided, damaged }))
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.stems.len() + self.queue.len() >= CAPACITY
    }

    /// Takes note of a file, unless it is known; returns what is undecided of it.
    fn note(&mut self, stem: &str, names: &[Digest], damaged: bool) -> HashSet<Digest> {
        if let Some(known) = self.groups.get(stem) {
            return known.undecided.clone();
        }
        let undecided: HashSet<_> = names.iter().copied().collect();
        if !undecided.is_empty() {
            self.stems.extend(names.iter().map(|name| (*name, stem.to_owned())));
            self.groups.insert(stem.to_owned(), Group { undecided: undecided.clone(), damaged });
        }
        undecided
    }
}
