//! Pendings that are asked for again, and that somebody claims, to check what was submitted before
//! they end.

use std::time::Duration;

use super::{Ended, Pendings, after};
use crate::{
    digest::Digest,
    store::{
        ClaimedFlow, Ending, GRACE, NewPending, Outcome, PendingId, SubmittedFlow, UpsertedHeaders,
        millis,
    },
};

impl Pendings {
    /// What is left of a live one that is joined, after it was extended; `None` if it is not joined.
    pub(super) fn join(&mut self, id: PendingId, new: &NewPending<'_>, now: u64) -> Option<u64> {
        let is_claimed = self.claims.get(id, now).is_some();
        let record = self.records.get(id, now)?;
        let left = record.left(now)?;
        if !new.extends || !is_claimed && left >= millis(new.ttl) {
            return Some(left);
        }
        let (end, expires_at) = (record.expires_at, after(now, new.ttl));
        if is_claimed || expires_at > record.ceiling_at {
            return None;
        }
        record.expires_at = expires_at;
        self.records.end_at(id, after(expires_at, GRACE));
        let index = self.index.entry(id.namespace()).or_default();
        index.remove(&(end, id));
        index.insert((expires_at, id));
        if let Some(dedup) = new.dedup {
            self.dedup.insert((id.namespace(), dedup), id, expires_at, now);
        }
        Some(millis(new.ttl))
    }

    pub(in crate::store::memory) fn claim(
        &mut self,
        id: PendingId,
        request: Digest,
        lease: Duration,
        now: u64,
    ) -> ClaimedFlow {
        let Some(record) = self.records.get(id, now) else { return ClaimedFlow::Absent };
        let left = match (record.ended, record.left(now)) {
            (Some(ended), _) => return ClaimedFlow::Ended(ended.how),
            (None, None) => return ClaimedFlow::Expired,
            (None, Some(left)) => left,
        };
        let body = record.body.clone();
        match self.claims.get(id, now) {
            Some((holder, ends)) if *holder != request => {
                return ClaimedFlow::Busy { left: Duration::from_millis(*ends - now) };
            }
            Some(_) => {}
            None => {
                let ends = after(now, lease.max(Duration::from_millis(1)));
                self.claims.insert(id, (request, ends), ends, now);
            }
        }
        ClaimedFlow::Claimed { body, left: Duration::from_millis(left) }
    }

    pub(in crate::store::memory) fn release(&mut self, id: PendingId, request: Digest, now: u64) {
        if self.claims.get(id, now).is_some_and(|claim| claim.0 == request) {
            self.claims.end_at(id, now);
        }
    }

    /// Ends a flow with what was submitted; or says why it is refused, with nothing changed.
    pub(in crate::store::memory) fn submit(
        &mut self,
        flow: &SubmittedFlow<'_>,
        request: Digest,
        now: u64,
    ) -> Result<(), UpsertedHeaders> {
        let record = self.records.get(flow.id, now).ok_or(UpsertedHeaders::FlowGone)?;
        if let Some(ended) = record.ended {
            return Err(UpsertedHeaders::FlowEnded(ended.how));
        }
        let left = record.left(now).ok_or(UpsertedHeaders::FlowGone)?;
        if self.claims.get(flow.id, now).is_none_or(|claim| claim.0 != flow.claim) {
            return Err(UpsertedHeaders::NotClaimed);
        }
        let end = record.expires_at;
        record.ended = Some(Ended { how: Ending::Completed, by: request, at: now });
        self.claims.end_at(flow.id, now);
        let outcome = Outcome {
            how: Ending::Completed,
            at_ms: now,
            by: flow.by.to_owned(),
            body: flow.answer.to_vec(),
        };
        let life = left.min(millis(flow.longest)).max(millis(GRACE));
        self.end(flow.id, end, outcome, life, now);
        Ok(())
    }
}
