//! Vending: an access token for its owner, warm wherever possible.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};
use tracing::field::Empty;

use super::{
    AccessToken, ConnectionError, Connector, ExchangeClass, Inner, Refreshed,
    cache::{self, Filled},
};
use crate::{
    digest::Digest,
    metric,
    store::{ConnectionId, CredentialRow, Status},
    trace,
};

/// How often a caller that waits for another replica's refresh looks.
const FIRST_LOOK: Duration = Duration::from_millis(25);
const LAST_LOOK: Duration = Duration::from_millis(250);

/// An access token, and how it came about.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Vended {
    /// The token.
    pub access_token: AccessToken,
    /// How long it still lives, as far as is known.
    pub expires_in: Option<Duration>,
    /// Which way it came.
    pub path: VendPath,
}

/// Which way a token came to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VendPath {
    /// Kept in this process: no read at all.
    Cached,
    /// One read, one open.
    Warm,
    /// Still valid, and served while its refresh runs.
    StaleServed,
    /// This caller's own refresh.
    Refreshed,
    /// Another replica's refresh, waited for.
    Waited,
}

impl VendPath {
    /// The path's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Warm => "warm",
            Self::StaleServed => "stale_served",
            Self::Refreshed => "refreshed",
            Self::Waited => "waited",
        }
    }
}

impl Inner {
    pub(super) async fn vend(
        inner: &Arc<Self>,
        owner: &str,
        id: &ConnectionId,
    ) -> Result<Vended, ConnectionError> {
        let vended = match inner.owner(owner) {
            Ok(owner) => Self::vend_or_cached(inner, owner, id).await,
            Err(error) => Err(error),
        };
        count(vended.as_ref().map(|vended| vended.path.as_str()));
        vended
    }

    async fn vend_or_cached(
        inner: &Arc<Self>,
        owner: Digest,
        id: &ConnectionId,
    ) -> Result<Vended, ConnectionError> {
        let Some(cache) = &inner.cache else {
            return Self::vend_by_deadline(inner, owner, id).await.map(|(vended, _)| vended);
        };
        if let Some(vended) = cache::kept(cache, owner, id) {
            return Ok(vended);
        }
        let (task, task_id) = (inner.clone(), id.clone());
        let vend = async move { Self::vend_by_deadline(&task, owner, &task_id).await };
        cache.fill(&*inner.foundation.store, owner, id, vend).await
    }

    /// The token, and for how long it may be kept.
    async fn vend_by_deadline(inner: &Arc<Self>, owner: Digest, id: &ConnectionId) -> Filled {
        let span = tracing::debug_span!("vestibule.vend", connection = %id, path = Empty);
        let filled = trace::within(&span, Self::look_until(inner, owner, id)).await;
        if let Ok((vended, _)) = &filled {
            span.record("path", vended.path.as_str());
        }
        filled
    }

    async fn look_until(inner: &Arc<Self>, owner: Digest, id: &ConnectionId) -> Filled {
        let deadline = Instant::now() + inner.config.vend_deadline;
        let mut waited = false;
        let mut waiting = None;
        let mut look = FIRST_LOOK;
        let mut found_ver = None;
        loop {
            let row = inner.vendable(owner, id).await?;
            let connector = inner.config.registry.lookup(&row.connector)?;
            let now_ms = inner.foundation.store.now_ms();
            // What another's refresh has just brought is what there is, however short it lives.
            let renewed = row.ver > *found_ver.get_or_insert(row.ver);
            if renewed || is_served(&row, connector, now_ms) {
                let due = row.next_at_ms.is_some_and(|next| next <= now_ms);
                let path = match (due, waited) {
                    (true, _) => VendPath::StaleServed,
                    (false, true) => VendPath::Waited,
                    (false, false) => VendPath::Warm,
                };
                let vended = inner.open(id, &row, now_ms, path).await?;
                if due && row.lease_ends_at_ms.is_none_or(|ends| ends <= now_ms) {
                    Self::refresh_behind(inner, id, owner, connector);
                }
                let keep = if due { Duration::ZERO } else { kept_for(&row, connector, now_ms) };
                return Ok((vended, keep));
            }
            // What does not open here is refreshed by another.
            inner.open_secret(id, &row).await?;
            waiting.get_or_insert_with(|| metric::WAITERS.raise(&["refresh"]));
            // The exchange goes on if this caller's time is over.
            let refreshing =
                timeout_at(deadline, Self::refresh(inner, id, Some(owner), Some(connector)));
            let Ok(refreshed) = refreshing.await else {
                return Err(ConnectionError::TimedOut { waited: inner.config.vend_deadline });
            };
            let pause = match refreshed? {
                Refreshed::Fresh { access_token, expires_in } => {
                    let path = VendPath::Refreshed;
                    return Ok((Vended { access_token, expires_in, path }, Duration::ZERO));
                }
                // A provider's trouble is no reason to withhold what still lives. A refusal may have
                // ended the connection, which its owner is told, and not in the provider's words.
                Refreshed::Failed(error) => {
                    let row = match error.class {
                        ExchangeClass::Rejected => inner.vendable(owner, id).await?,
                        _ => row,
                    };
                    if !lives(&row, now_ms) {
                        return Err(ConnectionError::Exchange(error));
                    }
                    let vended = inner.open(id, &row, now_ms, VendPath::StaleServed).await?;
                    return Ok((vended, Duration::ZERO));
                }
                Refreshed::Undecided { .. }
                | Refreshed::AtCap { .. }
                | Refreshed::Paused { .. }
                    if lives(&row, now_ms) =>
                {
                    let vended = inner.open(id, &row, now_ms, VendPath::StaleServed).await?;
                    return Ok((vended, Duration::ZERO));
                }
                Refreshed::Paused { remaining, reason } => {
                    let connector = connector.slug.clone();
                    return Err(ConnectionError::ConnectorPaused { connector, reason, remaining });
                }
                Refreshed::AtCap { wait } => {
                    let wait = wait.max(FIRST_LOOK);
                    if Instant::now() + wait > deadline {
                        let connector = connector.slug.clone();
                        return Err(ConnectionError::AtCap { connector, retry_in: wait });
                    }
                    wait
                }
                Refreshed::Undecided { remaining } => {
                    let last_error = "an exchange was cut off".to_owned();
                    return Err(ConnectionError::BackingOff { retry_in: remaining, last_error });
                }
                Refreshed::NotDue { due_in, attempts } if attempts > 0 => {
                    let last_error = row.last_error.unwrap_or_default();
                    return Err(ConnectionError::BackingOff { retry_in: due_in, last_error });
                }
                // It ran out before it was due: nothing more can be had for it.
                Refreshed::Not("not_refreshable") => return Err(ConnectionError::RanOut),
                // Refreshed so lately that nobody asks again, and dead already: not since it was read.
                Refreshed::NotDue { due_in, .. }
                    if row.next_at_ms.is_some_and(|next| next > now_ms)
                        && Instant::now() + due_in > deadline =>
                {
                    let last_error = "its tokens are dead when they arrive".to_owned();
                    return Err(ConnectionError::BackingOff { retry_in: due_in, last_error });
                }
                // Refreshed or changed meanwhile: look again.
                Refreshed::NotDue { due_in, .. } => due_in.clamp(FIRST_LOOK, LAST_LOOK),
                Refreshed::Not(_) => FIRST_LOOK,
                Refreshed::Held { remaining } => look.min(remaining.max(FIRST_LOOK)),
            };
            waited = true;
            if Instant::now() + pause > deadline {
                return Err(ConnectionError::TimedOut { waited: inner.config.vend_deadline });
            }
            sleep(pause).await;
            look = (look * 2).min(LAST_LOOK);
        }
    }

    /// The record of an owner's connection, if anything may be vended of it.
    async fn vendable(
        &self,
        owner: Digest,
        id: &ConnectionId,
    ) -> Result<CredentialRow, ConnectionError> {
        let row = self.foundation.store.read_credential(id).await?;
        let row = row.filter(|row| row.owner == owner).ok_or(ConnectionError::NotFound)?;
        match row.status {
            Status::Active => Ok(row),
            // What is refreshed no more is served to its end.
            Status::Exhausted if lives(&row, self.foundation.store.now_ms()) => Ok(row),
            Status::Revoked => Err(ConnectionError::Revoked),
            Status::Orphaned => Err(ConnectionError::Withdrawn),
            Status::Exhausted => {
                let last_error = row.last_error.unwrap_or_default();
                Err(ConnectionError::Exhausted { last_error })
            }
            Status::NeedsReauth => {
                let reason = row.reason.unwrap_or_default();
                Err(ConnectionError::NeedsReauth { reason })
            }
        }
    }

    /// Starts a refresh that nobody waits for; one at a time for a connection in this process.
    fn refresh_behind(inner: &Arc<Self>, id: &ConnectionId, owner: Digest, connector: &Connector) {
        if !inner.behind.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone()) {
            return;
        }
        let (task, id, connector) = (inner.clone(), id.clone(), connector.clone());
        let refreshing = async move {
            if let Err(error) = Self::refresh(&task, &id, Some(owner), Some(&connector)).await {
                tracing::warn!(connection = %id, %error, "a refresh behind a vend did not begin");
            }
            task.behind.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        };
        inner.exchanges.spawn(trace::follow(refreshing));
    }

    async fn open(
        &self,
        id: &ConnectionId,
        row: &CredentialRow,
        now_ms: u64,
        path: VendPath,
    ) -> Result<Vended, ConnectionError> {
        let secret = self.open_secret(id, row).await?;
        let Some(access_token) = secret.access_token else {
            let connector = self.config.registry.lookup(&row.connector)?;
            return Err(ConnectionError::other_auth(connector));
        };
        let left = |at: u64| Duration::from_millis(at.saturating_sub(now_ms));
        let expires_in = row.expires_at_ms.map(left);
        Ok(Vended { access_token, expires_in, path })
    }
}

/// Counts what became of asking for a token or a key.
pub(super) fn count(vended: Result<&'static str, &ConnectionError>) {
    metric::VENDS.of(&[vended.unwrap_or_else(ConnectionError::vend_word)]).increment(1);
}

/// Valid for the serve margin; or still alive, and not due: nothing better is to be had yet. An
/// undisclosed expiry is trusted, there is nothing to judge it by.
fn is_served(row: &CredentialRow, connector: &Connector, now_ms: u64) -> bool {
    let margin = u64::try_from(connector.serve_margin.as_millis()).unwrap_or(u64::MAX);
    let not_due = row.next_at_ms.is_none_or(|next| next > now_ms);
    row.expires_at_ms.is_none_or(|at| at > now_ms.saturating_add(margin))
        || not_due && lives(row, now_ms)
}

/// How long the same would be served: until it is due, or near its end.
fn kept_for(row: &CredentialRow, connector: &Connector, now_ms: u64) -> Duration {
    let left = |at: Option<u64>| at.map_or(u64::MAX, |at| at.saturating_sub(now_ms));
    let served = Duration::from_millis(left(row.expires_at_ms));
    served.saturating_sub(connector.serve_margin).min(Duration::from_millis(left(row.next_at_ms)))
}

/// Whether the token lives, for as long as a call with it may take to arrive.
fn lives(row: &CredentialRow, now_ms: u64) -> bool {
    row.expires_at_ms.is_none_or(|at| at > now_ms.saturating_add(1_000))
}
