//! Vended tokens in this process's memory. How they are kept, and how stale they can be, is in
//! [`crate::cache`]; the access token itself is good at its provider for as long as it lives, as one
//! that was vended a moment before its revocation is.

use std::{sync::Arc, time::Duration};

use super::{ConnectionError, VendPath, Vended};
use crate::{
    cache::{self, Kept, Outdated},
    digest::Digest,
    store::{Change, ConnectionId},
};

/// The tokens of one process. A key is a connection, whose only owner is in the entry.
pub(super) type Cache = cache::Cache<Tokens>;

/// What a vend brings, and for how long it may be kept.
pub(super) type Filled = cache::Filled<Tokens>;

pub(super) struct Tokens;

impl Kept for Tokens {
    type Key = ConnectionId;
    type Owner = Digest;
    type Value = Vended;
    type Error = ConnectionError;

    fn outdated(change: &Change) -> Outdated<ConnectionId> {
        match change {
            Change::Connection(id) => Outdated::One(id.clone()),
            Change::Headers(_) | Change::AllHeaders => Outdated::Nothing,
        }
    }
}

/// The token that is kept, as old as it has become.
pub(super) fn kept(cache: &Arc<Cache>, owner: Digest, id: &ConnectionId) -> Option<Vended> {
    let (vended, age) = cache.get(owner, id)?;
    let expires_in = vended.expires_in.map(|left: Duration| left.saturating_sub(age));
    Some(Vended { expires_in, path: VendPath::Cached, ..vended })
}
