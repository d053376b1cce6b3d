//! What is done to all tokens of a resource or of a scope: through their indexes.

use std::time::Duration;

use super::{super::after, Receipt, Tokens};
use crate::{
    digest::Digest,
    store::{
        DroppedScope, GRACE, ListedToken, ScopePage, Shard, TokenCursor, TokenId, TokenPage,
        TrimmedScope, millis,
    },
};

impl Tokens {
    pub(super) fn drop_index(
        &mut self,
        index: Digest,
        scope: Digest,
        request: Digest,
        now: u64,
    ) -> u64 {
        if let Some(Receipt::Dropped(count)) = self.receipts.get(request, now) {
            return *count;
        }
        let count = self.end_index(index, now);
        self.leave_scope((shard(index), scope), &[index], now);
        self.receipts.insert(request, Receipt::Dropped(count), after(now, GRACE), now);
        count
    }

    pub(super) fn drop_scope(&mut self, page: &ScopePage, now: u64) -> DroppedScope {
        if let Some(Receipt::DroppedScope(dropped)) = self.receipts.get(page.request, now) {
            return *dropped;
        }
        let place = (page.shard, page.scope);
        let Some(scope) = self.scopes.get(place, now) else { return DroppedScope::default() };
        let mut all = scope.behind(None).map(|entry| entry.1);
        let names: Vec<_> = all.by_ref().take(page.limit.clamp(1, 50).into()).collect();
        let mut dropped = DroppedScope { more: all.next().is_some(), ..DroppedScope::default() };
        drop(all);
        for index in &names {
            let live = self.end_index(*index, now);
            dropped.resources += live.min(1);
            dropped.tokens += live;
        }
        self.leave_scope(place, &names, now);
        let receipt = Receipt::DroppedScope(dropped);
        self.receipts.insert(page.request, receipt, after(now, GRACE), now);
        dropped
    }

    pub(super) fn list(
        &mut self,
        index: Digest,
        cursor: Option<&TokenCursor>,
        limit: u16,
        now: u64,
    ) -> TokenPage {
        let limit = usize::from(limit.clamp(1, 100));
        let Some(found) = self.indexes.get(index, now) else { return TokenPage::default() };
        let live = found.behind(cursor).filter(|(end, _)| *end > now);
        let page: Vec<_> = live.take(limit).collect();
        let full = page.last().filter(|_| page.len() == limit);
        let next = full.map(|&(from_ms, after)| TokenCursor { after: Some(after), from_ms });
        let listed = |(end, digest): (u64, Digest)| {
            ListedToken::new(TokenId::new(index, digest), Duration::from_millis(end - now))
        };
        TokenPage { tokens: page.into_iter().map(listed).collect(), next }
    }

    pub(super) fn trim(
        &mut self,
        page: &ScopePage,
        age: Duration,
        cursor: Option<TokenCursor>,
        now: u64,
    ) -> TrimmedScope {
        if let Some(Receipt::Trimmed(trimmed)) = self.receipts.get(page.request, now) {
            return trimmed.clone();
        }
        let (place, limit) = ((page.shard, page.scope), usize::from(page.limit.clamp(1, 50)));
        let ended = now.saturating_sub(millis(age));
        let Some(scope) = self.scopes.get(place, now) else { return TrimmedScope::default() };
        let names: Vec<_> = scope.behind(cursor.as_ref()).take(limit).collect();
        let (mut budget, mut more) = (limit * 10, names.len() == limit);
        let mut next = cursor.unwrap_or(TokenCursor { after: None, from_ms: 0 });
        let (mut tokens, mut over) = (0, Vec::new());
        for (end, name) in names {
            let past = self.trim_index(name, ended, budget, now);
            tokens += past as u64;
            budget -= past;
            if budget == 0 {
                more = true;
                break;
            }
            next = TokenCursor { after: Some(name), from_ms: end };
            if end <= ended {
                over.push(name);
            }
        }
        self.leave_scope(place, &over, now);
        let trimmed = TrimmedScope { tokens, next: more.then_some(next) };
        if tokens > 0 {
            let receipt = Receipt::Trimmed(trimmed.clone());
            self.receipts.insert(page.request, receipt, after(now, GRACE), now);
        }
        trimmed
    }

    pub(super) fn count_ended(&mut self, place: (Shard, Digest), age: Duration, now: u64) -> u64 {
        let ended = now.saturating_sub(millis(age));
        let Some(scope) = self.scopes.get(place, now) else { return 0 };
        let names: Vec<_> = scope.behind(None).map(|(_, name)| name).collect();
        let past = |name| self.indexes.get(name, now).map_or(0, |index| index.until(ended).count());
        names.into_iter().map(past).sum::<usize>() as u64
    }

    /// Drops an index. Returns how many lived.
    fn end_index(&mut self, index: Digest, now: u64) -> u64 {
        let live = self.indexes.get(index, now).map_or(0, |index| index.count_live(now));
        self.indexes.end_at(index, now);
        live
    }

    /// Takes up to `most` of what has ended off an index. Returns how many.
    fn trim_index(&mut self, name: Digest, ended: u64, most: usize, now: u64) -> usize {
        let Some(index) = self.indexes.get(name, now) else { return 0 };
        let past: Vec<_> = index.until(ended).take(most).collect();
        for member in &past {
            index.remove(*member);
        }
        if index.is_empty() {
            self.indexes.end_at(name, now);
        }
        past.len()
    }

    fn leave_scope(&mut self, place: (Shard, Digest), names: &[Digest], now: u64) {
        let Some(scope) = self.scopes.get(place, now) else { return };
        for name in names {
            scope.remove(*name);
        }
        if scope.is_empty() {
            self.scopes.end_at(place, now);
        }
    }
}

fn shard(index: Digest) -> Shard {
    Shard::new(index.as_bytes()[0])
}
