//! Data keys that are wrapped ahead of what they will seal.

use serde::Serialize;
use zeroize::Zeroizing;

use super::{Binding, DataKey, KeyId, OPEN, Seal, SealError, codec, envelope};

/// A data key for one record, already wrapped by the [`Sealer`](super::Sealer): sealing under it asks
/// nobody any more.
pub struct WrappedKey {
    /// `None` for the passthrough.
    key: Option<(DataKey, Vec<u8>)>,
    sealed_by: KeyId,
}

impl WrappedKey {
    /// Names the key that wrapped it; [`KeyId::NONE`] for the passthrough.
    #[must_use]
    pub const fn sealed_by(&self) -> KeyId {
        self.sealed_by
    }
}

impl std::fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WrappedKey").field("sealed_by", &self.sealed_by).finish_non_exhaustive()
    }
}

impl Seal {
    /// A fresh data key for a record, wrapped now: for what must not be lost, once there is
    /// something to seal, because a key service is away at that moment.
    ///
    /// # Errors
    ///
    /// Whatever the [`Sealer`](super::Sealer) fails with.
    pub async fn wrapped_key(&self, binding: Binding<'_>) -> Result<WrappedKey, SealError> {
        let sealed_by = self.sealed_by();
        let Some(sealer) = &self.sealer else { return Ok(WrappedKey { key: None, sealed_by }) };
        let key = DataKey::random();
        let wrapped = sealer.wrap(&key, binding).await?;
        Ok(WrappedKey { key: Some((key, wrapped)), sealed_by })
    }

    /// What [`seal_long`](Self::seal_long) makes, under a key that was wrapped for the same binding.
    ///
    /// # Errors
    ///
    /// [`SealError::Codec`] if `value` is over 64 KiB or cannot be encoded.
    pub fn seal_with<T: Serialize>(
        &self,
        key: &WrappedKey,
        binding: Binding<'_>,
        value: &T,
    ) -> Result<Vec<u8>, SealError> {
        seal_encoded(key, binding, &Zeroizing::new(codec::encode(value)?))
    }
}

pub(super) fn seal_encoded(
    key: &WrappedKey,
    binding: Binding<'_>,
    encoded: &[u8],
) -> Result<Vec<u8>, SealError> {
    match &key.key {
        Some((key, wrapped)) => envelope::seal_under(key, wrapped, binding, encoded),
        None => Ok([&[OPEN][..], encoded].concat()),
    }
}
