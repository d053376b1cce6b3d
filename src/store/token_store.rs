//! What the port asks of a store for temp tokens.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    DroppedScope, NewToken, PutToken, Revocation, ScopePage, Shard, StoreError, TokenCursor,
    TokenId, TokenPage, TokenRow, TrimmedScope, Use,
};
use crate::digest::Digest;

/// The part of the port that temp tokens need. The rules and errors are [`Store`](super::Store)'s.
#[async_trait]
pub trait TokenStore {
    /// Mints a token: its record, and the entries that make it valid and let it be revoked.
    async fn mint_token(&self, token: NewToken<'_>) -> Result<PutToken, StoreError>;

    /// Reads a token by its id, or by the one that it has under an older pepper: whichever there
    /// is. It is not consumed.
    async fn read_token(
        &self,
        id: TokenId,
        other: Option<TokenId>,
    ) -> Result<(TokenId, TokenRow), StoreError>;

    /// Counts one use of a token that is good for `limit`.
    async fn use_token(&self, id: TokenId, request: Digest, limit: u32) -> Result<Use, StoreError>;

    /// Revokes one token.
    async fn revoke_token(&self, id: TokenId, request: Digest) -> Result<Revocation, StoreError>;

    /// Revokes all tokens in an index, which belongs to this scope. Returns how many lived.
    async fn drop_tokens(
        &self,
        index: Digest,
        scope: Digest,
        request: Digest,
    ) -> Result<u64, StoreError>;

    /// Revokes all tokens of a page of a scope's resources.
    async fn drop_scope(&self, page: ScopePage) -> Result<DroppedScope, StoreError>;

    /// Lists the live tokens in an index, up to `limit` (1 to 100) at a time.
    async fn list_tokens(
        &self,
        index: Digest,
        cursor: Option<TokenCursor>,
        limit: u16,
    ) -> Result<TokenPage, StoreError>;

    /// Takes tokens that ended at least `age` ago off a page of a scope's indexes.
    async fn trim_tokens(
        &self,
        page: ScopePage,
        age: Duration,
        cursor: Option<TokenCursor>,
    ) -> Result<TrimmedScope, StoreError>;

    /// How many tokens of a scope's indexes in a shard ended at least `age` ago: what
    /// [`trim_tokens`](Self::trim_tokens) would take off.
    async fn count_ended(
        &self,
        scope: Digest,
        shard: Shard,
        age: Duration,
    ) -> Result<u64, StoreError>;
}
