//! The two stores agree: whatever is asked of one, in whatever order, and however much time passes
//! between, the other answers the same.
//!
//! Left out are fence values and generated ids; times are compared as spans, with a tolerance.

mod ask;
mod ask_access;
mod ask_device;
mod ask_event;
mod ask_headers;
mod ask_lifecycle;
mod ask_limit;
mod ask_pending;
mod ask_token;
mod outcomes;
mod play;
mod step;
mod step_access;
mod step_device;
mod step_event;
mod step_headers;
mod step_lifecycle;
mod step_limit;
mod step_pending;
mod step_refresh;
mod step_token;
mod wrong;
mod wrong_access;
mod wrong_device;
mod wrong_event;
mod wrong_headers;
mod wrong_lifecycle;
mod wrong_limit;
mod wrong_pending;
mod wrong_token;

use std::{cell::RefCell, collections::BTreeMap, env, time::Instant};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use tokio::runtime::Runtime;
use vestibule::store::LifecycleStore as _;

pub(crate) use self::wrong_device::without_turns;
use self::{
    ask::TOLERANCE,
    outcomes::{
        ACCESS_OUTCOMES, DEVICE_OUTCOMES, EVENT_OUTCOMES, HEADERS_OUTCOMES, LIFECYCLE_OUTCOMES,
        LIMIT_OUTCOMES, OUTCOMES, TOKEN_OUTCOMES,
    },
    play::play,
    step::{Step, sequence},
    step_access::access_sequence,
    step_device::device_sequence,
    step_event::event_sequence,
    step_headers::headers_sequence,
    step_lifecycle::lifecycle_sequence,
    step_limit::limit_sequence,
    step_pending::pending_sequence,
    step_refresh::refresh_sequence,
    step_token::token_sequence,
    wrong::{Wrong, WrongStore},
    wrong_access::WrongAccess,
    wrong_device::WrongDevice,
    wrong_event::WrongEvent,
    wrong_headers::WrongHeaders,
    wrong_lifecycle::WrongLifecycle,
    wrong_limit::WrongLimit,
    wrong_pending::WrongPending,
    wrong_token::WrongToken,
};
use crate::support::{
    server::{self, TestServer},
    side::Side,
    stores, verbs,
};

/// How often a sequence is played that shows a difference only where it takes too long.
const TRIES: u32 = 10;

/// How often each outcome was seen.
type Tally = BTreeMap<String, u32>;

/// Compares the stores over `cases` random sequences, and panics with the shortest one over which
/// they differ. `AGREEMENT_SEED` repeats a run.
///
/// Not from within a runtime: it has one of its own.
fn run(cases: u32, sequences: impl Strategy<Value = Vec<Step>>) {
    let seed = match env::var("AGREEMENT_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => server::random(),
    };
    let tally = compare(cases, seed, sequences, async || [Side::memory(), Side::redis().await])
        .unwrap_or_else(|difference| panic!("AGREEMENT_SEED={seed}\n{difference}"));
    println!("AGREEMENT_SEED={seed}: {cases} sequences, {tally:#?}");
}

/// The outcomes, or the shortest sequence that tells the two sides apart.
fn compare(
    cases: u32,
    seed: u64,
    sequences: impl Strategy<Value = Vec<Step>>,
    sides: impl AsyncFn() -> [Side; 2],
) -> Result<Tally, String> {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 1000, ..Config::default() };
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &key);
    let runtime = Runtime::new().unwrap();
    let tally = RefCell::new(Tally::new());

    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(&sequences, |steps| {
        runtime.block_on(async {
            let (played, seen) = played_in_time(&steps, &sides).await;
            for (outcome, times) in seen {
                *tally.borrow_mut().entry(outcome).or_default() += times;
            }
            played.map_err(TestCaseError::fail)
        })
    });
    match outcome {
        Ok(()) => Ok(tally.into_inner()),
        Err(TestError::Fail(difference, steps)) => Err(format!("{difference}\n{steps:#?}")),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// A difference in a play that took longer than times may differ is the machine's, if it is not there
/// when it is played again.
async fn played_in_time(
    steps: &[Step],
    sides: &impl AsyncFn() -> [Side; 2],
) -> (Result<(), String>, Tally) {
    for tries in 1.. {
        let (sides, mut seen) = (sides().await, Tally::new());
        let started = Instant::now();
        let played = play(steps, &sides, &mut seen).await;
        let in_time = started.elapsed() < TOLERANCE;
        for side in sides {
            side.wipe().await;
        }
        if played.is_ok() || in_time || tries == TRIES {
            return (played, seen);
        }
    }
    unreachable!("it ends with the last try")
}

/// Asks all that the agreement asks, of a Redis of the caller's.
///
/// Not from within a runtime: it has one of its own.
pub(crate) fn drive(server: &TestServer, cases: u64) {
    let (cases, seed) = (u32::try_from(cases).unwrap(), server::random());
    let sides = async || [Side::memory(), Side::redis_on(server).await];
    let agree = |outcome: Result<Tally, String>| {
        outcome.unwrap_or_else(|difference| panic!("seed {seed}\n{difference}"));
    };
    agree(compare(cases, seed, sequence(), sides));
    agree(compare(cases, seed, refresh_sequence(), sides));
    agree(compare(cases, seed, lifecycle_sequence(), sides));
    agree(compare(cases, seed, pending_sequence(), sides));
    agree(compare(cases, seed, token_sequence(), sides));
    agree(compare(cases, seed, device_sequence(), sides));
    agree(compare(cases, seed, limit_sequence(), sides));
    agree(compare(cases, seed, access_sequence(), sides));
    agree(compare(cases, seed, headers_sequence(), sides));
    agree(compare(cases, seed, event_sequence(), sides));
    Runtime::new().unwrap().block_on(list_what_is_gone(server));
}

/// What no sequence comes to: an owner's list with an id that leads nowhere.
async fn list_what_is_gone(server: &TestServer) {
    let store = stores::store(server, "t-gone").await;
    let id = verbs::connection();
    let owner = verbs::owner_of(&id);
    let key = store.keyspace().owner(id.shard(), owner);
    let mut add = redis::cmd("ZADD");
    add.arg(key).arg(1).arg(id.as_str());
    add.query_async::<()>(&mut server.raw().await).await.unwrap();
    let page = store.list_connections(owner, None, 10).await.unwrap();
    assert!(page.connections.is_empty(), "{page:?}");
}

#[test]
fn memory_and_redis_agree() {
    run(64, sequence());
}

#[test]
fn memory_and_redis_agree_on_refreshes() {
    run(64, refresh_sequence());
}

/// V-5, C-1: what owners do to their connections, with exchanges in flight.
#[test]
fn memory_and_redis_agree_on_lifecycles() {
    run(64, lifecycle_sequence());
}

/// H-9, H-10: orphans, with exchanges in flight, and turns at sweeping.
#[test]
fn memory_and_redis_agree_on_access() {
    run(64, access_sequence());
}

#[test]
fn memory_and_redis_agree_on_pendings() {
    run(64, pending_sequence());
}

#[test]
fn memory_and_redis_agree_on_tokens() {
    run(64, token_sequence());
}

#[test]
fn memory_and_redis_agree_on_turns_at_polling() {
    run(64, device_sequence());
}

/// H-4, H-6, H-8, H-9: header credentials, and the flows that they are submitted in.
#[test]
fn memory_and_redis_agree_on_headers() {
    run(64, headers_sequence());
}

/// V-8, X-8: caps and pauses.
#[test]
fn memory_and_redis_agree_on_caps_and_pauses() {
    run(64, limit_sequence());
}

/// outbox and history.
#[test]
fn memory_and_redis_agree_on_events() {
    // A receiver is registered in all shards, so each sequence takes longer than others.
    run(24, event_sequence());
}

/// Each of these mistakes is noticed.
fn find_out<S>(wrong: impl IntoIterator<Item = Wrong>, sequences: impl Fn() -> S)
where
    S: Strategy<Value = Vec<Step>>,
{
    for wrong in wrong {
        compare(500, 1, sequences(), async || [Side::memory(), WrongStore::side(wrong)])
            .expect_err(&format!("nobody noticed {wrong:?}"));
    }
}

/// A comparison that cannot fail proves nothing.
#[test]
fn a_store_that_is_wrong_is_found_out() {
    find_out(Wrong::ALL, sequence);
    find_out(Wrong::REFRESH, refresh_sequence);
    find_out(WrongPending::ALL.map(Wrong::Pending), pending_sequence);
    find_out(WrongDevice::ALL.map(Wrong::Device), device_sequence);
    find_out(WrongLimit::ALL.map(Wrong::Limit), limit_sequence);
    find_out(WrongToken::ALL.map(Wrong::Token), token_sequence);
}

/// The same, of what owners do.
#[test]
fn a_store_that_gets_owners_wrong_is_found_out() {
    find_out(WrongLifecycle::ALL.map(Wrong::Lifecycle), lifecycle_sequence);
}

/// The same, of orphans and sweeps.
#[test]
fn a_store_that_gets_access_wrong_is_found_out() {
    find_out(WrongAccess::ALL.map(Wrong::Access), access_sequence);
}

/// The same, of header credentials.
#[test]
fn a_store_that_gets_headers_wrong_is_found_out() {
    find_out(WrongHeaders::ALL.map(Wrong::Headers), headers_sequence);
}

/// The same, of what is told.
#[test]
fn a_store_that_gets_events_wrong_is_found_out() {
    find_out(WrongEvent::ALL.map(Wrong::Event), event_sequence);
}

/// Nor does one that misses outcomes, or one that fails by itself.
#[test]
fn a_right_store_is_not_and_every_outcome_comes_up() {
    let right = async || [Side::memory(), Side::memory()];
    let mut tally = compare(64, 1, sequence(), right).unwrap();
    tally.extend(compare(64, 1, refresh_sequence(), right).unwrap());
    tally.extend(compare(64, 1, lifecycle_sequence(), right).unwrap());
    tally.extend(compare(64, 1, access_sequence(), right).unwrap());
    tally.extend(compare(64, 1, pending_sequence(), right).unwrap());
    tally.extend(compare(64, 1, device_sequence(), right).unwrap());
    tally.extend(compare(64, 1, token_sequence(), right).unwrap());
    tally.extend(compare(64, 1, limit_sequence(), right).unwrap());
    tally.extend(compare(160, 1, headers_sequence(), right).unwrap());
    tally.extend(compare(64, 1, event_sequence(), right).unwrap());
    let small = DEVICE_OUTCOMES.into_iter().chain(LIMIT_OUTCOMES).chain(LIFECYCLE_OUTCOMES);
    let small = small.chain(ACCESS_OUTCOMES).chain(HEADERS_OUTCOMES).chain(EVENT_OUTCOMES);
    for outcome in OUTCOMES.into_iter().chain(TOKEN_OUTCOMES).chain(small) {
        assert!(tally.contains_key(outcome), "{outcome} never came up: {tally:#?}");
    }
}
