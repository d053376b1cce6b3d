//! Clocks that jump, and lives that somebody changed in Redis.

use redis::AsyncCommands;
use vestibule::{
    RequestId,
    pkce::{NotFound, PkceError, PkceState},
};

use super::{Scene, message};

const HOUR_MS: i64 = 3_600_000;
const GRACE_MS: i64 = 60_000;

fn expect_expired(outcome: Result<PkceState, PkceError>) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, PkceError::StateNotFound(NotFound::Expired)), "{error:?}");
    assert_eq!(message(&error), "pkce: state not found");
}

/// K-1, K-3: past its life a state is refused though its key is there, again and again.
#[tokio::test]
async fn an_expired_state_is_refused_though_its_key_is_there() {
    let mut scene = Scene::new().await;
    let states = scene.states();
    for left in [GRACE_MS, GRACE_MS - 1, 10_000] {
        let (state, key) = scene.live(&states).await;
        let _: () = scene.raw.pexpire(&key, left).await.unwrap();
        let before = scene.dump(&key).await;
        expect_expired(states.take(&state).await);
        expect_expired(states.take(&state).await);
        assert_eq!(scene.dump(&key).await, before);
    }
    let (state, key) = scene.live(&states).await;
    let _: () = scene.raw.pexpire(&key, GRACE_MS + 5_000).await.unwrap();
    assert_eq!(states.take(&state).await.unwrap().connection, "github", "the last seconds count");
}

/// A record without an end was never written here: it is expired, and is given an end.
#[tokio::test]
async fn a_state_without_an_end_is_expired_and_given_one() {
    let mut scene = Scene::new().await;
    let states = scene.states();
    let (state, key) = scene.live(&states).await;
    let _: () = scene.raw.persist(&key).await.unwrap();
    expect_expired(states.take(&state).await);
    let left: i64 = scene.raw.pttl(&key).await.unwrap();
    assert!((1..=GRACE_MS).contains(&left), "{left}");
    expect_expired(states.take(&state).await);
}

/// A Redis whose clock jumped back, or a life prolonged by hand: the sealed end is judged by the
/// local clock, and refuses.
#[tokio::test]
async fn the_sealed_end_refuses_what_redis_keeps() {
    let mut scene = Scene::new().await;
    let states = scene.states();
    let late = scene.vestibule(scene.seal().with_wall_clock_shift(HOUR_MS)).pkce();
    let (state, key) = scene.live(&states).await;
    let _: () = scene.raw.pexpire(&key, 2 * HOUR_MS).await.unwrap();
    let request = RequestId::random();
    expect_expired(late.take_as(&request, &state).await);
    // If it was the local clock that was wrong, the record is not lost to its request.
    let found = states.take_as(&request, &state).await.unwrap();
    assert_eq!(found.connection, "github");
}

/// A clock within the tolerance of two seconds does not refuse what Redis still accepts.
#[tokio::test]
async fn a_clock_that_is_a_second_ahead_does_not_refuse() {
    let mut scene = Scene::new().await;
    let states = scene.states();
    let ahead = scene.vestibule(scene.seal().with_wall_clock_shift(601_000)).pkce();
    let (state, _) = scene.live(&states).await;
    assert!(ahead.take(&state).await.is_ok());
    let ahead = scene.vestibule(scene.seal().with_wall_clock_shift(603_000)).pkce();
    let (state, _) = scene.live(&states).await;
    expect_expired(ahead.take(&state).await);
}

/// A local clock that jumps back revives nothing: Redis says no first, whoever stamped it.
#[tokio::test]
async fn a_jump_back_revives_nothing() {
    let mut scene = Scene::new().await;
    let early = scene.vestibule(scene.seal().with_wall_clock_shift(-HOUR_MS)).pkce();
    let ahead = scene.vestibule(scene.seal().with_wall_clock_shift(HOUR_MS)).pkce();
    let states = scene.states();
    for putter in [&states, &ahead] {
        let (state, key) = scene.live(putter).await;
        let _: () = scene.raw.pexpire(&key, GRACE_MS).await.unwrap();
        expect_expired(early.take(&state).await);
        let (state, _) = scene.live(putter).await;
        putter.take(&state).await.unwrap();
        let again = early.take(&state).await.unwrap_err();
        let replayed = matches!(again, PkceError::StateNotFound(NotFound::Replayed { .. }));
        assert!(replayed, "{again:?}");
    }
    // One that was stamped by a clock an hour behind is over for everybody else: fail closed.
    let (state, _) = scene.live(&early).await;
    expect_expired(states.take(&state).await);
}
