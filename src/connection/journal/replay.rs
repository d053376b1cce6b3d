//! Replaying: what a process left behind that died, or that Redis did not take, is committed.

use std::time::Duration;

use super::{Entry, JournalEntry, JournalError};
use crate::{
    connection::{Connections, Connector, Inner},
    metric,
    seal::SealError,
    store::{Actor, By, Class, CommitOutcome, Failing},
};

/// How many entries one pass takes.
const MOST: usize = 100;
/// What is committed so soon after its exchange began is not late: the process that has the answer may
/// only be a moment behind.
const LATE: Duration = Duration::from_secs(2);

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Replay {
    /// Another process replays this journal.
    pub elsewhere: bool,
    /// Answers that Redis did not have: saved.
    pub recovered: usize,
    /// Answers that it had, or does not want any more.
    pub settled: usize,
    /// What cannot be read, and was put aside.
    pub damaged: usize,
    /// What is still undecided: Redis is away, or the key that it was sealed with is.
    pub left: usize,
    /// Whether another pass may find more that can be decided now.
    pub more: bool,
}

/// What became of one entry.
enum Replayed {
    Decided(CommitOutcome),
    Damaged,
    /// For now.
    Left,
}

impl Replay {
    /// Whether nothing that is there can be decided now.
    #[must_use]
    pub const fn is_at_its_end(&self) -> bool {
        !self.more
    }
}

impl Connections {
    /// Commits what the [journal](crate::connection::ConnectionsConfig::journal) holds of exchanges whose process died,
    /// or that Redis did not take: one bounded pass. Call it every few seconds; and at start, and
    /// after Redis was away, until it is [at its end](Replay::is_at_its_end) before anything is
    /// refreshed or vended: what waits in the journal is of more worth than another try. Other
    /// processes that share the journal leave it to the first that called. What this process is still
    /// committing is left alone.
    ///
    /// # Errors
    ///
    /// [`JournalError`]. What is not decided is left for the next pass, also while Redis is away.
    pub async fn replay_journal(&self) -> Result<Replay, JournalError> {
        self.inner.replay_journal().await
    }
}

impl Inner {
    /// One bounded pass. It ends early if the store does not answer: the next one will see.
    pub(in crate::connection) async fn replay_journal(&self) -> Result<Replay, JournalError> {
        let replayed = self.replay_pass().await;
        match &replayed {
            Ok(pass) => {
                let left = u32::try_from(pass.left.max(self.replays.left())).unwrap_or(u32::MAX);
                metric::JOURNAL_UNDECIDED.of(&[]).set(left);
            }
            Err(_) => count("error", 1),
        }
        replayed
    }

    async fn replay_pass(&self) -> Result<Replay, JournalError> {
        let journal = &self.config.journal;
        let mut pass = Replay::default();
        let Some(undecided) = journal.undecided(MOST).await? else {
            return Ok(Replay { elsewhere: true, ..pass });
        };
        pass.damaged = undecided.damaged;
        count("damaged", undecided.damaged);
        if undecided.damaged > 0 {
            tracing::error!(files = undecided.damaged, "a journal's file is damaged: set aside");
        }
        pass.more = undecided.damaged > 0;
        let full = undecided.entries.len() == MOST;
        let mut failing = Failing::default();
        for (at, kept) in undecided.entries.iter().enumerate() {
            if self.in_flight.has(kept.name) {
                pass.more |= self.replays.meet(kept.name, false) && full;
                continue;
            }
            match self.replay(kept).await {
                Ok(Replayed::Decided(outcome)) => {
                    failing.answered();
                    journal.decided(kept.name).await?;
                    count(outcome.as_str(), 1);
                    match outcome {
                        CommitOutcome::Committed { .. }
                        | CommitOutcome::Withdrawn { .. }
                        | CommitOutcome::Alt => pass.recovered += 1,
                        _ => pass.settled += 1,
                    }
                }
                Ok(Replayed::Damaged) => {
                    journal.quarantine(kept.name).await?;
                    count("damaged", 1);
                    pass.damaged += 1;
                }
                Err(error) if failing.ends_with(&error) => {
                    let left = undecided.entries.len() - at;
                    tracing::warn!(%error, left, "the journal is replayed later");
                    self.replays.break_off();
                    return Ok(Replay { left: pass.left + left, more: false, ..pass });
                }
                // On a Cluster the others may be there.
                Ok(Replayed::Left) | Err(_) => {
                    pass.left += 1;
                    pass.more |= self.replays.meet(kept.name, true) && full;
                    continue;
                }
            }
            self.replays.forget(kept.name);
            pass.more = true;
        }
        if !pass.more {
            self.replays.end();
        }
        Ok(pass)
    }

    /// An error is the store's.
    async fn replay(&self, kept: &JournalEntry) -> Result<Replayed, crate::store::StoreError> {
        let entry = match Entry::open(self, kept).await {
            Ok(entry) if entry.name() == kept.name => entry,
            Ok(_) => return Ok(Replayed::Damaged),
            Err(error) => return Ok(self.unopened(kept, &error)),
        };
        let sealed = match entry.seal_secret(self).await {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Ok(Replayed::Damaged),
            Err(error) => return Ok(self.unopened(kept, &error)),
        };
        let store = &self.foundation.store;
        // Calibrates the clock, if this process has not talked to the store yet.
        store.ping().await?;
        let elapsed = Duration::from_millis(store.now_ms().saturating_sub(entry.began_at_ms));
        let connector = self.config.registry.lookup(&entry.connector).ok();
        let idp_host = connector.map_or("", Connector::idp_host);
        let by = By { actor: Actor::Journal, idp_host };
        match store.commit(entry.commit(&sealed, elapsed, by)).await {
            Ok(outcome) => {
                let saved = matches!(outcome, CommitOutcome::Committed { .. } | CommitOutcome::Alt);
                if saved && elapsed >= LATE && entry.rotates(&sealed) {
                    let told = (entry.connector.as_str(), entry.owner(), entry.name());
                    self.foundation.tell_unpersisted(sealed.id(), told, by, Some(elapsed)).await;
                }
                tracing::info!(
                    connection = entry.connection,
                    outcome = outcome.as_str(),
                    "replayed from the journal"
                );
                Ok(Replayed::Decided(outcome))
            }
            Err(error) if error.class() == Class::Corrupt => {
                tracing::error!(connection = entry.connection, %error, "a journaled answer is put aside");
                Ok(Replayed::Damaged)
            }
            Err(error) => Err(error),
        }
    }

    /// What an operator can mend is left, and told once; what nobody can is put aside.
    fn unopened(&self, kept: &JournalEntry, error: &SealError) -> Replayed {
        if !self.replays.has_left(kept.name) {
            tracing::error!(name = %kept.name, %error, "a journaled answer does not open");
        }
        match error {
            SealError::UnknownKey(_) | SealError::KeyService(_) | SealError::SealedByARing => {
                Replayed::Left
            }
            _ => Replayed::Damaged,
        }
    }
}

fn count(outcome: &'static str, times: usize) {
    metric::JOURNAL_REPLAYED.of(&[outcome]).increment(times as u64);
}
