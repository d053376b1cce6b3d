//! The verbs of header credentials and their flows.

use std::time::Duration;

use vestibule::{
    Digest,
    store::{
        BindingName, ClaimedFlow, HeadersId, HeadersMode, HeadersStatus, MarkHeaders, NewHeaders,
        NewPending, PendingId, PutPending, Reaped, RemovedHeaders, RestoredHeaders, SealedName,
        Shard, Store, SubmittedFlow, UpsertedHeaders, WithdrawnHeaders,
    },
};

use super::{BODY, LEASE, SECRET, request};

/// A credential, whose client and whose identity are known from their binding.
pub fn new_headers(binding: BindingName, request: Digest) -> NewHeaders<'static> {
    NewHeaders {
        id: HeadersId::of(binding.shard, request),
        request,
        binding,
        mode: HeadersMode::User,
        identity: binding.digest,
        client: binding.digest,
        client_name: "",
        secret: SECRET,
        key: "",
        flow: None,
    }
}

/// The first few of a client.
pub fn mark(shard: Shard, client: Digest, request: Digest) -> MarkHeaders<'static> {
    MarkHeaders { shard, client, request, reason: "x", after: None, limit: 10 }
}

pub(super) async fn every_verb(store: &dyn Store, between: &mut impl AsyncFnMut()) {
    let digest = request();
    let shard = Shard::new(digest.as_bytes()[0]);
    let binding = BindingName { shard, digest };
    between().await;
    let flow = PendingId::random(digest);
    let pending = NewPending {
        id: flow,
        request: digest,
        ttl: LEASE,
        ceiling: LEASE,
        subject: None,
        dedup: Some(digest),
        extends: true,
        display: &[],
        body: BODY,
    };
    assert_eq!(store.put_pending(pending).await.unwrap(), PutPending::Stored);
    between().await;
    store.release_flow(flow, digest).await.unwrap();
    between().await;
    let claimed = store.claim_flow(flow, digest, LEASE).await.unwrap();
    assert!(matches!(claimed, ClaimedFlow::Claimed { .. }), "{claimed:?}");
    between().await;
    let longest = LEASE;
    let new = NewHeaders {
        key: "0000002a",
        flow: Some(SubmittedFlow { id: flow, claim: digest, by: "test", answer: BODY, longest }),
        ..new_headers(binding, request())
    };
    let upserted = store.upsert_headers(new).await.unwrap();
    let UpsertedHeaders::Upserted { id, ver: 1, .. } = upserted else { panic!("{upserted:?}") };
    between().await;
    assert_eq!(store.read_headers(binding).await.unwrap().unwrap().secret, SECRET);
    between().await;
    let page = store.list_headers(shard, digest, None, 10).await.unwrap();
    assert_eq!(page.rows.len(), 1);
    between().await;
    super::reseal(store, &SealedName::Headers(id), between).await;
    assert_eq!(store.mark_headers(mark(shard, digest, request())).await.unwrap().count, 1);
    between().await;
    let found = store.find_headers(id).await.unwrap().unwrap();
    assert_eq!((found.name, found.mode, found.identity), (binding, HeadersMode::User, digest));
    between().await;
    let withdrawn = store.withdraw_headers(binding, None, request(), "x").await.unwrap();
    assert_eq!(withdrawn, WithdrawnHeaders::Withdrawn);
    between().await;
    let restored = store.restore_headers(binding, None, request()).await.unwrap();
    assert_eq!(restored, RestoredHeaders::Restored(HeadersStatus::NeedsUpdate));
    between().await;
    let reaped = store.reap_headers(id, Duration::ZERO, request()).await.unwrap();
    assert_eq!(reaped, Reaped::NotOrphaned);
    between().await;
    let deleted = store.delete_headers(id, request()).await.unwrap();
    assert_eq!(deleted, RemovedHeaders::Removed);
}
