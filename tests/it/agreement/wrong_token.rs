//! The wrong store's temp tokens, with one mistake each as well.

use std::{collections::HashMap, time::Duration};

use vestibule::{
    Digest,
    store::{
        DroppedScope, NewToken, PutToken, Revocation, ScopePage, Shard, StoreError, TokenCursor,
        TokenId, TokenPage, TokenRow, TokenStore, TrimmedScope, Use,
    },
};

use super::wrong::{Wrong, WrongStore};

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongToken {
    MintForgetsItsRetry,
    MintForgetsItsReceipt,
    MintOverwrites,
    MintRevives,
    ReadIgnoresTheIndex,
    ReadForgetsTheOther,
    UseForgetsItsRetry,
    UseAllowsOneMore,
    UseIgnoresTheIndex,
    RevokeForgetsItsRetry,
    RevokeIsForAnybody,
    DropForgetsItsRetry,
    DropScopeForgetsItsRetry,
    DropScopeIsNeverDone,
    ListDropsAnEntry,
    TrimForgetsItsRetry,
    TrimIgnoresTheAge,
    CountIgnoresTheAge,
}

impl WrongToken {
    pub(super) const ALL: [Self; 18] = [
        Self::MintForgetsItsRetry,
        Self::MintForgetsItsReceipt,
        Self::MintOverwrites,
        Self::MintRevives,
        Self::ReadIgnoresTheIndex,
        Self::ReadForgetsTheOther,
        Self::UseForgetsItsRetry,
        Self::UseAllowsOneMore,
        Self::UseIgnoresTheIndex,
        Self::RevokeForgetsItsRetry,
        Self::RevokeIsForAnybody,
        Self::DropForgetsItsRetry,
        Self::DropScopeForgetsItsRetry,
        Self::DropScopeIsNeverDone,
        Self::ListDropsAnEntry,
        Self::TrimForgetsItsRetry,
        Self::TrimIgnoresTheAge,
        Self::CountIgnoresTheAge,
    ];
}

/// What it must know to get them wrong.
#[derive(Debug, Default)]
pub(super) struct TokenNotes {
    minted: HashMap<TokenId, Vec<u8>>,
    revived: HashMap<TokenId, Vec<u8>>,
}

impl WrongStore {
    fn errs(&self, wrong: WrongToken) -> bool {
        self.how == Wrong::Token(wrong)
    }

    fn fresh_token_if(&self, wrong: WrongToken, request: Digest) -> Digest {
        self.fresh_if(Wrong::Token(wrong), request)
    }

    fn token_notes<T>(&self, with: impl FnOnce(&mut TokenNotes) -> T) -> T {
        with(&mut self.tokens.lock().unwrap())
    }

    async fn reads(&self, id: TokenId, row: TokenRow) -> bool {
        self.inner.read_token(id, None).await.unwrap().1 == row
    }
}

#[async_trait::async_trait]
impl TokenStore for WrongStore {
    async fn mint_token(&self, mut token: NewToken<'_>) -> Result<PutToken, StoreError> {
        let (id, body) = (token.id, token.body.to_vec());
        token.request = self.fresh_token_if(WrongToken::MintForgetsItsRetry, token.request);
        if self.errs(WrongToken::MintForgetsItsReceipt) {
            token.receipt = None;
        }
        let ended =
            self.reads(id, TokenRow::Revoked).await || self.reads(id, TokenRow::Dropped).await;
        let minted = self.inner.mint_token(token.clone()).await?;
        match minted {
            PutToken::Minted { .. } if ended && self.errs(WrongToken::MintRevives) => {
                self.token_notes(|notes| notes.revived.insert(id, body));
            }
            PutToken::Minted { .. } => {
                self.token_notes(|notes| _ = notes.minted.entry(id).or_insert(body));
            }
            PutToken::Collision if self.errs(WrongToken::MintOverwrites) => {
                return Ok(PutToken::Minted { left: token.ttl });
            }
            PutToken::Collision | PutToken::Retried { .. } => {}
        }
        Ok(minted)
    }

    async fn read_token(
        &self,
        id: TokenId,
        mut other: Option<TokenId>,
    ) -> Result<(TokenId, TokenRow), StoreError> {
        if self.errs(WrongToken::ReadForgetsTheOther) {
            other = None;
        }
        let (id, row) = self.inner.read_token(id, other).await?;
        let body = match row {
            TokenRow::Dropped if self.errs(WrongToken::ReadIgnoresTheIndex) => {
                self.token_notes(|notes| notes.minted.get(&id).cloned())
            }
            TokenRow::Dropped | TokenRow::Revoked => {
                self.token_notes(|notes| notes.revived.get(&id).cloned())
            }
            _ => None,
        };
        let live = body.map(|body| TokenRow::Live { body, left: Duration::from_secs(1) });
        Ok((id, live.unwrap_or(row)))
    }

    async fn use_token(&self, id: TokenId, request: Digest, limit: u32) -> Result<Use, StoreError> {
        let request = self.fresh_token_if(WrongToken::UseForgetsItsRetry, request);
        let one_more = u32::from(self.errs(WrongToken::UseAllowsOneMore));
        Ok(match self.inner.use_token(id, request, limit + one_more).await? {
            Use::Used { left } => Use::Used { left: left.saturating_sub(one_more) },
            Use::Dropped if self.errs(WrongToken::UseIgnoresTheIndex) => {
                Use::Used { left: limit - 1 }
            }
            other => other,
        })
    }

    async fn revoke_token(&self, id: TokenId, request: Digest) -> Result<Revocation, StoreError> {
        let request = self.fresh_token_if(WrongToken::RevokeForgetsItsRetry, request);
        let outcome = self.inner.revoke_token(id, request).await?;
        if outcome == Revocation::Already && self.errs(WrongToken::RevokeIsForAnybody) {
            return Ok(Revocation::Revoked);
        }
        Ok(outcome)
    }

    async fn drop_tokens(
        &self,
        index: Digest,
        scope: Digest,
        request: Digest,
    ) -> Result<u64, StoreError> {
        let request = self.fresh_token_if(WrongToken::DropForgetsItsRetry, request);
        self.inner.drop_tokens(index, scope, request).await
    }

    async fn drop_scope(&self, mut page: ScopePage) -> Result<DroppedScope, StoreError> {
        page.request = self.fresh_token_if(WrongToken::DropScopeForgetsItsRetry, page.request);
        let mut dropped = self.inner.drop_scope(page).await?;
        dropped.more |= self.errs(WrongToken::DropScopeIsNeverDone) && dropped.tokens > 0;
        Ok(dropped)
    }

    async fn list_tokens(
        &self,
        index: Digest,
        cursor: Option<TokenCursor>,
        limit: u16,
    ) -> Result<TokenPage, StoreError> {
        let goes_on = cursor.is_some();
        let mut page = self.inner.list_tokens(index, cursor, limit).await?;
        if self.errs(WrongToken::ListDropsAnEntry) && goes_on && !page.tokens.is_empty() {
            page.tokens.remove(0);
        }
        Ok(page)
    }

    async fn trim_tokens(
        &self,
        mut page: ScopePage,
        mut age: Duration,
        cursor: Option<TokenCursor>,
    ) -> Result<TrimmedScope, StoreError> {
        page.request = self.fresh_token_if(WrongToken::TrimForgetsItsRetry, page.request);
        if self.errs(WrongToken::TrimIgnoresTheAge) {
            age = Duration::ZERO;
        }
        self.inner.trim_tokens(page, age, cursor).await
    }

    async fn count_ended(
        &self,
        scope: Digest,
        shard: Shard,
        mut age: Duration,
    ) -> Result<u64, StoreError> {
        if self.errs(WrongToken::CountIgnoresTheAge) {
            age = Duration::ZERO;
        }
        self.inner.count_ended(scope, shard, age).await
    }
}
