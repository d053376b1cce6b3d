//! Records of every kind, with what does not matter to a property filled in.

use std::time::Duration;

use vestibule::{
    Digest,
    store::{
        Ending, Finish, Finished, NewPending, NewToken, PendingId, PutPending, PutToken,
        Revocation, Store, StoreError, TokenId,
    },
};

use crate::support::verbs::{BODY, request};

const LIFE: Duration = Duration::from_secs(600);

pub async fn put_pending(
    store: &dyn Store,
    id: PendingId,
    request: Digest,
) -> Result<PutPending, StoreError> {
    let (subject, dedup, display) = (None, None, &[("kind", "test")]);
    let (ttl, ceiling, extends) = (LIFE, LIFE, false);
    let new =
        NewPending { id, request, ttl, ceiling, subject, dedup, extends, display, body: BODY };
    store.put_pending(new).await
}

pub async fn finish(
    store: &dyn Store,
    id: PendingId,
    request: Digest,
    how: Ending,
) -> Result<Finished, StoreError> {
    let (subject, by, longest) = (None, "test", LIFE);
    store.finish_pending(Finish { id, request, how, subject, by, body: b"told", longest }).await
}

pub async fn mint(store: &dyn Store, id: TokenId, request: Digest) -> Result<PutToken, StoreError> {
    let (scope, ttl, display, receipt) = (id.index(), LIFE, &[("scope", "test")], None);
    store.mint_token(NewToken { id, scope, request, ttl, display, body: BODY, receipt }).await
}

pub async fn pending(store: &dyn Store) -> PendingId {
    let id = PendingId::random(request());
    assert_eq!(put_pending(store, id, request()).await.unwrap(), PutPending::Stored);
    id
}

pub async fn token(store: &dyn Store) -> TokenId {
    let id = TokenId::new(request(), request());
    let minted = mint(store, id, request()).await.unwrap();
    assert!(matches!(minted, PutToken::Minted { .. }), "{minted:?}");
    id
}

pub fn is_finished(finished: &Finished) -> bool {
    matches!(finished, Finished::Finished(handed) if handed.body == BODY)
}

pub fn is_revoked(revoked: &Revocation) -> bool {
    *revoked == Revocation::Revoked
}
