//! The same request again: the same answer; nothing comes back that was removed, and nothing is
//! undone that came since.

use std::time::Duration;

use vestibule::{
    Digest, RequestId,
    headers::HeadersError,
    store::{
        BindingName, HeadersStatus, HeadersStore, MarkHeaders, Reaped, RemovedHeaders,
        RestoredHeaders, Shard, UpsertedHeaders, WithdrawnHeaders,
    },
};

use super::{Host, alice, base, bearer, value};
use crate::support::{
    proxy::Proxy,
    server::TestServer,
    stores::store_at,
    verbs::{
        headers::{mark, new_headers},
        request,
    },
};

/// A store that is retried changes nothing, whatever came since.
#[tokio::test]
async fn a_retried_store_brings_nothing_back() {
    for host in Host::both().await {
        let (one, two) = (RequestId::random(), RequestId::random());
        let first = host.one.upsert_as(&one, &alice(), &bearer("one")).await.unwrap();
        assert_eq!(host.two.upsert_as(&one, &alice(), &bearer("one")).await.unwrap(), first);
        let second = host.one.upsert_as(&two, &alice(), &bearer("two")).await.unwrap();
        let again = host.two.upsert_as(&one, &alice(), &bearer("one")).await.unwrap();
        assert_eq!(again, second, "told what is there");
        assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "two");
        host.one.withdraw_access(&alice(), "left").await.unwrap();
        host.one.upsert_as(&two, &alice(), &bearer("two")).await.unwrap();
        assert!(matches!(host.one.get(&alice()).await, Err(HeadersError::NotFound)), "an orphan");

        let delete = RequestId::random();
        for _ in 0..2 {
            let deleted = host.one.delete_as(&delete, first.id).await.unwrap();
            assert_eq!(deleted, RemovedHeaders::Removed);
            for request in [&one, &two] {
                let late = host.two.upsert_as(request, &alice(), &bearer("late")).await.unwrap();
                assert_eq!(late.id, first.id);
                assert!(matches!(host.one.get(&alice()).await, Err(HeadersError::NotFound)));
            }
        }
        let next = host.one.upsert(&alice(), &bearer("next")).await.unwrap();
        for request in [&one, &two] {
            let late = host.two.upsert_as(request, &alice(), &bearer("late")).await.unwrap();
            assert_eq!(late, next);
        }
        let deleted = host.one.delete_as(&delete, first.id).await.unwrap();
        assert_eq!(deleted, RemovedHeaders::Removed, "the first one, as before");
        assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "next");
    }
}

/// H-15: a submission that is retried is told again; and so is a claim.
#[tokio::test]
async fn a_retried_submission_is_told_again() {
    for host in Host::both().await {
        let flow = host.one.initiate(&alice(), &base()).await.unwrap().flow;
        let request = RequestId::random();
        let claim = host.one.claim_as(&request, flow).await.unwrap();
        let same = host.two.claim_as(&request, flow).await.unwrap();
        let stored = host.one.submit(&claim, &bearer("mine")).await.unwrap();
        assert_eq!(host.two.submit(&same, &bearer("mine")).await.unwrap(), stored);
        let next = host.one.upsert(&alice(), &bearer("next")).await.unwrap();
        let again = host.one.submit(&claim, &bearer("mine")).await.unwrap();
        assert_eq!((again.id, again.ver), (next.id, next.ver));
        assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "next");
    }
}

/// each reply is lost once; whoever asks again is told what its own request did.
#[tokio::test]
async fn a_lost_reply_is_asked_for_again() {
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    proxy.announce_on(&server).await;
    for url in [proxy.url(), proxy.cluster_url()] {
        let store = store_at(&url, "vst").await.unwrap();
        let digest = request();
        let shard = Shard::new(digest.as_bytes()[0]);
        let binding = BindingName { shard, digest };
        let new = |request| new_headers(binding, request);
        // A reply that is lost shall not be NOSCRIPT.
        let warm = store.upsert_headers(new(request())).await.unwrap();
        let UpsertedHeaders::Upserted { id, .. } = warm else { panic!("{warm:?}") };
        for _ in 0..2 {
            store.mark_headers(mark(shard, digest, request())).await.unwrap();
            store.withdraw_headers(binding, None, request(), "x").await.unwrap();
            store.restore_headers(binding, None, request()).await.unwrap();
        }
        let upsert = store.upsert_headers(new(request()));
        let upserted = proxy.without_reply(upsert).await;
        let UpsertedHeaders::Upserted { ver, id: same, .. } = upserted.unwrap() else { panic!() };
        assert_eq!((ver, same), (2, id), "stored once");
        let marking = mark(shard, digest, request());
        let marked = proxy.without_reply(store.mark_headers(marking)).await;
        assert_eq!(marked.unwrap().count, 1, "not: none was left to mark");
        let withdraw = store.withdraw_headers(binding, None, request(), "x");
        let withdrawn = proxy.without_reply(withdraw).await;
        assert_eq!(withdrawn.unwrap(), WithdrawnHeaders::Withdrawn, "not: it was one already");
        let restore = store.restore_headers(binding, None, request());
        let restored = proxy.without_reply(restore).await;
        assert_eq!(restored.unwrap(), RestoredHeaders::Restored(HeadersStatus::NeedsUpdate));
        store.withdraw_headers(binding, None, request(), "x").await.unwrap();
        let reap = store.reap_headers(id, Duration::ZERO, request());
        let reaped = proxy.without_reply(reap).await;
        assert_eq!(reaped.unwrap(), Reaped::Reaped, "not: absent");
        assert_eq!(store.read_headers(binding).await.unwrap(), None);
    }
}

/// A page of marks that is retried marks nothing that was stored since.
#[tokio::test]
async fn a_retried_mark_leaves_what_came_since() {
    for host in Host::both().await {
        let id = host.one.upsert(&alice(), &bearer("one")).await.unwrap().id;
        let row = host.one.list("weather", None, None, 1).await.unwrap().credentials.remove(0);
        assert_eq!(row.id, id);
        let mark = mark(id.shard(), row.client, request());
        assert_eq!(host.side.store.mark_headers(mark.clone()).await.unwrap().count, 1);
        host.one.upsert(&alice(), &bearer("two")).await.unwrap();
        assert_eq!(host.side.store.mark_headers(mark.clone()).await.unwrap().count, 1);
        assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "two");
        let other: Digest = request();
        let again =
            host.side.store.mark_headers(MarkHeaders { request: other, ..mark }).await.unwrap();
        assert_eq!(again.count, 1);
        assert!(matches!(host.one.vend(&alice()).await, Err(HeadersError::NeedsUpdate { .. })));
    }
}
