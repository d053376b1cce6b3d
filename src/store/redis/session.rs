//! Running verbs: one shared connection, one retry loop, one deadline.
//!
//! Every verb carries a request id in its receipt, so the loop may send any of them again: it is
//! told the same answer. What it cannot do is forget that a lost reply may have been a success, so
//! a deadline that passes after one is [`StoreError::Unknown`], never *absent*.

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backon::BackoffBuilder;
use deadpool::managed::{Object, Pool, PoolError};
use redis::{Script, Value};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    breaker::{Breaker, PAUSES},
    confirm::Confirmer,
    fault::Fault,
    link::{Link, Manager, Sent},
    outage::Outage,
    reply,
    url::RedisConfig,
};
use crate::{
    metric::{self, Raised},
    store::{Class, StoreError},
};

/// The client's own timer goes first, and says more.
const REPLY_MARGIN: Duration = Duration::from_millis(50);
/// With less time left for a reply nothing is sent: it would only turn a clear refusal into an
/// unknown outcome.
const LEAST_TIME: Duration = Duration::from_millis(50);

/// What a command does, as far as its retries must know.
#[derive(Clone, Copy)]
pub(super) enum Effect<'a> {
    /// It reads: a lost reply has changed nothing.
    Reads,
    /// It writes, and finds its own earlier run.
    Writes,
    /// It runs a script, which is loaded where it is missing, and which echoes the request.
    Runs { script: &'a Script, request: &'a [u8] },
}

pub(super) struct Session {
    pool: Pool<Manager>,
    held: RwLock<Option<Held>>,
    /// One connect at a time, however many verbs wait for it.
    connecting: Mutex<Breaker>,
    generations: AtomicU64,
    overall: Duration,
    response: Duration,
    confirmer: Option<Confirmer>,
    outage: Outage,
}

/// The link that verbs share. deadpool made it and counts it; it is not returned until poisoned.
struct Held {
    generation: u64,
    link: Link,
    object: Object<Manager>,
    _counted: Raised,
}

impl Session {
    pub(super) fn new(
        manager: Manager,
        confirmer: Option<Confirmer>,
        config: &RedisConfig,
    ) -> Result<Self, StoreError> {
        let timeouts = config.timeouts;
        Ok(Self {
            // Held for its life, so one is enough: two or four shared ones measured slower.
            pool: manager.pool(1, config)?,
            held: RwLock::new(None),
            connecting: Mutex::new(Breaker::default()),
            generations: AtomicU64::new(0),
            overall: timeouts.overall,
            response: timeouts.response,
            confirmer,
            outage: Outage::new(),
        })
    }

    pub(super) fn confirms(&self) -> bool {
        self.confirmer.is_some()
    }

    pub(super) fn outage(&self) -> &Outage {
        &self.outage
    }

    /// Sends a command until it is answered, refused for good, or out of time. With a `mark`, which
    /// is in its slot, replicas confirm it, if that is wanted.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may still execute on the server; the same request id learns its outcome.
    pub(super) async fn run(
        self: &Arc<Self>,
        verb: &'static str,
        command: Sent<'_>,
        effect: Effect<'_>,
        mark: Option<&str>,
    ) -> Result<Value, StoreError> {
        let started = Instant::now();
        let deadline = started + self.overall;
        let mut pauses = PAUSES.build();
        let mut may_have_run = false;
        loop {
            let mut fault = match self.attempt(command, effect, mark, deadline).await {
                Ok(value) => {
                    self.outage.answered();
                    metric::REDIS_SECONDS.of(&[]).record(started.elapsed());
                    return Ok(value);
                }
                Err(fault) => fault,
            };
            self.outage.failed(&fault);
            if fault.class == Class::Ambiguous && matches!(effect, Effect::Reads) {
                fault.class = Class::NotExecuted;
            }
            may_have_run |= fault.class == Class::Ambiguous || fault.may_have_run;
            let pause = Instant::now() + pauses.next().unwrap_or_default();
            let next = fault.retry_at.unwrap_or(pause);
            let retries = matches!(fault.class, Class::NotExecuted | Class::Ambiguous);
            if !retries || next + self.least_time() >= deadline {
                metric::REDIS_ERRORS.of(&[fault.class.as_str()]).increment(1);
                metric::REDIS_SECONDS.of(&[]).record(started.elapsed());
                return Err(fault.verdict(verb, may_have_run, started.elapsed()));
            }
            tracing::debug!(verb, class = fault.class.as_str(), cause = %fault.cause, "retrying");
            sleep_until(next).await;
        }
    }

    async fn attempt(
        self: &Arc<Self>,
        command: Sent<'_>,
        effect: Effect<'_>,
        mark: Option<&str>,
        deadline: Instant,
    ) -> Result<Value, Fault> {
        if let (Some(confirmer), Some(mark), Sent::One(command)) = (&self.confirmer, mark, command)
        {
            return confirmer.attempt(command, effect, mark, deadline).await;
        }
        let (generation, mut link) = self.link(deadline).await?;
        if Instant::now() + self.least_time() > deadline {
            return Err(Fault::not_executed("connected too late to send it"));
        }
        let until = self.until(&link, deadline);
        let mut answer = send(&mut link, command, until).await;
        if let Effect::Runs { script, request } = effect {
            if answer.as_ref().is_err_and(|fault| fault.no_script) {
                answer = match by(until, script.load_async(&mut link)).await {
                    Some(Ok(_)) => send(&mut link, command, until).await,
                    Some(Err(error)) => Err(Fault::of_opening(&error)),
                    None => Err(Fault::not_executed("the script could not be loaded in time")),
                };
            }
            if answer.as_ref().is_ok_and(|reply| !reply::echoes(reply, request)) {
                answer = Err(Fault::ambiguous("the reply is another request's"));
            }
        }
        if let Err(fault) = &mut answer {
            // A cluster client sends again by itself: this is what was said to its last try.
            let refused = matches!(fault.class, Class::NotExecuted | Class::Resource);
            fault.may_have_run = refused && link.resends() && !matches!(effect, Effect::Reads);
            if fault.poisons {
                self.poison(generation);
            }
        }
        answer
    }

    /// The shared link, opened if there is none: in a task of its own, so that a caller who gives up
    /// early does not take the connect along.
    async fn link(self: &Arc<Self>, deadline: Instant) -> Result<(u64, Link), Fault> {
        if let Some(found) = self.current() {
            return Ok(found);
        }
        let session = self.clone();
        #[expect(clippy::disallowed_methods, reason = "a connect outlives who asked for it")]
        let opening = tokio::spawn(async move { session.open().await });
        match timeout_at(deadline, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(_)) => Err(Fault::not_executed("the connect ended early")),
            Err(_) => Err(Fault::not_executed("no connection in time")),
        }
    }

    async fn open(&self) -> Result<(u64, Link), Fault> {
        let mut breaker = self.connecting.lock().await;
        if let Some(found) = self.current() {
            return Ok(found);
        }
        if let Some(refusal) = breaker.refusal() {
            return Err(refusal);
        }
        let opened = match self.pool.get().await {
            Ok(object) => Ok(object),
            Err(PoolError::Backend(fault)) => Err(fault),
            Err(error) => Err(Fault::not_executed(format!("no connection: {error}"))),
        };
        match opened {
            Ok(object) => {
                breaker.connected();
                let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
                let link = Link::clone(&object);
                let counted = metric::REDIS_CONNECTIONS.raise(&["shared"]);
                let held = Held { generation, link: link.clone(), object, _counted: counted };
                *self.held.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(held);
                metric::REDIS_CONNECTS.of(&["opened"]).increment(1);
                Ok((generation, link))
            }
            Err(fault) => {
                metric::REDIS_CONNECTS.of(&["failed"]).increment(1);
                Err(breaker.failed(fault))
            }
        }
    }

    /// When a reply is given up, unless the client sees to it. One timer for each is enough: a
    /// single server's client has its own. A cluster client sends again where nobody answers, so
    /// past one reply's time the whole link is given up; and near the deadline there is less time.
    fn until(&self, link: &Link, deadline: Instant) -> Option<Instant> {
        let reply = Instant::now() + self.response + REPLY_MARGIN;
        match link {
            Link::Single(_) if reply <= deadline => None,
            _ => Some(reply.min(deadline)),
        }
    }

    fn least_time(&self) -> Duration {
        LEAST_TIME.min(self.overall / 4)
    }

    fn current(&self) -> Option<(u64, Link)> {
        let held = self.held.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.as_ref().map(|held| (held.generation, held.link.clone()))
    }

    /// Drops the link of this generation, once: those who fail later on it change nothing.
    fn poison(&self, generation: u64) {
        let mut held = self.held.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if held.as_ref().is_some_and(|held| held.generation == generation)
            && let Some(held) = held.take()
        {
            drop(Object::take(held.object));
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("overall", &self.overall).finish_non_exhaustive()
    }
}

async fn send(link: &mut Link, command: Sent<'_>, until: Option<Instant>) -> Result<Value, Fault> {
    match by(until, link.send(command)).await {
        Some(Ok(value)) => value.extract_error().map_err(|error| Fault::of(&error)),
        Some(Err(error)) => Err(Fault::of(&error)),
        None => Err(Fault::ambiguous("no reply in time")),
    }
}

/// An answer, or `None` if it is not there in time.
async fn by<T>(until: Option<Instant>, answer: impl Future<Output = T>) -> Option<T> {
    match until {
        Some(until) => timeout_at(until, answer).await.ok(),
        None => Some(answer.await),
    }
}
