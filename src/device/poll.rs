//! Polling: a turn is asked for, a poll is sent, and its answer is settled, in a task of its own.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    DeviceFlow, Inner, Polled,
    flow::{End, Told},
    granted::STORABLE,
};
use crate::{
    connection::{ConnectionError, ExchangeClass, ExchangeError, MayPass, Obtained, persist},
    digest::{Digest, RequestId},
    metric,
    pending::{Completion, PendingError},
    store::{AcquirePoll, Ending, PendingId, PollRelease, PollTurn, ReleasePoll},
};

/// What `slow_down` adds to the interval, for good (RFC 8628 section 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// A poll is not late, only never early: Redis counts whole milliseconds, by a clock of its own.
const MARGIN: Duration = Duration::from_millis(10);
/// What a lease has beyond the poll, for giving the turn back.
const TO_RELEASE: Duration = Duration::from_secs(2);
/// The longest pause after polls that brought no answer, unless the provider asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How soon Redis is asked again when it did not answer.
const RETRY: Duration = Duration::from_secs(1);

impl Inner {
    /// Takes part in the polling for as long as this future is polled itself, or until there is
    /// nothing to poll for. It is one replica's part: Redis says whose turn it is.
    pub(super) async fn take_part(inner: &Arc<Self>, id: PendingId, flow: Arc<DeviceFlow>) {
        if let Err(error) = inner.connections.connector(&flow.connector) {
            tracing::warn!(pending = %id, %error, "the polling is left to those who know it");
            return;
        }
        let gate = inner.gates.of(id);
        let _first_here = gate.lock().await;
        loop {
            let (task, flow) = (inner.clone(), flow.clone());
            let turn = async move { Turn::ask(&task, id, &flow).await };
            // A panic in it must not stop the polling: it is asked for again.
            match inner.turns.spawn(turn).await.unwrap_or(Next::In(RETRY)) {
                Next::In(wait) => sleep(wait).await,
                Next::Ended => return,
            }
        }
    }
}

/// What comes after a turn, or instead of one.
enum Next {
    In(Duration),
    Ended,
}

/// One turn, that is ours.
struct Turn<'a> {
    inner: &'a Inner,
    id: PendingId,
    flow: &'a DeviceFlow,
    holder: Digest,
    interval: Duration,
    failures: u32,
    inherited: bool,
}

impl<'a> Turn<'a> {
    async fn ask(inner: &'a Inner, id: PendingId, flow: &'a DeviceFlow) -> Next {
        // The lease counts from before it is asked for: then it cannot last longer than we think.
        let started = Instant::now();
        let holder = RequestId::random().digest();
        let asked = AcquirePoll {
            id,
            holder,
            lease: inner.config.poll_timeout + TO_RELEASE,
            interval: Duration::from_millis(flow.interval_ms),
            instance: inner.connections.instance(),
        };
        match inner.foundation.store.acquire_poll(asked).await {
            Ok(PollTurn::Yours { interval, failures, inherited }) => {
                Self { inner, id, flow, holder, interval, failures, inherited }.poll(started).await
            }
            Ok(PollTurn::Later(wait)) => Next::In(wait),
            Ok(PollTurn::Ended) => Next::Ended,
            Err(error) => {
                tracing::debug!(pending = %id, %error, "no turn to poll");
                Next::In(RETRY)
            }
        }
    }

    async fn poll(&self, started: Instant) -> Next {
        let Ok(connector) = self.inner.connections.connector(&self.flow.connector) else {
            return Next::Ended;
        };
        let patience = self.inner.config.poll_timeout.saturating_sub(started.elapsed());
        if patience.is_zero() {
            // The lease may end before the poll does: another turn, then.
            return self.again(Duration::ZERO, self.interval, self.failures).await;
        }
        let asked = self.inner.endpoint.poll(connector, &self.flow.device_code);
        let asked = async {
            timeout(patience, asked).await.unwrap_or_else(|_| {
                Err(ExchangeError::new(ExchangeClass::Undecided, "no answer in time"))
            })
        };
        match self.inner.connections.ask(connector, Duration::ZERO, asked, refusal).await {
            Ok(polled) => self.settle(polled).await,
            Err(error) => {
                tracing::debug!(pending = %self.id, %error, "nobody is polled now");
                self.again(unasked(&error), self.interval, self.failures).await
            }
        }
    }

    async fn settle(&self, polled: Result<Polled, ExchangeError>) -> Next {
        match polled {
            Ok(Polled::Pending) => self.again(self.interval, self.interval, 0).await,
            Ok(Polled::SlowDown) => {
                let interval = self.interval + SLOW_DOWN;
                tracing::info!(pending = %self.id, connector = %self.flow.connector,
                    interval_ms = interval.as_millis(), "the provider wants to be polled less");
                self.again(interval, interval, 0).await
            }
            Ok(Polled::Granted(tokens)) => {
                let (owner, connector) = (&self.flow.owner, &self.flow.connector);
                let Some(place) = self.flow.place() else { return self.end(End::Lost).await };
                let obtained = Obtained::new(&place, owner, connector, &tokens);
                self.end(End::Granted(Box::new(obtained))).await
            }
            Ok(Polled::Denied) => self.end(End::Denied).await,
            Ok(Polled::Expired) => self.end(End::Expired).await,
            Ok(Polled::Refused { code }) if code == "invalid_grant" => self.spent().await,
            Ok(Polled::Refused { code }) => self.end(End::Refused { code }).await,
            Err(error) => {
                let pause = pause(self.interval, self.failures, &error);
                tracing::warn!(pending = %self.id, connector = %self.flow.connector,
                    class = error.class.as_str(), reason = %error.reason,
                    pause_ms = pause.as_millis(), "a poll brought no answer");
                self.again(pause, self.interval, self.failures.saturating_add(1)).await
            }
        }
    }

    /// The code is spent: for a poll whose answer was lost, or for a poller that died behind it.
    async fn spent(&self) -> Next {
        if self.inherited {
            // Whoever had the turn may be recording its answer just now: the next turn is not
            // inherited.
            return self.again(self.interval, self.interval, 0).await;
        }
        self.end(End::Lost).await
    }

    /// Gives the turn back. If that fails its lease runs out, and the next turn is later.
    async fn again(&self, wait: Duration, interval: Duration, failures: u32) -> Next {
        let next_in = wait + MARGIN;
        let (id, holder) = (self.id, self.holder);
        let release = ReleasePoll { id, holder, next_in, interval, failures };
        match self.inner.foundation.store.release_poll(release).await {
            Ok(PollRelease::Released { next_in }) => return Next::In(next_in),
            Ok(PollRelease::Lost) => {
                tracing::debug!(pending = %id, "a turn to poll lasted longer than its lease");
            }
            Err(error) => tracing::debug!(pending = %id, %error, "a turn is not given back"),
        }
        // Redis knows when the next is due.
        Next::In(next_in.min(LONGEST_PAUSE))
    }

    /// Ends the sign-in, for all who wait for it on any replica. A pending ends once: what was
    /// granted to one that had ended otherwise is nobody's, and is dropped.
    async fn end(&self, end: End) -> Next {
        let (word, owner) = (end.as_str(), self.flow.owner.clone());
        let told = Told { owner, end };
        let answer = match self.inner.pendings.seal_answer(self.id, &told) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(pending = %self.id, outcome = word, %error,
                    "the end of a sign-in by device code cannot be sealed");
                // The code is spent all the same.
                return match told.end {
                    End::Granted(_) => Box::pin(self.end(End::Lost)).await,
                    _ => Next::Ended,
                };
            }
        };
        let (pendings, subject) = (&self.inner.pendings, Some(told.owner.as_str()));
        let (request, how) = (RequestId::random(), Ending::Completed);
        let before = self.inner.foundation.store.now_ms();
        let ended = persist(|| pendings.finish_as(&request, self.id, how, subject, &answer)).await;
        match ended {
            Ok(Completion::Won(_)) => {
                metric::DEVICE_SIGN_INS.of(&[word]).increment(1);
                tracing::info!(pending = %self.id, connector = %self.flow.connector,
                    outcome = word, "a sign-in by device code has ended");
                if let End::Granted(obtained) = &told.end {
                    self.keep(obtained, before).await;
                }
            }
            Ok(_) => tracing::info!(pending = %self.id, outcome = word,
                "a sign-in by device code had ended otherwise"),
            Err(error) => {
                tracing::error!(pending = %self.id, outcome = word, %error,
                    "the end of a sign-in by device code is not recorded");
                return if error.may_pass() { Next::In(RETRY) } else { Next::Ended };
            }
        }
        Next::Ended
    }

    /// Whoever waits does the same: this is for those who come back later.
    async fn keep(&self, obtained: &Obtained, at_ms: u64) {
        let deadline = Instant::now() + STORABLE;
        if let Err(error) = self.inner.keep(self.id, obtained, at_ms, deadline).await {
            tracing::error!(pending = %self.id, %error, "what was granted is not stored here");
        }
    }
}

impl MayPass for PendingError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Store(error) if error.may_pass())
    }

    fn patience(&self) -> Duration {
        match self {
            Self::Store(error) => error.patience(),
            _ => Duration::ZERO,
        }
    }
}

/// What a poll was refused with, if it was.
fn refusal(polled: &Polled) -> Option<&str> {
    match polled {
        Polled::Refused { code } => Some(code),
        _ => None,
    }
}

/// When to come again after a poll that was not sent.
fn unasked(error: &ConnectionError) -> Duration {
    match error {
        ConnectionError::AtCap { retry_in, .. } => *retry_in,
        ConnectionError::ConnectorPaused { remaining, .. } => (*remaining).min(LONGEST_PAUSE),
        _ => RETRY,
    }
}

/// After a poll without an answer: twice as long each time, as RFC 8628 section 3.5 recommends.
fn pause(interval: Duration, failures: u32, error: &ExchangeError) -> Duration {
    let doubled = interval.saturating_mul(2_u32.saturating_pow(failures.saturating_add(1)));
    let pause = doubled.min(LONGEST_PAUSE).max(interval);
    pause.max(error.retry_after.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_never_undercut_the_provider() {
        let error = ExchangeError::new(ExchangeClass::Transient, "status 503");
        let five = Duration::from_secs(5);
        let pauses: Vec<_> = (0..5).map(|n| pause(five, n, &error).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 60, 60]);
        assert_eq!(pause(five, u32::MAX, &error).as_secs(), 60);
        assert_eq!(pause(Duration::from_secs(90), 3, &error).as_secs(), 90);
        let asked = error.retry_after(Some(Duration::from_secs(120)));
        assert_eq!(pause(five, 0, &asked).as_secs(), 120);
    }
}
