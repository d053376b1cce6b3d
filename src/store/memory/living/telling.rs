//! The events that the scripts write with a change.

use super::{super::event::Events, Connection};
use crate::store::{By, ConnectionId, EventKind, NewEvent, Subject, telling::words};

/// Where one verb tells what it changed.
pub(in crate::store::memory) struct Telling<'a> {
    pub(in crate::store::memory) events: &'a mut Events,
    pub(in crate::store::memory) by: By<'a>,
    pub(in crate::store::memory) now: u64,
}

impl Telling<'_> {
    /// Tells of a connection; a word without a value is left out.
    pub(super) fn tell(
        &mut self,
        kind: EventKind,
        id: &ConnectionId,
        of: &Connection,
        said: &[(&str, Option<String>)],
    ) {
        let event = NewEvent {
            kind,
            subject: Subject::Connection,
            subject_id: id.as_str(),
            name: &of.connector,
            owner: Some(of.owner),
            actor: self.by.actor,
            idp_host: self.by.idp_host,
            detail: &words(said),
        };
        self.events.note(id.shard(), &event, self.now);
    }
}

/// A value that is there.
#[expect(clippy::needless_pass_by_value, reason = "numbers and words alike are told")]
#[expect(clippy::unnecessary_wraps, reason = "it stands beside values that may not be there")]
pub(super) fn told(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}
