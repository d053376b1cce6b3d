//! What `lua/pkce/take.lua` and the put beside it must do.

use super::{after, fading::Fading};
use crate::{
    digest::Digest,
    store::{GRACE, Handed, NewRecord, Put, RecordName, Take},
};

#[derive(Default)]
pub(super) struct OneShots(Fading<RecordName, Record>);

struct Record {
    put_by: Digest,
    body: Vec<u8>,
    /// When its own life ends; it stays for the grace, to be told from one that never was.
    expires_at: u64,
    taken: Option<Taken>,
}

#[derive(Clone, Copy)]
struct Taken {
    by: Digest,
    at: u64,
}

impl OneShots {
    pub(super) fn put(&mut self, new: &NewRecord<'_>, now: u64) -> Put {
        if let Some(found) = self.0.get(new.name, now) {
            return if found.put_by == new.request { Put::Stored } else { Put::Collision };
        }
        let expires_at = after(now, new.ttl);
        let record =
            Record { put_by: new.request, body: new.body.to_vec(), expires_at, taken: None };
        self.0.insert(new.name, record, after(expires_at, GRACE), now);
        Put::Stored
    }

    pub(super) fn take(&mut self, name: &RecordName, request: Digest, now: u64) -> Take {
        let Some(record) = self.0.get(*name, now) else { return Take::Absent };
        // State before life: a receipt lives within the grace.
        match record.taken {
            Some(taken) if taken.by == request => {
                let ago = now.saturating_sub(taken.at);
                return Take::Taken(Handed::ago(record.body.clone(), ago));
            }
            Some(taken) => return Take::AlreadyTaken { at_ms: taken.at },
            None if record.expires_at <= now => return Take::Expired,
            None => record.taken = Some(Taken { by: request, at: now }),
        }
        let body = record.body.clone();
        self.0.end_at(*name, after(now, GRACE));
        Take::Taken(Handed::now(body))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
