//! The `confirmed` level: a verb is done when so many replicas have it.
//!
//! A verb runs as its command, a mark and WAIT, in one pipeline on a connection that it has for
//! itself: WAIT holds up whatever comes behind it. On a Cluster all three go to the slot's node. The
//! mark is a write: newer servers wait for the last *write* of a connection, and a retry that only
//! finds its receipt writes nothing by itself, so without a mark it would be confirmed by nobody.

use std::time::Duration;

use deadpool::managed::{Object, Pool};
use redis::{Cmd, Value, from_redis_value_ref, pipe};
use tokio::time::{Instant, timeout_at};

use super::{
    fault::Fault,
    link::{Manager, Sent},
    reply,
    session::Effect,
    url::RedisConfig,
};
use crate::{
    metric,
    store::{Class, StoreError, millis},
};

/// So many verbs wait for their replicas at a time; others wait for one of them to end.
const AT_ONCE: usize = 16;
/// A mark's life: it is rewritten by the next verb in its slot.
const MARK_MS: u64 = 60_000;
/// What a reply may take beyond the wait.
const MARGIN: Duration = Duration::from_millis(50);

/// When a verb that changes something for good counts as done: see
/// [`RedisConfig::with_confirmation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// So many replicas must have acknowledged it. Of none, nothing is gained.
    pub replicas: u32,
    /// For so long they are waited for: 1 ms to 1 min, and well within the
    /// [overall](super::Timeouts::overall) deadline.
    pub within: Duration,
}

impl Confirmation {
    /// As it may be: to Redis 0 would be for ever.
    pub(super) fn bounded(self) -> Self {
        let within = self.within.clamp(Duration::from_millis(1), Duration::from_secs(60));
        Self { within, ..self }
    }
}

pub(super) struct Confirmer {
    pool: Pool<Manager>,
    wanted: Confirmation,
    response: Duration,
}

impl Confirmer {
    pub(super) fn new(
        manager: Manager,
        wanted: Confirmation,
        config: &RedisConfig,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            pool: manager.pool(AT_ONCE, config)?,
            wanted,
            response: config.timeouts.response,
        })
    }

    /// Sends a verb once, and asks its replicas for it.
    pub(super) async fn attempt(
        &self,
        command: &Cmd,
        effect: Effect<'_>,
        mark: &str,
        deadline: Instant,
    ) -> Result<Value, Fault> {
        let mut lent = match timeout_at(deadline, self.pool.get()).await {
            Ok(Ok(link)) => Lent(Some(link)),
            Ok(Err(deadpool::managed::PoolError::Backend(fault))) => return Err(fault),
            Ok(Err(error)) => return Err(Fault::not_executed(format!("no connection: {error}"))),
            Err(_) => return Err(Fault::not_executed("no connection in time to confirm on")),
        };
        let answer = match &mut lent.0 {
            Some(link) => self.on(link, command, effect, mark, deadline).await,
            None => Err(Fault::not_executed("no connection to confirm on")),
        };
        if answer.as_ref().is_err_and(|fault| fault.poisons) {
            // What is idle may lead to the same dead server: one failure is enough.
            self.pool.retain(|_, _| false);
        } else {
            drop(lent.0.take());
        }
        drop(lent);
        let open = u32::try_from(self.pool.status().size).unwrap_or(u32::MAX);
        metric::REDIS_CONNECTIONS.of(&["confirming"]).set(open);
        answer
    }

    async fn on(
        &self,
        link: &mut Object<Manager>,
        command: &Cmd,
        effect: Effect<'_>,
        mark: &str,
        deadline: Instant,
    ) -> Result<Value, Fault> {
        let mut all = pipe();
        all.add_command(command.clone());
        all.cmd("SET").arg(mark).arg(1).arg("PX").arg(MARK_MS);
        all.cmd("WAIT").arg(self.wanted.replicas).arg(millis(self.wanted.within));
        let most = self.wanted.within + self.response + MARGIN;
        let until = || deadline.min(Instant::now() + most);
        let mut sent = send(link, &all, until()).await;
        if let (Err(fault), Effect::Runs { script, .. }) = (&sent, effect)
            && fault.no_script
        {
            match timeout_at(until(), script.load_async(&mut **link)).await {
                Ok(Ok(_)) => sent = send(link, &all, until()).await,
                Ok(Err(error)) => return Err(Fault::of_opening(&error)),
                Err(_) => return Err(Fault::not_executed("the script is not loaded in time")),
            }
        }
        let (value, acknowledged) = sent.map_err(|mut fault| {
            let refused = matches!(fault.class, Class::NotExecuted | Class::Resource);
            fault.may_have_run = refused && link.resends();
            fault
        })?;
        if let Effect::Runs { request, .. } = effect
            && !reply::echoes(&value, request)
        {
            return Err(Fault::ambiguous("the reply is another request's"));
        }
        if acknowledged < self.wanted.replicas {
            return Err(Fault::unconfirmed(format!(
                "{acknowledged} of {} replicas have it after {:?}",
                self.wanted.replicas, self.wanted.within
            )));
        }
        Ok(value)
    }
}

/// The verb's answer, and how many replicas have it. A verb that failed needs no replicas; a
/// mark that failed leaves nothing to count by.
async fn send(
    link: &mut Object<Manager>,
    all: &redis::Pipeline,
    until: Instant,
) -> Result<(Value, u32), Fault> {
    let answers = match timeout_at(until, link.send(Sent::All(all))).await {
        Ok(answers) => answers.map_err(|error| Fault::of(&error))?,
        Err(_) => return Err(Fault::ambiguous("no reply in time")),
    };
    let Value::Array(answers) = answers else {
        return Err(Fault::ambiguous("the reply cannot be read"));
    };
    let [value, marked, acknowledged] = <[Value; 3]>::try_from(answers)
        .map_err(|_| Fault::ambiguous("the reply cannot be read"))?;
    let value = value.extract_error().map_err(|error| Fault::of(&error))?;
    let acknowledged = match marked.extract_error() {
        Ok(_) => from_redis_value_ref(&acknowledged).unwrap_or(0),
        Err(error) => {
            tracing::debug!(cause = %Fault::of(&error), "nothing can be confirmed");
            0
        }
    };
    Ok((value, acknowledged))
}

/// A connection until its answer is there; left without one it is closed, for WAIT may hold it up.
struct Lent(Option<Object<Manager>>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            drop(Object::take(link));
        }
    }
}
