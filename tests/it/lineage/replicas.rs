//! Siblings as they come about: two replicas, a provider over HTTP whose grace mints a new token for
//! each use, and one replica that is held up past its lease.

use std::time::Duration;

use redis::AsyncCommands;
use vestibule::connection::Refreshed;
use vestibule_worker::provider::{Answer, Failure};

use crate::{
    properties::connections::sign_in,
    support::{replicas::Replicas, server},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_replicas_keep_what_lives() {
    let replicas = Replicas::start().await;
    let Replicas { provider, one, two, .. } = &replicas;
    let mut raw = server::shared().await.raw().await;
    let id = sign_in(one, "alice").await;
    replicas.age(Duration::from_secs(280)).await;

    provider.set_answer_delay(Duration::from_secs(2));
    let slow = {
        let (one, id) = (one.clone(), id.clone());
        tokio::spawn(async move { one.refresh(&id).await })
    };
    replicas.in_flight().await;
    // Its lease is over, and the grace is not.
    replicas.age(Duration::from_secs(13)).await;
    let quick = two.refresh(&id).await.unwrap();
    let slow = slow.await.unwrap().unwrap();
    // Which of them is taken for the later one is a matter of milliseconds.
    let is_fresh = |outcome: &Refreshed| matches!(outcome, Refreshed::Fresh { .. });
    assert!(is_fresh(&quick) || is_fresh(&slow), "{quick:?}, {slow:?}");
    provider.set_answer_delay(Duration::ZERO);
    let key = replicas.key(&id);
    let kept: bool = raw.hexists(&key, "alt_token").await.unwrap();
    assert!(kept, "the other's answer is kept");
    assert_eq!(provider.counts().replays_in_grace, 1);

    // The provider has dropped the one that is current.
    replicas.age(Duration::from_secs(280)).await;
    provider.set_failure(Some(Failure::next(1, Answer::InvalidGrant)));
    let switched = one.refresh(&id).await.unwrap();
    assert!(matches!(switched, Refreshed::Fresh { .. }), "{switched:?}");
    let vended = two.vend("alice", &id).await.unwrap();
    assert!(provider.is_access_token_live(vended.access_token.secret()));
    assert_eq!(provider.counts().family_revocations, 0);

    // The proof that it was the sibling: once that is used up, the same answer condemns.
    replicas.age(Duration::from_secs(280)).await;
    provider.set_failure(Some(Failure::next(1, Answer::InvalidGrant)));
    assert!(matches!(one.refresh(&id).await, Ok(Refreshed::Failed(_))));
    let status: String = raw.hget(&key, "status").await.unwrap();
    assert_eq!(status, "needs_reauth");
}
