//! Revoking and listing: of one token, of a resource, of a scope.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{TempTokens, TokenError};
use crate::{
    digest::{Digest, RequestId},
    store::{
        DroppedScope, Revocation, ScopePage, Shard, StoreError, TokenCursor, TokenId, TokenPage,
        TrimmedScope,
    },
};

/// How many shards are asked at a time.
const AT_ONCE: usize = 16;
/// How many resources one call ends: a fraction of a millisecond of Redis's time.
const PAGE: u16 = 50;

/// What revoking a scope ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RevokedScope {
    /// How many resources had live tokens.
    pub resources: u64,
    /// How many tokens lived.
    pub tokens: u64,
}

impl TempTokens {
    /// Revokes one token, whichever pepper it was minted under. From then on no replica accepts it.
    ///
    /// # Errors
    ///
    /// A failure of the store. A lost reply is asked for again inside; for a retry beyond that, use
    /// [`revoke_as`](Self::revoke_as).
    pub async fn revoke(&self, text: &str) -> Result<Revocation, TokenError> {
        self.revoke_as(&RequestId::random(), text).await
    }

    /// [`revoke`](Self::revoke) with a request id of the caller's, who may then retry it.
    pub async fn revoke_as(
        &self,
        request: &RequestId,
        text: &str,
    ) -> Result<Revocation, TokenError> {
        let Some((id, other)) = self.ids(text) else { return Ok(Revocation::Absent) };
        match (self.revoke_id_as(request, id).await?, other) {
            (Revocation::Absent, Some(other)) => self.revoke_id_as(request, other).await,
            (outcome, _) => Ok(outcome),
        }
    }

    /// Revokes the token with this id, as [`list`](Self::list) and logs name it.
    ///
    /// # Errors
    ///
    /// As [`revoke`](Self::revoke).
    pub async fn revoke_id(&self, id: TokenId) -> Result<Revocation, TokenError> {
        self.revoke_id_as(&RequestId::random(), id).await
    }

    /// [`revoke_id`](Self::revoke_id) with a request id of the caller's, who may then retry it.
    pub async fn revoke_id_as(
        &self,
        request: &RequestId,
        id: TokenId,
    ) -> Result<Revocation, TokenError> {
        let outcome = self.foundation.store.revoke_token(id, request.digest()).await?;
        if outcome != Revocation::Absent {
            tracing::info!(token_id = %id, outcome = outcome.as_str(), "revoking a temp token");
        }
        Ok(outcome)
    }

    /// Revokes all tokens of a scope for a resource, in one step, however many there are. Returns
    /// how many lived. An empty argument revokes nothing, as does one that nobody minted for.
    ///
    /// # Errors
    ///
    /// As [`revoke`](Self::revoke).
    pub async fn revoke_resource(&self, scope: &str, resource: &str) -> Result<u64, TokenError> {
        self.revoke_resource_as(&RequestId::random(), scope, resource).await
    }

    /// [`revoke_resource`](Self::revoke_resource) with a request id of the caller's, who may then
    /// retry it: the same id gets the same count for a minute, and ends nothing that was minted
    /// since.
    pub async fn revoke_resource_as(
        &self,
        request: &RequestId,
        scope: &str,
        resource: &str,
    ) -> Result<u64, TokenError> {
        if scope.is_empty() || resource.is_empty() {
            return Ok(0);
        }
        let (index, digest) = (self.index(scope, resource), self.scope_digest(scope));
        // The receipt is the shard's: without the resource in it, a caller who sends the same id for
        // two resources would be told that the second is revoked.
        let request = request.digest();
        let parts = [request.as_bytes().as_slice(), index.as_bytes()];
        let request = self.foundation.naming.digest("token-drop", &parts);
        let count = self.foundation.store.drop_tokens(index, digest, request).await?;
        tracing::info!(scope, count, "revoked the temp tokens of a resource");
        Ok(count)
    }

    /// Revokes all tokens of a scope, whether it is still registered or not.
    ///
    /// This asks all 256 shards, a page at a time. Each page is atomic, the whole is not: a token
    /// that is minted meanwhile may live on. If that matters, stop minting first, or call again until
    /// it returns 0.
    ///
    /// # Errors
    ///
    /// A failure of the store: what was revoked before it stays revoked; call again.
    pub async fn revoke_scope(&self, scope: &str) -> Result<RevokedScope, TokenError> {
        if scope.is_empty() {
            return Ok(RevokedScope::default());
        }
        let digest = self.scope_digest(scope);
        let revoked = stream::iter(Shard::all())
            .map(|shard| self.revoke_shard(digest, shard))
            .buffer_unordered(AT_ONCE)
            .try_fold(RevokedScope::default(), async |sum, shard| Ok(sum.plus(shard)))
            .await?;
        let RevokedScope { resources, tokens } = revoked;
        tracing::info!(scope, resources, tokens, "revoked the temp tokens of a scope");
        Ok(revoked)
    }

    /// Lists the live tokens of a scope for a resource, up to 100 at a time, by the time of their
    /// end. No text is told: nobody but its bearer has it.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn list(
        &self,
        scope: &str,
        resource: &str,
        cursor: Option<TokenCursor>,
        limit: u16,
    ) -> Result<TokenPage, TokenError> {
        let index = self.index(scope, resource);
        Ok(self.foundation.store.list_tokens(index, cursor, limit).await?)
    }

    /// Takes the tokens of all registered scopes off their indexes that ended at least `age` ago;
    /// zero for all that have ended. Returns how many.
    ///
    /// Nothing needs it: records and indexes expire by themselves. It is for hosts that report how
    /// many links expired, used or not, and they call it at least once a minute: what ended longer
    /// ago may have gone by itself, and is not counted. It asks all 256 shards for each scope, and is
    /// not atomic.
    ///
    /// # Errors
    ///
    /// As [`revoke_scope`](Self::revoke_scope).
    pub async fn delete_expired(&self, age: Duration) -> Result<u64, TokenError> {
        let mut deleted = 0;
        for scope in self.scopes.names() {
            let digest = self.scope_digest(&scope);
            deleted += stream::iter(Shard::all())
                .map(|shard| self.trim_shard(digest, shard, age))
                .buffer_unordered(AT_ONCE)
                .try_fold(0, async |sum, shard| Ok(sum + shard))
                .await?;
        }
        Ok(deleted)
    }

    async fn revoke_shard(&self, scope: Digest, shard: Shard) -> Result<DroppedScope, TokenError> {
        let mut sum = DroppedScope::default();
        loop {
            let dropped = self.foundation.store.drop_scope(page(scope, shard)).await?;
            sum.resources += dropped.resources;
            sum.tokens += dropped.tokens;
            if !dropped.more {
                return Ok(sum);
            }
        }
    }

    /// A page of what [`delete_expired`](Self::delete_expired) does, for one scope and shard.
    pub(crate) async fn trim_page(
        &self,
        scope: &str,
        shard: Shard,
        age: Duration,
        cursor: Option<TokenCursor>,
    ) -> Result<TrimmedScope, StoreError> {
        let page = page(self.scope_digest(scope), shard);
        self.foundation.store.trim_tokens(page, age, cursor).await
    }

    /// How many [`trim_page`](Self::trim_page) would take off a shard, over all pages.
    pub(crate) async fn count_ended(
        &self,
        scope: &str,
        shard: Shard,
        age: Duration,
    ) -> Result<u64, StoreError> {
        self.foundation.store.count_ended(self.scope_digest(scope), shard, age).await
    }

    async fn trim_shard(
        &self,
        scope: Digest,
        shard: Shard,
        age: Duration,
    ) -> Result<u64, TokenError> {
        let (mut sum, mut cursor) = (0, None);
        loop {
            let store = &self.foundation.store;
            let TrimmedScope { tokens, next } =
                store.trim_tokens(page(scope, shard), age, cursor).await?;
            sum += tokens;
            cursor = next;
            if cursor.is_none() {
                return Ok(sum);
            }
        }
    }
}

impl RevokedScope {
    fn plus(self, shard: DroppedScope) -> Self {
        Self { resources: self.resources + shard.resources, tokens: self.tokens + shard.tokens }
    }
}

/// Each page is a request of its own.
fn page(scope: Digest, shard: Shard) -> ScopePage {
    ScopePage { scope, shard, request: RequestId::random().digest(), limit: PAGE }
}
