//! The key ring: one primary key seals, retired keys only open.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Binding, DataKey, SealError, Sealer, envelope};

/// Names a sealing key: four bytes derived from the key itself, so that a name cannot be mistaken
/// or reused. Not a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// Of what no key sealed.
    pub const NONE: Self = Self([0; 4]);

    /// Its number, by which stores find what it sealed.
    #[must_use]
    pub const fn number(self) -> u32 {
        u32::from_be_bytes(self.0)
    }

    /// The key of a [number](Self::number).
    #[must_use]
    pub const fn of_number(number: u32) -> Self {
        Self(number.to_be_bytes())
    }

    /// From the name that a sealer gives its key: a ring's is the id itself.
    pub(super) fn named(name: &str) -> Self {
        let digits = name.len() == 8 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let id = digits.then(|| u32::from_str_radix(name, 16).ok()).flatten();
        id.map_or_else(
            || {
                let [a, b, c, d, ..] = *blake3::hash(name.as_bytes()).as_bytes();
                Self([a, b, c, d])
            },
            |number| Self(number.to_be_bytes()),
        )
    }

    pub(super) fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.number())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A key that seals: what is used is derived from the 32 bytes given.
#[derive(Clone, ZeroizeOnDrop)]
pub struct SealingKey {
    derived: [u8; 32],
    #[zeroize(skip)]
    id: KeyId,
}

impl SealingKey {
    /// Takes 32 secret bytes, as `vestibule-worker keygen` makes them.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        let derived = blake3::derive_key("vestibule 2026-11 seal v1", &*bytes);
        let name = blake3::derive_key("vestibule 2026-11 key id v1", &*bytes);
        Self { derived, id: KeyId([name[0], name[1], name[2], name[3]]) }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({}, [redacted])", self.id)
    }
}

/// The keys that seal and open. Cheap to clone.
#[derive(Clone)]
pub struct KeyRing {
    /// The primary first.
    keys: Arc<[SealingKey]>,
}

/// Why keys do not make a ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// None at all.
    #[error("a key ring needs at least one key")]
    Empty,
    /// Two of one name: the same key twice.
    #[error("key {0} is in the key ring twice")]
    Twice(KeyId),
}

impl KeyRing {
    /// A ring whose first key is the primary; the others are retired and only open.
    ///
    /// # Errors
    ///
    /// [`KeyRingError`] if there is none, or one is there twice.
    pub fn new(keys: Vec<SealingKey>) -> Result<Self, KeyRingError> {
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        for (at, key) in keys.iter().enumerate() {
            if keys[..at].iter().any(|earlier| earlier.id == key.id) {
                return Err(KeyRingError::Twice(key.id));
            }
        }
        Ok(Self { keys: keys.into() })
    }

    /// A ring of one key.
    #[must_use]
    pub fn of_one(key: SealingKey) -> Self {
        Self { keys: Arc::new([key]) }
    }

    /// The names of its keys, the primary first.
    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.keys.iter().map(SealingKey::id)
    }

    /// Seals `parts`, joined, under the primary.
    pub(super) fn seal(&self, binding: Binding<'_>, parts: &[&[u8]]) -> Result<Vec<u8>, SealError> {
        let primary = &self.keys[0];
        envelope::seal_ring(&primary.derived, primary.id, binding, parts)
    }

    /// Opens under whichever key the body names.
    pub(super) fn open(
        &self,
        binding: Binding<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let id = envelope::key_id(sealed).ok_or(SealError::Damaged)?;
        let key = self.keys.iter().find(|key| key.id == id).ok_or(SealError::UnknownKey(id))?;
        envelope::open_ring(&key.derived, id, binding, sealed)
    }
}

#[async_trait]
impl Sealer for KeyRing {
    fn key_id(&self) -> String {
        self.keys[0].id.to_string()
    }

    async fn wrap(&self, key: &DataKey, binding: Binding<'_>) -> Result<Vec<u8>, SealError> {
        self.seal(Binding { purpose: "data-key", ..binding }, &[key.secret()])
    }

    async fn unwrap(&self, wrapped: &[u8], binding: Binding<'_>) -> Result<DataKey, SealError> {
        let plain = self.open(Binding { purpose: "data-key", ..binding }, wrapped)?;
        let bytes: [u8; 32] = plain.as_slice().try_into().map_err(|_| SealError::Damaged)?;
        Ok(DataKey::from_bytes(bytes))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| key.id)).finish()
    }
}
