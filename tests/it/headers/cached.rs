//! Header credentials in memory (H-11): what any replica changes is served no longer. How a cache
//! behaves by itself is in its own unit tests.

use std::time::Duration;

use redis::{AsyncCommands, aio::MultiplexedConnection};
use tokio::time::{Instant, sleep};
use vestibule::{
    headers::{
        CacheConfig, HeaderCredential, HeaderCredentials, HeadersConfig, HeadersError, Status,
    },
    store::Reaped,
};

use super::{Host, alice, bearer, value};
use crate::support::{server, side::Side, stores::store};

/// How long a message may take here.
const SOON: Duration = Duration::from_secs(10);

/// A replica that keeps what it reads, and another that does not; each hears for itself.
struct Two {
    keeps: HeaderCredentials,
    other: HeaderCredentials,
    raw: MultiplexedConnection,
    host: Host,
}

impl Two {
    async fn start() -> Self {
        let host = Host::redis().await;
        let server = server::shared().await;
        let store = store(server, host.side.prefix()).await;
        let elsewhere = Host::on(Side { store, ..host.side.clone() });
        let keeps = elsewhere.with(|config: &mut HeadersConfig| {
            config.cache = Some(CacheConfig::default());
        });
        Self { keeps, other: host.one.clone(), raw: server.raw().await, host }
    }

    /// Asks until it comes from memory: until it does without what leads to it in Redis.
    async fn kept(&mut self) -> HeaderCredential {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            self.keeps.get(&alice()).await.unwrap();
            let binding = self.host.keys("binding:").await.pop().unwrap();
            let aside = format!("{binding}-aside");
            let () = self.raw.rename(&binding, &aside).await.unwrap();
            let kept = self.keeps.get(&alice()).await;
            let () = self.raw.rename(&aside, &binding).await.unwrap();
            match kept {
                Ok(kept) => return kept,
                Err(HeadersError::NotFound) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < deadline, "it is never kept");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks until what is told is not of this version and status any more.
    async fn until_other(&self, was: &HeaderCredential) -> Result<HeaderCredential, HeadersError> {
        let deadline = Instant::now() + SOON;
        loop {
            match self.keeps.get(&alice()).await {
                Ok(now) if (now.row.ver, now.row.status) == (was.row.ver, was.row.status) => {}
                other => return other,
            }
            assert!(Instant::now() < deadline, "still what it was after {SOON:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// H-11: stored anew, marked, withdrawn, given back, deleted and reaped at another replica; one that
/// needs an update is kept with its status, and that there is none is never kept.
#[tokio::test]
async fn what_another_replica_changes_is_served_no_longer() {
    let mut two = Two::start().await;
    two.other.upsert(&alice(), &bearer("Bearer one")).await.unwrap();
    let kept = two.kept().await;
    assert_eq!(value(&kept.headers), "Bearer one");

    two.other.upsert(&alice(), &bearer("Bearer two")).await.unwrap();
    assert_eq!(value(&two.until_other(&kept).await.unwrap().headers), "Bearer two");

    let kept = two.kept().await;
    two.other.mark_needs_update("weather", "rejected").await.unwrap();
    assert_eq!(two.until_other(&kept).await.unwrap().row.status, Status::NeedsUpdate);
    let kept = two.kept().await;
    assert_eq!((value(&kept.headers), kept.row.status), ("Bearer two", Status::NeedsUpdate));
    let refused = two.keeps.vend(&alice()).await.unwrap_err();
    assert!(matches!(refused, HeadersError::NeedsUpdate { .. }), "{refused}");

    two.other.withdraw_access(&alice(), "left").await.unwrap();
    let withdrawn = two.until_other(&kept).await.unwrap_err();
    assert!(matches!(withdrawn, HeadersError::NotFound), "{withdrawn}");
    two.other.restore_access(&alice()).await.unwrap();
    two.keeps.get(&alice()).await.expect("that it was withdrawn is not kept");

    let kept = two.kept().await;
    two.other.delete(kept.row.id).await.unwrap();
    let deleted = two.until_other(&kept).await.unwrap_err();
    assert!(matches!(deleted, HeadersError::NotFound), "{deleted}");

    two.other.upsert(&alice(), &bearer("Bearer three")).await.unwrap();
    let kept = two.kept().await;
    two.other.withdraw_access(&alice(), "left").await.unwrap();
    let reaped = two.other.reap(kept.row.id, Duration::ZERO).await.unwrap();
    assert_eq!(reaped, Reaped::Reaped);
    let gone = two.until_other(&kept).await.unwrap_err();
    assert!(matches!(gone, HeadersError::NotFound), "{gone}");
}

/// H-11: who changes it here reads what was changed, at once.
#[tokio::test]
async fn a_process_reads_its_own_changes() {
    let mut two = Two::start().await;
    for round in 0..20 {
        let text = format!("Bearer {round}");
        two.keeps.upsert(&alice(), &bearer(&text)).await.unwrap();
        assert_eq!(value(&two.keeps.vend(&alice()).await.unwrap()), text);
        two.kept().await;
        two.keeps.mark_needs_update("weather", "rejected").await.unwrap();
        two.keeps.vend(&alice()).await.unwrap_err();
        two.kept().await;
        two.keeps.withdraw_access(&alice(), "left").await.unwrap();
        two.keeps.get(&alice()).await.unwrap_err();
        two.keeps.restore_access(&alice()).await.unwrap();
        let id = two.kept().await.row.id;
        two.keeps.delete(id).await.unwrap();
        two.keeps.get(&alice()).await.unwrap_err();
    }
}
