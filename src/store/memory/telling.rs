//! The events that the scripts write with a change.

use super::event::Events;
use crate::{
    digest::Digest,
    store::{By, EventKind, NewEvent, Shard, Subject, telling::words},
};

/// Where one verb tells what it changed.
pub(super) struct Telling<'a> {
    pub(super) events: &'a mut Events,
    pub(super) by: By<'a>,
    pub(super) now: u64,
}

/// What a change is of.
pub(super) struct About<'a> {
    pub(super) subject: Subject,
    pub(super) id: &'a str,
    pub(super) shard: Shard,
    pub(super) name: &'a str,
    pub(super) owner: Digest,
}

impl Telling<'_> {
    /// A word without a value is left out.
    pub(super) fn note(
        &mut self,
        kind: EventKind,
        about: &About<'_>,
        said: &[(&str, Option<String>)],
    ) {
        let event = NewEvent {
            kind,
            subject: about.subject,
            subject_id: about.id,
            name: about.name,
            owner: Some(about.owner),
            actor: self.by.actor,
            idp_host: self.by.idp_host,
            detail: &words(said),
        };
        self.events.note(about.shard, &event, self.now);
    }
}

/// A value that is there.
#[expect(clippy::needless_pass_by_value, reason = "numbers and words alike are told")]
#[expect(clippy::unnecessary_wraps, reason = "it stands beside values that may not be there")]
pub(super) fn told(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}
