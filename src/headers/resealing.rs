//! A header credential that is sealed anew.

use super::{Inner, credential::place};
use crate::{digest::Digest, foundation::Foundation, seal::SealError, store::HeadersMode};

/// Seals headers anew, under the key that seals now. They are bound to the same place: what was moved
/// there from another record does not open.
pub(crate) async fn reseal(
    foundation: &Foundation,
    (mode, identity, client): (HeadersMode, Digest, Digest),
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let place = place(mode, identity, client);
    foundation.seal.reseal_long(Inner::bound_to(foundation, &place), sealed).await
}
