//! One step about temp tokens, asked of one store.

use vestibule::{
    Digest,
    store::{
        DroppedScope, MintReceipt, NewToken, PutToken, ScopePage, Shard, Store, StoreError,
        TokenId, TokenPage, TokenRow, TrimmedScope, Use,
    },
};

use super::{
    ask::{Answer, SHARD, digest, request, text},
    step::apart,
    step_token::{Id, MEANWHILE, TokenStep, scope_of},
};

pub(super) async fn ask(
    store: &dyn Store,
    at: usize,
    step: &TokenStep,
) -> Result<Answer, StoreError> {
    match *step {
        TokenStep::Mint { id, request: by, ttl, receipt } => {
            let body = format!("sealed at {at}");
            // A receipt is of one index.
            let receipt = receipt.map(|number| MintReceipt {
                name: digest(b'm', number + 16 * id.index),
                sealed: body.as_bytes(),
            });
            let new = NewToken {
                id: token(id),
                scope: scope(scope_of(id.index)),
                request: request(by),
                ttl: ttl + apart(at),
                display: &[("scope", "test")],
                body: body.as_bytes(),
                receipt,
            };
            Ok(match store.mint_token(new).await? {
                PutToken::Minted { left } => Answer::new("mint minted").span(left),
                PutToken::Retried { id, left, sealed } => {
                    Answer::new("mint retried").detail(format!("{id} {}", text(&sealed))).span(left)
                }
                PutToken::Collision => Answer::new("mint collision"),
            })
        }
        TokenStep::Read { id, older } => {
            let other = older.map(|number| token(Id { number, ..id }));
            let (found, row) = store.read_token(token(id), other).await?;
            let which = if found == token(id) { "token" } else { "older token" };
            let answer = Answer::new(format!("{which} {row:?}"));
            Ok(match row {
                TokenRow::Live { body, left } => answer.detail(text(&body)).span(left),
                _ => answer,
            })
        }
        TokenStep::Use { id, request: by, limit } => {
            Ok(match store.use_token(token(id), request(by), limit).await? {
                Use::Used { left } => Answer::new("use Used").detail(left.to_string()),
                other => Answer::new(format!("use {other:?}")),
            })
        }
        TokenStep::Revoke { id, request: by } => {
            let outcome = store.revoke_token(token(id), request(by)).await?;
            Ok(Answer::new(format!("revoke {}", outcome.as_str())))
        }
        TokenStep::Drop { index, request: by } => {
            // A request is of one call, so of one index.
            let request = digest(b'd', by + 16 * index);
            let scope = scope(scope_of(index));
            let count = store.drop_tokens(self::index(index), scope, request).await?;
            Ok(Answer::new(format!("drop {}", count.min(2))).detail(count.to_string()))
        }
        TokenStep::List { .. } => list(store, step).await,
        TokenStep::DropScope { scope, request, limit } => {
            drop_scope(store, at, scope, request, limit).await
        }
        TokenStep::Trim { .. } => trim(store, at, step).await,
    }
}

async fn list(store: &dyn Store, step: &TokenStep) -> Result<Answer, StoreError> {
    let &TokenStep::List { index, limit, meanwhile } = step else { unreachable!() };
    let mut found: Vec<TokenPage> = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.list_tokens(self::index(index), cursor, limit).await?;
        cursor = page.next;
        found.push(page);
        if cursor.is_none() {
            break;
        }
        if let (1, Some(number)) = (found.len(), meanwhile) {
            store.revoke_token(token(Id { index, number }), digest(b'v', number)).await?;
        }
        assert!(found.len() < 100, "it has no end: {found:?}");
    }
    let outcome = match found.as_slice() {
        [page] if page.tokens.is_empty() => "tokens nothing",
        [_] => "tokens page",
        _ => "tokens pages",
    };
    let ids: Vec<Vec<_>> =
        found.iter().map(|page| page.tokens.iter().map(|token| token.id).collect()).collect();
    let answer = Answer::new(outcome).detail(format!("{ids:?}"));
    let lives = found.iter().flat_map(|page| &page.tokens).map(|token| token.expires_in);
    Ok(lives.fold(answer, Answer::span))
}

async fn drop_scope(
    store: &dyn Store,
    at: usize,
    scope: u8,
    by: Option<u8>,
    limit: u16,
) -> Result<Answer, StoreError> {
    let mut page = page(scope, limit);
    if let Some(by) = by {
        page.request = digest(b'e', by + 16 * scope);
        let DroppedScope { resources, tokens, more } = store.drop_scope(page).await?;
        let word = if more { " and more" } else { "" };
        return Ok(Answer::new(format!("drop scope {}{word}", tokens.min(1)))
            .detail(format!("{resources} {tokens}")));
    }
    let mut sum = (0, 0);
    for number in 0_u8.. {
        page.request = fresh(at, number);
        let DroppedScope { resources, tokens, more } = store.drop_scope(page).await?;
        sum = (sum.0 + resources, sum.1 + tokens);
        assert!(number < 100, "it has no end");
        if !more {
            break;
        }
    }
    Ok(Answer::new("drop scope whole").detail(format!("{sum:?}")))
}

async fn trim(store: &dyn Store, at: usize, step: &TokenStep) -> Result<Answer, StoreError> {
    let &TokenStep::Trim { scope, request: by, age, limit, meanwhile } = step else {
        unreachable!()
    };
    let mut page = page(scope, limit);
    let before = store.count_ended(page.scope, page.shard, age).await?;
    if let Some(by) = by {
        page.request = digest(b'x', by + 16 * scope);
        let TrimmedScope { tokens, next } = store.trim_tokens(page, age, None).await?;
        let word = if next.is_some() { " and more" } else { "" };
        return Ok(Answer::new(format!("trim {}{word}", tokens.min(1)))
            .detail(format!("{tokens} of {before}")));
    }
    let (mut sum, mut cursor) = (0, None);
    for number in 0_u8.. {
        page.request = fresh(at, number);
        let TrimmedScope { tokens, next } = store.trim_tokens(page, age, cursor).await?;
        if let (0, Some(id)) = (number, meanwhile.filter(|_| next.is_some())) {
            let body = format!("sealed at {at}");
            let new = NewToken {
                id: token(id),
                scope: self::scope(scope_of(id.index)),
                request: fresh(at, 255),
                ttl: MEANWHILE + apart(at),
                display: &[],
                body: body.as_bytes(),
                receipt: None,
            };
            store.mint_token(new).await?;
        }
        sum += tokens;
        cursor = next;
        assert!(number < 100, "it has no end");
        if cursor.is_none() {
            break;
        }
    }
    Ok(Answer::new("trim whole").detail(format!("{sum} of {before}")))
}

fn page(scope: u8, limit: u16) -> ScopePage {
    let scope = self::scope(scope);
    ScopePage { scope, shard: Shard::new(SHARD), request: Digest::NONE, limit }
}

/// A request of this step alone.
fn fresh(at: usize, number: u8) -> Digest {
    let mut bytes = *digest(b'g', number).as_bytes();
    bytes[8..].copy_from_slice(&(at as u64).to_be_bytes());
    Digest::from_bytes(&bytes).unwrap()
}

fn token(id: Id) -> TokenId {
    // The digest is of the whole text, and so of the index too.
    TokenId::new(index(id.index), digest(b'k', id.number + 16 * id.index))
}

fn index(number: u8) -> Digest {
    digest(b'i', number)
}

fn scope(number: u8) -> Digest {
    digest(b's', number)
}
