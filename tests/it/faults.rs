//! Redis refuses, stalls, dies and comes back: each fault in its class, and nothing is lost.

mod connections;
mod lost_replies;
mod refusals;
mod restarts;
mod rights;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{FromRedisValue, aio::MultiplexedConnection};
use tokio::time::sleep;
use vestibule::store::{
    Class, StoreError,
    redis::{RedisConfig, RedisStore, Timeouts},
};

use crate::support::{
    stopwatch::{Stopwatch, undisturbed},
    stores::naming_key,
};

/// The prefix of stores that have a server to themselves.
const PREFIX: &str = "vst";
/// What an operation may take past its deadline, on a machine that is busy with other tests.
const MARGIN: Duration = Duration::from_millis(400);
/// Nothing that is told at once waits for a deadline: here it is a minute.
const AT_ONCE: Duration = Duration::from_secs(5);
const PATIENT: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(20);

/// A store that gives up after `overall`.
async fn patient_for(overall: Duration, url: &str) -> Result<Arc<RedisStore>, StoreError> {
    let timeouts = Timeouts { overall, ..Timeouts::default() };
    let config = RedisConfig::new(url)?.with_prefix(PREFIX)?.with_timeouts(timeouts);
    Ok(Arc::new(RedisStore::connect(config, &naming_key()).await?))
}

/// What a store with this deadline says of a refusal, where the machine leaves it the time to hear it.
async fn hears<T>(
    deadline: Duration,
    says: &str,
    ask: impl AsyncFnMut() -> Result<T, StoreError>,
) -> (Result<T, StoreError>, Stopwatch) {
    let heard = |told: &Result<T, StoreError>| {
        told.as_ref().is_err_and(|error| error.to_string().contains(says))
    };
    undisturbed(deadline / 4, heard, ask).await
}

/// Runs a command on a connection of the test's own.
async fn tell<T: FromRedisValue>(raw: &mut MultiplexedConnection, words: &str) -> T {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query_async(raw).await.unwrap()
}

/// How often the server has refused something with this code.
async fn refused(raw: &mut MultiplexedConnection, code: &str) -> u64 {
    let stats: String = tell(raw, "INFO errorstats").await;
    let line = format!("errorstat_{code}:count=");
    stats.lines().find_map(|l| l.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

/// Waits until the server has refused something with this code.
async fn wait_until_refused(raw: &mut MultiplexedConnection, code: &str) {
    until(code, async || refused(raw, code).await > 0).await;
}

/// The connections that came over TCP: none of the test's own.
async fn tcp_clients(raw: &mut MultiplexedConnection) -> BTreeSet<u64> {
    let list: String = tell(raw, "CLIENT LIST TYPE normal").await;
    let tcp = list.lines().filter(|line| line.contains(" addr=127.0.0.1:"));
    tcp.map(|line| line.split([' ', '=']).nth(1).unwrap().parse().unwrap()).collect()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// The error, if it is of this class and says this.
fn expect_class<T: std::fmt::Debug>(
    outcome: Result<T, StoreError>,
    class: Class,
    says: &str,
) -> StoreError {
    let error = outcome.unwrap_err();
    assert_eq!(error.class(), class, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    error
}
