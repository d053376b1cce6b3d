//! Sealing: nothing that is secret reaches the store in the open.
//!
//! * **Short-lived records** (PKCE states, …) are sealed by the [`KeyRing`] itself.
//! * **Long-lived secrets** (credentials) are sealed under a random data key each, and the data
//!   key is wrapped by a [`Sealer`]: the ring again, or a KMS of yours.
//!
//! XSalsa20-Poly1305 takes no associated data, so every record has a sub-key: keyed BLAKE3 over
//! its purpose, its place, the key's id and the format's version. A ciphertext that is moved to
//! another record, purpose or prefix does not open. What sealing cannot show is a rollback: whoever
//! may write to Redis can put an older ciphertext of the *same* record back.

mod codec;
mod envelope;
mod error;
mod key_ring;
mod usage;
mod wrapped;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

pub use self::{
    codec::CodecError,
    envelope::DataKey,
    error::SealError,
    key_ring::{KeyId, KeyRing, KeyRingError, SealingKey},
    usage::{KeyInUse, KeyUsage},
    wrapped::WrappedKey,
};
use crate::wall_clock::WallClock;

/// How far a local clock may be ahead of the one that stamped `not_after`.
const TOLERANCE_MS: u64 = 2_000;
/// The first byte of what [`Seal::passthrough_for_development`] wrote.
const OPEN: u8 = 0;

/// What a sealed body belongs to: it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// What it is for.
    pub purpose: &'static str,
    /// The prefix of all keys: a changed one makes records unopenable.
    pub prefix: &'a str,
    /// The record.
    pub name: &'a [u8],
}

/// Which key of a ring a sealed body asks for; `None` if it is sealed otherwise, or is no sealed body.
/// Of a body under a data key, which key wrapped that. Its first 256 bytes are enough, if a ring
/// wrapped the data key.
#[must_use]
pub fn sealed_under(sealed: &[u8]) -> Option<KeyId> {
    envelope::key_id(sealed)
}

/// The port for wrapping data keys: the [`KeyRing`] is the default, a KMS fits.
///
/// An implementation over a network must bound its waits and cache what it unwrapped, or a warm
/// vend is as slow as it is.
#[async_trait]
pub trait Sealer: Send + Sync {
    /// Names the key that wraps now.
    fn key_id(&self) -> String;

    /// Wraps a data key for the record that it is bound to.
    async fn wrap(&self, key: &DataKey, binding: Binding<'_>) -> Result<Vec<u8>, SealError>;

    /// Unwraps what [`wrap`](Self::wrap) made, now or under an older key.
    async fn unwrap(&self, wrapped: &[u8], binding: Binding<'_>) -> Result<DataKey, SealError>;
}

/// Seals and opens what the stores hold.
#[derive(Clone)]
pub struct Seal {
    ring: Option<KeyRing>,
    sealer: Option<Arc<dyn Sealer>>,
    /// Whether that is the ring.
    wraps_itself: bool,
    wall_clock: WallClock,
}

impl Seal {
    /// Seals with this ring, data keys included.
    #[must_use]
    pub fn new(ring: KeyRing) -> Self {
        let sealer = Some(Arc::new(ring.clone()) as Arc<dyn Sealer>);
        Self { ring: Some(ring), sealer, wraps_itself: true, wall_clock: WallClock::default() }
    }

    /// The same with another ring; data keys are wrapped by it too, unless a sealer of yours does.
    #[must_use]
    pub fn with_ring(&self, ring: KeyRing) -> Self {
        let sealer = match &self.sealer {
            Some(sealer) if !self.wraps_itself => sealer.clone(),
            _ => Arc::new(ring.clone()),
        };
        Self { ring: Some(ring), sealer: Some(sealer), ..self.clone() }
    }

    /// Wraps the data keys of long-lived secrets with another sealer than the ring.
    #[must_use]
    pub fn with_sealer(mut self, sealer: Arc<dyn Sealer>) -> Self {
        self.sealer = Some(sealer);
        self.wraps_itself = false;
        self
    }

    /// Seals nothing: **everybody who can read Redis reads every secret**. For development only;
    /// says so in the log, at error level, each time it is made.
    #[must_use]
    pub fn passthrough_for_development() -> Self {
        tracing::error!(
            "SECRETS ARE NOT SEALED: the passthrough sealer is for development; \
             make a key file with `vestibule-worker keygen`"
        );
        Self { ring: None, sealer: None, wraps_itself: true, wall_clock: WallClock::default() }
    }

    /// Moves the local wall clock that `not_after` is judged by. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_wall_clock_shift(mut self, shift_ms: i64) -> Self {
        self.wall_clock = WallClock { shift_ms };
        self
    }

    /// Seals a record that lives for `life` at the most: past that it does not open, whatever the
    /// clock of Redis says.
    ///
    /// # Errors
    ///
    /// [`SealError::Codec`] if `value` is over 64 KiB or cannot be encoded.
    pub fn seal_short<T: Serialize>(
        &self,
        binding: Binding<'_>,
        life: std::time::Duration,
        value: &T,
    ) -> Result<Vec<u8>, SealError> {
        let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        let not_after = self.wall_clock.now_ms().saturating_add(life_ms);
        let encoded = Zeroizing::new(codec::encode(value)?);
        let prefix = not_after.to_le_bytes();
        match &self.ring {
            Some(ring) => ring.seal(binding, &[&prefix, &encoded]),
            None => Ok([&[OPEN][..], &prefix, &encoded].concat()),
        }
    }

    /// Opens what [`seal_short`](Self::seal_short) made.
    ///
    /// # Errors
    ///
    /// [`SealError::PastItsLife`] on the same clock rule, and as [`KeyRing`] says for the rest.
    pub fn open_short<T: DeserializeOwned>(
        &self,
        binding: Binding<'_>,
        sealed: &[u8],
    ) -> Result<T, SealError> {
        self.open_handed(binding, sealed, std::time::Duration::ZERO)
    }

    /// Opens what was handed out `ago`: its life is judged by then, so that a retry gets the same
    /// answer although the life is over by now.
    ///
    /// # Errors
    ///
    /// As [`open_short`](Self::open_short).
    pub fn open_handed<T: DeserializeOwned>(
        &self,
        binding: Binding<'_>,
        sealed: &[u8],
        ago: std::time::Duration,
    ) -> Result<T, SealError> {
        let plain = match (&self.ring, sealed.first()) {
            (None, Some(&OPEN)) => Zeroizing::new(sealed[1..].to_vec()),
            (None, _) => return Err(SealError::SealedByARing),
            (Some(_), Some(&OPEN)) => return Err(SealError::NotSealed),
            (Some(ring), _) => ring.open(binding, sealed)?,
        };
        let Some((not_after, encoded)) = plain.split_first_chunk::<8>() else {
            return Err(SealError::Damaged);
        };
        let not_after = u64::from_le_bytes(*not_after);
        let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        let judged_at = self.wall_clock.now_ms().saturating_sub(ago_ms);
        if judged_at > not_after.saturating_add(TOLERANCE_MS) {
            return Err(SealError::PastItsLife);
        }
        Ok(codec::decode(encoded)?)
    }

    /// Seals a secret without a known end under a data key of its own.
    ///
    /// # Errors
    ///
    /// [`SealError::Codec`] as above; whatever the [`Sealer`] fails with.
    pub async fn seal_long<T: Serialize + Sync>(
        &self,
        binding: Binding<'_>,
        value: &T,
    ) -> Result<Vec<u8>, SealError> {
        let encoded = Zeroizing::new(codec::encode(value)?);
        wrapped::seal_encoded(&self.wrapped_key(binding).await?, binding, &encoded)
    }

    /// Opens what [`seal_long`](Self::seal_long) made.
    ///
    /// # Errors
    ///
    /// As [`open_short`](Self::open_short), and whatever the [`Sealer`] fails with.
    pub async fn open_long<T: DeserializeOwned>(
        &self,
        binding: Binding<'_>,
        sealed: &[u8],
    ) -> Result<T, SealError> {
        Ok(codec::decode(&self.open_encoded(binding, sealed).await?)?)
    }

    /// Seals anew what [`seal_long`](Self::seal_long) made, under a fresh data key that the sealer's
    /// key of today wraps. What is in it is not looked at.
    ///
    /// # Errors
    ///
    /// As [`open_long`](Self::open_long): what does not open cannot be sealed anew.
    pub async fn reseal_long(
        &self,
        binding: Binding<'_>,
        sealed: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let encoded = self.open_encoded(binding, sealed).await?;
        wrapped::seal_encoded(&self.wrapped_key(binding).await?, binding, &encoded)
    }

    async fn open_encoded(
        &self,
        binding: Binding<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        match (&self.sealer, sealed.first()) {
            (None, Some(&OPEN)) => Ok(Zeroizing::new(sealed[1..].to_vec())),
            (None, _) => Err(SealError::SealedByARing),
            (Some(_), Some(&OPEN)) => Err(SealError::NotSealed),
            (Some(port), _) => {
                let wrapped = envelope::wrapped_key(sealed)?;
                let key = port.unwrap(wrapped, binding).await?;
                envelope::open_under(&key, binding, sealed)
            }
        }
    }

    /// Names the key that seals long-lived secrets now; [`KeyId::NONE`] for the passthrough. A
    /// [`Sealer`] that names its keys otherwise than a ring is told apart by a digest of the name.
    #[must_use]
    pub fn sealed_by(&self) -> KeyId {
        self.sealer.as_ref().map_or(KeyId::NONE, |sealer| KeyId::named(&sealer.key_id()))
    }

    /// The keys that can open, the one that seals first; none for the passthrough.
    pub(crate) fn keys(&self) -> Vec<KeyId> {
        let mut keys: Vec<_> = self.ring.iter().flat_map(KeyRing::key_ids).collect();
        let primary = self.sealed_by();
        if primary != KeyId::NONE {
            keys.retain(|key| *key != primary);
            keys.insert(0, primary);
        }
        keys
    }

    /// The id of the ring's key that a short-lived body names, readable or not: for the log line
    /// of a body that does not open.
    #[must_use]
    pub fn key_id_of(sealed: &[u8]) -> Option<KeyId> {
        envelope::key_id(sealed)
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").field("ring", &self.ring).finish_non_exhaustive()
    }
}
