//! How long Redis was away, as this process saw it.
//!
//! Nobody could commit or replay then. So what is waited out for the sake of others, who may still
//! know an answer, is waited out anew. Where a part of a Cluster is away, all of it counts as away:
//! to wait costs less than a refresh token that is presented twice.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::fault::Fault;
use crate::store::{Class, millis};

/// It is back once it has answered for so long: long enough for a replay, which comes every 5 s.
const BACK_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Outage {
    made: Instant,
    /// The last answer, in ms since `made`: one store for each verb, and no lock.
    answered: AtomicU64,
    failing: AtomicBool,
    last: Mutex<Option<Away>>,
}

#[derive(Debug, Clone, Copy)]
struct Away {
    /// The last answer before it.
    from: Instant,
    /// The first after it; `None` while it lasts.
    until: Option<Instant>,
}

impl Outage {
    pub(super) fn new() -> Self {
        Self {
            made: Instant::now(),
            answered: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            last: Mutex::default(),
        }
    }

    pub(super) fn answered(&self) {
        self.answered.store(millis(self.made.elapsed()), Ordering::Relaxed);
        // Looked at first: all verbs come by here, and nearly all find nothing to write.
        if self.failing.load(Ordering::Relaxed)
            && self.failing.swap(false, Ordering::Relaxed)
            && let Some(away) = &mut *self.lock()
        {
            away.until = Some(Instant::now());
        }
    }

    pub(super) fn failed(&self, fault: &Fault) {
        let says_nothing = match fault.class {
            Class::Corrupt | Class::Unconfirmed => true,
            // A right that is missing for one verb; a login that is refused is refused for all.
            Class::Operator => !fault.poisons,
            Class::NotExecuted | Class::Ambiguous | Class::Resource => false,
        };
        if says_nothing {
            return;
        }
        let mut last = self.lock();
        let before = last.filter(|away| away.until.is_none_or(|at| at.elapsed() < BACK_AFTER));
        let answered = Duration::from_millis(self.answered.load(Ordering::Relaxed));
        let from = before.map_or(self.made + answered, |away| away.from);
        *last = Some(Away { from, until: None });
        self.failing.store(true, Ordering::Relaxed);
    }

    /// The length of the last one, if it lasts or ended less than `ago` ago.
    pub(super) fn within(&self, ago: Duration) -> Duration {
        match *self.lock() {
            Some(Away { from, until: None }) => from.elapsed(),
            Some(Away { from, until: Some(until) }) if until.elapsed() < ago => until - from,
            _ => Duration::ZERO,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Away>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn fault() -> Fault {
        Fault::not_executed("refused")
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_as_long_as_between_two_answers() {
        let outage = Outage::new();
        assert_eq!(outage.within(MINUTE), Duration::ZERO);
        outage.answered();
        advance(MINUTE).await;
        outage.failed(&fault());
        advance(MINUTE).await;
        assert_eq!(outage.within(MINUTE), MINUTE * 2, "it lasts");
        outage.answered();
        advance(MINUTE / 2).await;
        outage.answered();
        assert_eq!(outage.within(MINUTE), MINUTE * 2, "it ended half a minute ago");
        advance(MINUTE / 2).await;
        assert_eq!(outage.within(MINUTE), Duration::ZERO, "long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_between_failures_does_not_end_it() {
        let outage = Outage::new();
        for _ in 0..20 {
            outage.failed(&fault());
            advance(BACK_AFTER / 4).await;
            outage.answered();
            advance(BACK_AFTER / 2).await;
        }
        assert!(outage.within(MINUTE) > BACK_AFTER * 14, "{:?}", outage.within(MINUTE));
        advance(BACK_AFTER).await;
        outage.answered();
        outage.failed(&fault());
        assert_eq!(outage.within(MINUTE), Duration::ZERO, "it was back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_verb_that_is_refused_for_itself_is_none() {
        let outage = Outage::new();
        advance(MINUTE).await;
        outage.failed(&Fault::unconfirmed("0 of 1"));
        outage.failed(&Fault { poisons: false, ..Fault::operator("NOPERM", "") });
        assert_eq!(outage.within(MINUTE), Duration::ZERO);
        outage.failed(&Fault::operator("NOAUTH", ""));
        assert_eq!(outage.within(MINUTE), MINUTE);
    }
}
