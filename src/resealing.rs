//! Sealing a secret anew, whatever it is of.

use crate::{
    connection,
    digest::RequestId,
    foundation::Foundation,
    headers,
    seal::SealError,
    store::{Reseal, Resealed, SealedName, SealedOf, StoreError},
};

/// Why a secret is not sealed anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("nobody here knows what it is")]
    Unknown,
}

/// Opens a secret, seals it under the key that seals now, and puts it back unless another one has its
/// place by then.
pub(crate) async fn reseal(foundation: &Foundation, name: &SealedName) -> Result<Resealed, Fault> {
    let Foundation { store, seal, .. } = foundation;
    let (request, sealed_by) = (RequestId::random().digest(), seal.sealed_by().number());
    if *name == SealedName::Unknown {
        return Err(Fault::Unknown);
    }
    let Some(found) = store.read_sealed(name).await? else {
        // Nothing is there of what the index has: it is told so.
        let none = Reseal { name, request, old: &[], new: &[], sealed_by };
        return Ok(store.reseal(none).await?);
    };
    let new = match (name, &found.of) {
        (
            SealedName::Connection(id) | SealedName::Sibling(id) | SealedName::OlderSibling(id),
            SealedOf::Connection { owner, connector },
        ) => connection::reseal(foundation, id, *owner, connector, &found.sealed).await?,
        (SealedName::Headers(_), SealedOf::Headers { mode, identity, client }) => {
            headers::reseal(foundation, (*mode, *identity, *client), &found.sealed).await?
        }
        _ => return Err(Fault::Unknown),
    };
    let reseal = Reseal { name, request, old: &found.sealed, new: &new, sealed_by };
    Ok(store.reseal(reseal).await?)
}
