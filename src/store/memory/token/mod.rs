//! What the scripts in `lua/token` must do.

mod bulk;
mod index;

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;

use self::index::Index;
use super::{MemoryStore, after, fading::Fading};
use crate::{
    digest::Digest,
    store::{
        DroppedScope, GRACE, MintReceipt, NewToken, PutToken, Revocation, ScopePage, Shard,
        StoreError, TokenCursor, TokenId, TokenPage, TokenRow, TokenStore, TrimmedScope, Use,
        millis,
    },
};

#[async_trait]
impl TokenStore for MemoryStore {
    async fn mint_token(&self, token: NewToken<'_>) -> Result<PutToken, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.tokens.mint(&token, now))
    }

    async fn read_token(
        &self,
        id: TokenId,
        other: Option<TokenId>,
    ) -> Result<(TokenId, TokenRow), StoreError> {
        let (mut state, now) = self.enter();
        let row = state.tokens.read(id, now);
        match other {
            Some(other) if row == TokenRow::Absent => match state.tokens.read(other, now) {
                TokenRow::Absent => Ok((id, row)),
                found => Ok((other, found)),
            },
            _ => Ok((id, row)),
        }
    }

    async fn use_token(&self, id: TokenId, request: Digest, limit: u32) -> Result<Use, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.tokens.count(id, request, limit, now))
    }

    async fn revoke_token(&self, id: TokenId, request: Digest) -> Result<Revocation, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.tokens.revoke(id, request, now))
    }

    async fn drop_tokens(
        &self,
        index: Digest,
        scope: Digest,
        request: Digest,
    ) -> Result<u64, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.tokens.drop_index(index, scope, request, now))
    }

    async fn drop_scope(&self, page: ScopePage) -> Result<DroppedScope, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.tokens.drop_scope(&page, now))
    }

    async fn list_tokens(
        &self,
        index: Digest,
        cursor: Option<TokenCursor>,
        limit: u16,
    ) -> Result<TokenPage, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.tokens.list(index, cursor.as_ref(), limit, now))
    }

    async fn trim_tokens(
        &self,
        page: ScopePage,
        age: Duration,
        cursor: Option<TokenCursor>,
    ) -> Result<TrimmedScope, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.tokens.trim(&page, age, cursor, now))
    }

    async fn count_ended(
        &self,
        scope: Digest,
        shard: Shard,
        age: Duration,
    ) -> Result<u64, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.tokens.count_ended((shard, scope), age, now))
    }
}

#[derive(Default)]
pub(super) struct Tokens {
    records: Fading<TokenId, Record>,
    /// By scope and resource: what is valid.
    indexes: Fading<Digest, Index>,
    /// By shard and scope: the indexes that it has.
    scopes: Fading<(Shard, Digest), Index>,
    /// The requests that have used a token.
    uses: Fading<TokenId, BTreeSet<Digest>>,
    /// What was answered of several records, for retries.
    receipts: Fading<Digest, Receipt>,
}

struct Record {
    put_by: Digest,
    body: Vec<u8>,
    expires_at: u64,
    revoked_by: Option<Digest>,
}

enum Receipt {
    Minted(TokenId, Vec<u8>),
    Dropped(u64),
    DroppedScope(DroppedScope),
    Trimmed(TrimmedScope),
}

impl Tokens {
    fn mint(&mut self, new: &NewToken<'_>, now: u64) -> PutToken {
        if let Some(retried) = new.receipt.and_then(|receipt| self.retried(receipt.name, now)) {
            return retried;
        }
        if let Some(found) = self.records.get(new.id, now) {
            let left = Duration::from_millis(found.expires_at.saturating_sub(now));
            let mine = found.put_by == new.request;
            return if mine { PutToken::Minted { left } } else { PutToken::Collision };
        }
        let expires_at = after(now, new.ttl);
        add(&mut self.indexes, new.id.index(), new.id.digest(), expires_at, now);
        let scope = (new.id.shard(), new.scope);
        add(&mut self.scopes, scope, new.id.index(), expires_at, now);
        let record =
            Record { put_by: new.request, body: new.body.to_vec(), expires_at, revoked_by: None };
        self.records.insert(new.id, record, after(expires_at, GRACE), now);
        if let Some(MintReceipt { name, sealed }) = new.receipt {
            let receipt = Receipt::Minted(new.id, sealed.to_vec());
            self.receipts.insert(name, receipt, after(now, GRACE), now);
        }
        PutToken::Minted { left: Duration::from_millis(expires_at - now) }
    }

    /// What a mint with this receipt has left behind.
    fn retried(&mut self, receipt: Digest, now: u64) -> Option<PutToken> {
        let Receipt::Minted(id, sealed) = self.receipts.get(receipt, now)? else { return None };
        let (id, sealed) = (*id, sealed.clone());
        let ends = self.records.get(id, now).map_or(now, |record| record.expires_at);
        let left = Duration::from_millis(ends.saturating_sub(now));
        Some(PutToken::Retried { id, left, sealed })
    }

    fn read(&mut self, id: TokenId, now: u64) -> TokenRow {
        let member = self.is_member(id, now);
        match self.records.get(id, now) {
            None => TokenRow::Absent,
            Some(Record { revoked_by: Some(_), .. }) => TokenRow::Revoked,
            Some(_) if !member => TokenRow::Dropped,
            Some(record) if record.expires_at <= now => TokenRow::Expired,
            Some(record) => TokenRow::Live {
                body: record.body.clone(),
                left: Duration::from_millis(record.expires_at - now),
            },
        }
    }

    fn count(&mut self, id: TokenId, request: Digest, limit: u32, now: u64) -> Use {
        match self.read(id, now) {
            TokenRow::Live { left, .. } => {
                if self.uses.get(id, now).is_none() {
                    let ends_at = now + millis(left) + millis(GRACE);
                    self.uses.insert(id, BTreeSet::new(), ends_at, now);
                }
                let Some(uses) = self.uses.get(id, now) else { return Use::Absent };
                let mut count = u32::try_from(uses.len()).unwrap_or(u32::MAX);
                if !uses.contains(&request) {
                    if count >= limit {
                        return Use::UsedUp;
                    }
                    uses.insert(request);
                    count += 1;
                }
                Use::Used { left: limit.saturating_sub(count) }
            }
            TokenRow::Revoked => Use::Revoked,
            TokenRow::Dropped => Use::Dropped,
            TokenRow::Expired => Use::Expired,
            TokenRow::Absent => Use::Absent,
        }
    }

    fn revoke(&mut self, id: TokenId, request: Digest, now: u64) -> Revocation {
        let member = self.is_member(id, now);
        let Some(record) = self.records.get(id, now) else { return Revocation::Absent };
        match record.revoked_by {
            Some(by) if by == request => return Revocation::Revoked,
            Some(_) => return Revocation::Already,
            None if !member => return Revocation::Already,
            None if record.expires_at <= now => return Revocation::Expired,
            None => record.revoked_by = Some(request),
        }
        if let Some(index) = self.indexes.get(id.index(), now) {
            index.remove(id.digest());
            if index.is_empty() {
                self.indexes.end_at(id.index(), now);
            }
        }
        Revocation::Revoked
    }

    fn is_member(&mut self, id: TokenId, now: u64) -> bool {
        self.indexes.get(id.index(), now).is_some_and(|index| index.has(id.digest()))
    }
}

/// Adds a member to an index that may have to be made, and lets go of what is past its grace.
fn add<K: Copy + std::hash::Hash + Ord>(
    indexes: &mut Fading<K, Index>,
    place: K,
    member: Digest,
    end: u64,
    now: u64,
) {
    // One that is empty is a new one: its end goes by what comes now.
    if indexes.get(place, now).is_none_or(|index| index.forget(now)) {
        indexes.insert(place, Index::default(), u64::MAX, now);
    }
    let until = indexes.get(place, now).map_or(end, |index| index.add(member, end));
    indexes.end_at(place, until);
}
