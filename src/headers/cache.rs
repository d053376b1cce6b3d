//! Header credentials in this process's memory. How they are kept, and how stale they can be, is in
//! [`crate::cache`].

use super::{HeaderCredential, HeadersError};
use crate::{
    cache::{self, Kept, Outdated},
    digest::Digest,
    store::Change,
};

/// The credentials of one process. A key is the digest of a binding, and so of whose it is.
pub(super) type Cache = cache::Cache<Credentials>;

pub(super) struct Credentials;

impl Kept for Credentials {
    type Key = Digest;
    type Owner = ();
    type Value = HeaderCredential;
    type Error = HeadersError;

    fn outdated(change: &Change) -> Outdated<Digest> {
        match change {
            Change::Headers(binding) => Outdated::One(*binding),
            Change::AllHeaders => Outdated::All,
            Change::Connection(_) => Outdated::Nothing,
        }
    }
}
