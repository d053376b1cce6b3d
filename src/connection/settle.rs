//! How an exchange ends: its answer is committed, or its failure recorded, once Redis decides.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{
    CredentialSecret, ExchangeClass, ExchangeError, Inner, Refreshed, TokenAnswer,
    journal::Entry,
    limits::spread_out,
    persisting::{MayPass, persist},
    refresh::{Ended, Exchange, Ready},
    schedule,
    storing::Lives,
};
use crate::{
    digest::{Digest, RequestId},
    metric,
    seal::WrappedKey,
    store::{Class, CommitOutcome, Fail, FailOutcome, FailureKind, millis},
};

/// How long the journal may take.
const JOURNAL_WITHIN: Duration = Duration::from_secs(5);
/// An answer that was lost inside the grace is asked for again.
const SOON: Duration = Duration::from_secs(1);
/// What this replica lacks is not looked for here again before that.
const TO_OTHERS: Duration = Duration::from_secs(5);
/// The reason of what died with an answer that nobody kept.
const ROTATION_LOST: &str = "rotation_lost";
/// What only an operator can mend is not tried more often than this.
const OPERATOR_WAIT: Duration = Duration::from_secs(300);
/// Another attempt has decided: whoever waits looks again.
const SETTLED_ELSEWHERE: Refreshed = Refreshed::NotDue { due_in: Duration::ZERO, attempts: 0 };

impl Exchange<'_> {
    /// Stores the answer, trying until Redis decides.
    pub(super) async fn commit(
        &self,
        ready: &Ready<'_>,
        answer: TokenAnswer,
        started: Instant,
    ) -> Refreshed {
        let secret = CredentialSecret::from_answer(&answer, Some(&ready.secret));
        let refreshable = self.inner.renewed_with(&ready.connector.slug, &secret).is_some();
        let (lives, since) = (self.lives(&answer, started), self.begun.signed_in_for);
        let next_in = Inner::next_in(ready.connector, refreshable, lives, since, self.id);
        let next_in = next_in.map(|next| schedule::not_at_once(next, lives.access));
        let entry = Entry {
            connection: self.id.to_string(),
            owner: *self.begun.owner.as_bytes(),
            connector: self.begun.connector.clone(),
            request: *ready.commit.as_bytes(),
            fence: self.begun.fence,
            grant: self.begun.grant,
            presented: *self.begun.refresh_token.as_bytes(),
            secret,
            began_at_ms: self.inner.foundation.store.now_ms() - millis(started.elapsed()),
            expires_in_ms: lives.access.map(millis),
            refresh_expires_in_ms: lives.refresh.map(millis),
            next_in_ms: next_in.map(millis),
        };
        let _in_flight = self.inner.in_flight.enter(entry.name());
        let [record_key, entry_key] = &ready.keys;
        self.journal(&entry, entry_key).await;
        let sealed = match entry.seal_secret_with(self.inner, self.id.clone(), record_key) {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::error!(connection = %self.id, %error, "a refreshed credential is not sealed");
                return self.unpersisted(answer, entry.name()).await;
            }
        };
        let store = &self.inner.foundation.store;
        let decided =
            persist(|| store.commit(entry.commit(&sealed, started.elapsed(), self.by))).await;
        if decided.is_ok()
            && let Err(error) = self.inner.config.journal.decided(entry.name()).await
        {
            tracing::warn!(connection = %self.id, %error, "what is decided stays in the journal");
        }
        match decided {
            Ok(CommitOutcome::Committed { ver, recovered }) => {
                tracing::info!(connection = %self.id, ver, recovered, fence = self.begun.fence,
                    "refreshed");
                Refreshed::Fresh {
                    access_token: answer.access_token,
                    expires_in: answer.expires_in,
                }
            }
            Ok(CommitOutcome::Withdrawn { ver }) => {
                tracing::info!(connection = %self.id, ver, fence = self.begun.fence,
                    "refreshed, while access was withdrawn: it is stored, and nobody gets it");
                Refreshed::Not("orphaned")
            }
            Ok(CommitOutcome::Alt) => {
                tracing::info!(connection = %self.id, fence = self.begun.fence,
                    "a sibling is current: this answer is kept beside it");
                SETTLED_ELSEWHERE
            }
            Ok(CommitOutcome::AlreadyCommitted { .. } | CommitOutcome::Superseded) => {
                SETTLED_ELSEWHERE
            }
            Ok(CommitOutcome::Refused) => {
                tracing::warn!(connection = %self.id, "the grant changed during the exchange: dropped");
                Refreshed::Not("refused")
            }
            Ok(CommitOutcome::Gone) => Refreshed::Not("absent"),
            Err(error) if error.class() == Class::Unconfirmed => {
                tracing::warn!(connection = %self.id, %error,
                    "refreshed, but a failover may undo it: it stays in the journal");
                let TokenAnswer { access_token, expires_in, .. } = answer;
                Refreshed::Fresh { access_token, expires_in }
            }
            Err(error) => {
                tracing::error!(connection = %self.id, %error,
                    rotated = answer.refresh_token.is_some(),
                    "refresh_rotation_persistence_failed: Redis did not take the new token");
                let commit = entry.name();
                if error.may_pass() {
                    self.inner.outlast(entry, sealed, started, self.by);
                }
                self.unpersisted(answer, commit).await
            }
        }
    }

    /// How long what was answered lives, from when the exchange began. A refresh token that was left
    /// out is the one that was presented, with the end that it had.
    fn lives(&self, answer: &TokenAnswer, started: Instant) -> Lives {
        let said = Lives::of(answer);
        let asked_before = started.duration_since(self.asked_at);
        let had = self.begun.refresh_expires_in.map(|left| left.saturating_sub(asked_before));
        match answer.refresh_token {
            Some(_) => said,
            None => Lives { refresh: had.or(said.refresh), ..said },
        }
    }

    /// Before anything else can go wrong. A journal that fails is no reason not to commit.
    async fn journal(&self, entry: &Entry, key: &WrappedKey) {
        let kept = match entry.seal(self.inner, key) {
            // A disk that hangs must not keep the answer from Redis.
            Ok(kept) => match timeout(JOURNAL_WITHIN, self.inner.config.journal.append(kept)).await
            {
                Ok(appended) => appended.map_err(|error| error.to_string()),
                Err(_) => Err("it is not written in time".to_owned()),
            },
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = kept {
            metric::UNJOURNALED.of(&[]).increment(1);
            tracing::error!(connection = %self.id, error, "an answer is not in the journal");
        }
    }

    /// The caller at least gets the token.
    async fn unpersisted(&self, answer: TokenAnswer, commit: Digest) -> Refreshed {
        // What was not rotated is asked for again.
        if answer.refresh_token.is_some() {
            let told = (self.begun.connector.as_str(), self.begun.owner, commit);
            self.inner.foundation.tell_unpersisted(self.id, told, self.by, None).await;
        }
        metric::UNPERSISTED.named(self.label(), &[]).increment(1);
        Refreshed::Fresh { access_token: answer.access_token, expires_in: answer.expires_in }
    }

    /// Records that there is no answer; what that means is judged by the store.
    pub(super) async fn fail(&self, error: ExchangeError) -> Ended {
        let forgiving = self.undecided_for() < self.replay.forgiven();
        let undecided_before = self.begun.undecided_since.is_some();
        let paused =
            self.inner.pause_for(&self.begun.connector, Some(self.id), &error, self.by).await;
        let (kind, reason) = match error.class {
            // The provider may refuse the second presentation of a token that it rotated for a
            // crashed replica: inside its grace that is not the last word.
            ExchangeClass::Rejected if undecided_before && forgiving => {
                (FailureKind::Undecided, error.reason.as_str())
            }
            ExchangeClass::Rejected if undecided_before => {
                (FailureKind::NeedsReauth, ROTATION_LOST)
            }
            ExchangeClass::Rejected => (FailureKind::NeedsReauth, error.reason.as_str()),
            ExchangeClass::Undecided => (FailureKind::Undecided, error.reason.as_str()),
            _ if paused.is_some() => (FailureKind::Host, error.reason.as_str()),
            // A failure that the provider decided, after one whose answer was lost: the token may
            // still be the rotated one.
            _ if undecided_before => (FailureKind::Undecided, error.reason.as_str()),
            _ => (FailureKind::Transient, error.reason.as_str()),
        };
        let backoff = match (error.class, paused) {
            (_, Some(remaining)) => spread_out(remaining, self.id),
            (ExchangeClass::Client | ExchangeClass::Config, _) => {
                schedule::asked_for(error.retry_after).max(OPERATOR_WAIT)
            }
            (ExchangeClass::Undecided, _) => self.asked_again_in(),
            _ => schedule::backoff(self.begun.attempts, error.retry_after, self.id),
        };
        // What only an operator can mend must not cost the users' credentials.
        let operators = matches!(error.class, ExchangeClass::Client | ExchangeClass::Config);
        let horizon = Some(self.inner.config.horizon).filter(|_| !operators);
        self.record(error.clone(), kind, reason, backoff, horizon).await
    }

    /// What only this replica cannot do is no word on the record: another may do it, at once.
    pub(super) async fn leave_to_others(&self, error: ExchangeError) -> Ended {
        let (kind, reason) = (FailureKind::Host, error.reason.as_str());
        self.record(error.clone(), kind, reason, spread_out(TO_OTHERS, self.id), None).await
    }

    /// When an answer that was lost is asked for again: soon at first, and the longer the more often
    /// it was lost; while the provider forgives not past that, and afterwards not before a begin
    /// would go on.
    fn asked_again_in(&self) -> Duration {
        let again = match self.begun.attempts {
            0 => spread_out(SOON, self.id),
            attempts => schedule::backoff(attempts - 1, None, self.id),
        };
        let since = self.undecided_for() + self.asked_at.elapsed();
        let settled = self.inner.settled(self.replay.lease());
        match self.replay.forgiven().checked_sub(since) {
            Some(left) => again.min(left).max(SOON),
            None => again.max(settled.saturating_sub(since)),
        }
    }

    async fn record(
        &self,
        error: ExchangeError,
        kind: FailureKind,
        reason: &str,
        backoff: Duration,
        horizon: Option<Duration>,
    ) -> Ended {
        let request = RequestId::random().digest();
        let recorded = persist(|| {
            self.inner.foundation.store.fail(Fail {
                id: self.id,
                request,
                fence: self.begun.fence,
                grant: self.begun.grant,
                presented: self.begun.refresh_token,
                kind,
                reason,
                backoff,
                horizon,
                by: self.by,
            })
        })
        .await;
        Ended::With(match recorded {
            Ok(FailOutcome::Recorded { attempts }) => {
                tracing::warn!(connection = %self.id, class = error.class.as_str(), reason, attempts,
                    backoff_ms = backoff.as_millis(), kind = kind.as_str(), "refresh failed");
                if kind == FailureKind::NeedsReauth {
                    let why = if reason == ROTATION_LOST { ROTATION_LOST } else { "rejected" };
                    metric::NEEDS_REAUTH.named(self.label(), &[why]).increment(1);
                }
                Refreshed::Failed(error)
            }
            Ok(FailOutcome::Switched { attempts }) => {
                tracing::warn!(connection = %self.id, reason, attempts,
                    "the refresh token is dead: its sibling takes its place");
                metric::SWITCHED.named(self.label(), &[]).increment(1);
                return Ended::Switched(error);
            }
            Ok(FailOutcome::Exhausted { attempts }) => {
                tracing::error!(connection = %self.id, reason, attempts,
                    "refresh failed for too long: it is given up until it is retried by hand");
                metric::EXHAUSTED.named(self.label(), &[]).increment(1);
                Refreshed::Failed(error)
            }
            Ok(FailOutcome::Stale) => SETTLED_ELSEWHERE,
            Ok(FailOutcome::Gone) => Refreshed::Not("absent"),
            Err(failure) => {
                tracing::error!(connection = %self.id, error = %failure,
                    "a failed refresh is not recorded");
                Refreshed::Failed(error)
            }
        })
    }
}
