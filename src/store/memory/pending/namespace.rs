//! A namespace of pendings: listed and cleared, page by page.

use super::{Ended, Pendings, after};
use crate::{
    digest::Digest,
    store::{Cleared, Ending, GRACE, Outcome, PageCursor, PendingPage, millis},
};

impl Pendings {
    pub(in crate::store::memory) fn list(
        &self,
        namespace: Digest,
        cursor: Option<&PageCursor>,
        limit: u16,
        now: u64,
    ) -> PendingPage {
        let limit = usize::from(limit.clamp(1, 100));
        let after = cursor.map(|cursor| (cursor.from_ms, cursor.after));
        let live = self.index.get(&namespace).into_iter().flatten();
        let page: Vec<_> = live
            .filter(|entry| entry.0 > now && after.is_none_or(|after| **entry > after))
            .take(limit)
            .copied()
            .collect();
        let next = page
            .last()
            .filter(|_| page.len() == limit)
            .map(|&(from_ms, after)| PageCursor { after, from_ms });
        PendingPage { ids: page.into_iter().map(|(_, id)| id).collect(), next }
    }

    pub(in crate::store::memory) fn clear(
        &mut self,
        namespace: Digest,
        request: Digest,
        by: &str,
        limit: u16,
        now: u64,
    ) -> Cleared {
        if let Some(before) = self.cleared.get(request, now) {
            return before.clone();
        }
        let live = self.index.get(&namespace).into_iter().flatten().filter(|entry| entry.0 > now);
        let page: Vec<_> = live.take(limit.clamp(1, 50).into()).copied().collect();
        if page.is_empty() {
            return Cleared::default();
        }
        let mut cleared = Cleared::default();
        for (end, id) in page {
            let record = self.records.get(id, now).filter(|record| record.left(now).is_some());
            if let Some(record) = record {
                record.ended = Some(Ended { how: Ending::Cleared, by: request, at: now });
                let (how, by) = (Ending::Cleared, by.to_owned());
                let outcome = Outcome { how, at_ms: now, by, body: Vec::new() };
                self.end(id, end, outcome, millis(GRACE), now);
                cleared.ids.push(id);
            }
        }
        let mut left = self.index.get(&namespace).into_iter().flatten();
        cleared.more = left.any(|(end, _)| *end > now);
        self.cleared.insert(request, cleared.clone(), after(now, GRACE), now);
        cleared
    }
}
