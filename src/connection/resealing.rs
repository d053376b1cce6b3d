//! A credential that is sealed anew.

use super::Inner;
use crate::{digest::Digest, foundation::Foundation, seal::SealError, store::ConnectionId};

/// Seals a connection's secret anew, under the key that seals now. It is bound to the same place: one
/// that was moved there from another record does not open.
pub(crate) async fn reseal(
    foundation: &Foundation,
    id: &ConnectionId,
    owner: Digest,
    connector: &str,
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let place = Inner::place(id, owner, connector);
    foundation.seal.reseal_long(Inner::bound_to(foundation, &place), sealed).await
}
