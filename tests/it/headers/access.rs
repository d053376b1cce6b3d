//! Access that is lost and comes back.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vestibule::{
    headers::{HeadersError, Identity, Status},
    store::{Ending, Reaped, RestoredHeaders, WithdrawnHeaders},
    sweep::Orphans,
};

use super::{Host, alice, base, bearer, key_of, of, value};

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// H-9: lost, it is hidden and kept; back, it is what it was, with its headers.
#[tokio::test]
async fn access_comes_back_and_with_it_the_credential() {
    for host in Host::both().await {
        for marked in [false, true] {
            let stored = host.one.upsert(&alice(), &bearer("kept")).await.unwrap();
            if marked {
                host.one.mark_needs_update("weather", "changed").await.unwrap();
            }
            let was = host.one.get(&alice()).await.unwrap().row;
            let withdrawn = host.one.withdraw_access(&alice(), "grant-lost").await.unwrap();
            assert_eq!((withdrawn.credential, withdrawn.flows), (WithdrawnHeaders::Withdrawn, 0));
            for _ in 0..2 {
                assert!(matches!(host.two.get(&alice()).await, Err(HeadersError::NotFound)));
                assert!(matches!(host.two.vend(&alice()).await, Err(HeadersError::NotFound)));
                let again = host.two.withdraw_access(&alice(), "again").await.unwrap();
                assert_eq!(again.credential, WithdrawnHeaders::Already);
            }
            host.pass(29 * 24 * 3600).await;
            let young = host.one.reap(stored.id, MONTH).await.unwrap();
            assert!(matches!(young, Reaped::TooYoung { .. }), "{young:?}");
            let restored = host.two.restore_access(&alice()).await.unwrap();
            assert_eq!(restored, RestoredHeaders::Restored(was.status));
            let found = host.one.get(&alice()).await.unwrap();
            assert_eq!((found.row.status, &found.row.reason), (was.status, &was.reason));
            assert_eq!((value(&found.headers), found.row.was), ("kept", None));
            assert_eq!((found.row.id, found.row.ver), (stored.id, stored.ver));
            let again = host.one.restore_access(&alice()).await.unwrap();
            assert_eq!(again, RestoredHeaders::NotOrphaned);
            host.pass(40 * 24 * 3600).await;
            assert_eq!(host.one.reap(stored.id, MONTH).await.unwrap(), Reaped::NotOrphaned);
        }
        if host.side.is_redis() {
            assert_eq!(host.keys("orphans").await, [] as [String; 0]);
        }
    }
}

/// H-10: the sweep takes what nobody has had access to for the retention, and nothing else; what was
/// swept leaves nothing behind.
#[tokio::test]
async fn the_sweep_takes_old_orphans_only() {
    for host in Host::both().await {
        let (old, back, young) = (key_of(1), key_of(2), key_of(3));
        for binding in [&alice(), &old, &back] {
            host.one.upsert(binding, &bearer("kept")).await.unwrap();
        }
        host.one.withdraw_access(&old, "left").await.unwrap();
        host.one.withdraw_access(&back, "left").await.unwrap();
        host.pass(31 * 24 * 3600).await;
        host.one.restore_access(&back).await.unwrap();
        host.one.upsert(&young, &bearer("kept")).await.unwrap();
        host.one.withdraw_access(&young, "left").await.unwrap();
        let swept = Orphans::default().pass(&host.vestibule, &CancellationToken::new()).await;
        assert_eq!((swept.found, swept.done, swept.errors), (1, 1, 0), "{swept:?}");
        for kept in [&alice(), &back] {
            assert_eq!(value(&host.one.vend(kept).await.unwrap()), "kept");
        }
        let restored = host.one.restore_access(&young).await.unwrap();
        assert_eq!(restored, RestoredHeaders::Restored(Status::Active));
        assert_eq!(host.one.restore_access(&old).await.unwrap(), RestoredHeaders::Absent);
        let page = host.one.list("weather", None, None, 100).await.unwrap();
        assert_eq!(page.credentials.len(), 3);
    }
}

/// H-9: whoever submits anew has access: the credential is active, and no orphan.
#[tokio::test]
async fn an_orphan_that_is_stored_anew_is_active() {
    for host in Host::both().await {
        let first = host.one.upsert(&alice(), &bearer("old")).await.unwrap();
        host.one.withdraw_access(&alice(), "left").await.unwrap();
        let second = host.one.upsert(&alice(), &bearer("new")).await.unwrap();
        assert_eq!((second.id, second.ver), (first.id, 2));
        let row = host.one.get(&alice()).await.unwrap().row;
        assert_eq!((row.status, row.was, row.reason), (Status::Active, None, None));
        host.pass(60 * 24 * 3600).await;
        assert_eq!(host.one.reap(first.id, MONTH).await.unwrap(), Reaped::NotOrphaned);
        assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "new");
    }
}

/// H-9: a session's credential is never touched, and nor is its flow.
#[tokio::test]
async fn a_session_is_never_touched() {
    for host in Host::both().await {
        let session = of(Identity::session("s-1"), "weather");
        let id = host.one.upsert(&session, &bearer("mine")).await.unwrap().id;
        let flow = host.one.initiate(&session, &base()).await.unwrap().flow;
        let withdrawn = host.one.withdraw_access(&session, "left").await.unwrap();
        assert_eq!((withdrawn.credential, withdrawn.flows), (WithdrawnHeaders::Session, 0));
        // Not by the store either, whoever asks.
        let row = host.one.get(&session).await.unwrap().row;
        assert_eq!((row.id, row.status), (id, Status::Active));
        assert!(host.one.flow(flow).await.unwrap().is_some());
    }
}

/// H-8, H-9: what is under way ends with its access; a submission that is being checked finds that
/// out, and brings nothing back.
#[tokio::test]
async fn flows_end_with_their_access() {
    for host in Host::both().await {
        for revoked in [false, true] {
            let (mine, others) = (key_of(1), of(Identity::virtual_key("vk-1"), "other"));
            host.one.upsert(&mine, &bearer("old")).await.unwrap();
            let flow = host.one.initiate(&mine, &base()).await.unwrap();
            let claim = host.one.claim(flow.flow).await.unwrap();
            let second = host.one.initiate(&mine, &base()).await.unwrap();
            assert!(second.flow != flow.flow, "one that is claimed is left as it is");
            let other = host.one.initiate(&others, &base()).await.unwrap();
            let flows = if revoked {
                let revoked = host.two.revoke(&mine).await.unwrap();
                assert!(revoked.credential);
                revoked.flows
            } else {
                host.two.withdraw_access(&mine, "left").await.unwrap().flows
            };
            assert_eq!(flows, 2);
            let late = host.one.submit(&claim, &bearer("late")).await.unwrap_err();
            assert!(matches!(late, HeadersError::FlowEnded(Ending::Cancelled)), "{late}");
            assert!(matches!(host.one.get(&mine).await, Err(HeadersError::NotFound)));
            for ended in [flow.flow, second.flow] {
                assert!(host.one.flow(ended).await.unwrap().is_none());
                assert_eq!(host.links_to(ended).await, 0, "its links are dead");
            }
            assert!(host.one.flow(other.flow).await.unwrap().is_some(), "another client's");
            let again = host.one.revoke(&mine).await.unwrap();
            assert_eq!((again.credential, again.flows), (!revoked, 0), "an orphan is revoked too");
        }
    }
}
