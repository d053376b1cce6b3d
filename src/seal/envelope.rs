//! The bytes of a sealed body, and the two verbs on them.
//!
//! ```text
//! version 1 · key id 4 · commitment 16 · nonce 24 · tag 16 · ciphertext
//! version 2 · length 2 · wrapped data key · commitment 16 · nonce 24 · tag 16 · ciphertext
//! ```
//!
//! The commitment names the sub-key: Poly1305 alone would let one ciphertext open under two keys
//! (Len, Grubbs, Ristenpart: Partitioning Oracle Attacks, 2021), which matters with a ring.

use subtle::ConstantTimeEq;
use xsalsa20poly1305::{Key, KeyInit, Nonce, Tag, XSalsa20Poly1305, aead::AeadInPlace};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Binding, KeyId, SealError};
use crate::digest::{random_bytes, thread_bytes};

const UNDER_RING: u8 = 1;
const UNDER_DATA_KEY: u8 = 2;
const COMMITMENT: usize = 16;
const NONCE: usize = 24;
const TAG: usize = 16;

/// A random key for one secret, itself wrapped by a [`Sealer`](super::Sealer).
#[derive(ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

impl DataKey {
    /// A fresh one.
    #[must_use]
    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// From the 32 bytes that a key service gave back.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the key service that wraps them.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey([redacted])")
    }
}

/// Seals `parts`, joined, under a key of the ring.
pub(super) fn seal_ring(
    key: &[u8; 32],
    id: KeyId,
    binding: Binding<'_>,
    parts: &[&[u8]],
) -> Result<Vec<u8>, SealError> {
    let mut out = Vec::with_capacity(5 + COMMITMENT + NONCE + TAG + length(parts));
    out.push(UNDER_RING);
    out.extend_from_slice(id.as_bytes());
    seal_box(&sub_key(key, UNDER_RING, id.as_bytes(), binding), out, parts)
}

/// Opens a body of the ring's, whose key was found by [`key_id`].
pub(super) fn open_ring(
    key: &[u8; 32],
    id: KeyId,
    binding: Binding<'_>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let rest = sealed.get(5..).ok_or(SealError::Damaged)?;
    open_box(&sub_key(key, UNDER_RING, id.as_bytes(), binding), rest)
        .ok_or(SealError::DoesNotOpen(id))
}

/// The key of the ring that a body names.
pub(super) fn key_id(sealed: &[u8]) -> Option<KeyId> {
    match sealed.split_first()? {
        (&UNDER_RING, rest) => rest.first_chunk().copied().map(KeyId::from_bytes),
        (&UNDER_DATA_KEY, _) => key_id(wrapped_key(sealed).ok()?),
        _ => None,
    }
}

/// Seals under a data key, which travels in front, wrapped.
pub(super) fn seal_under(
    key: &DataKey,
    wrapped: &[u8],
    binding: Binding<'_>,
    plain: &[u8],
) -> Result<Vec<u8>, SealError> {
    let length = u16::try_from(wrapped.len())
        .map_err(|_| SealError::KeyService("a wrapped key is longer than 64 KiB".to_owned()))?;
    let mut out = Vec::with_capacity(3 + wrapped.len() + COMMITMENT + NONCE + TAG + plain.len());
    out.push(UNDER_DATA_KEY);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(wrapped);
    seal_box(&sub_key(&key.0, UNDER_DATA_KEY, &[], binding), out, &[plain])
}

/// The wrapped data key of a body.
pub(super) fn wrapped_key(sealed: &[u8]) -> Result<&[u8], SealError> {
    let [UNDER_DATA_KEY, low, high, rest @ ..] = sealed else { return Err(SealError::Damaged) };
    rest.get(..usize::from(u16::from_le_bytes([*low, *high]))).ok_or(SealError::Damaged)
}

/// Opens a body whose data key was unwrapped.
pub(super) fn open_under(
    key: &DataKey,
    binding: Binding<'_>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let wrapped = wrapped_key(sealed)?;
    let named = key_id(wrapped).unwrap_or(KeyId::NONE);
    open_box(&sub_key(&key.0, UNDER_DATA_KEY, &[], binding), &sealed[3 + wrapped.len()..])
        .ok_or(SealError::DoesNotOpen(named))
}

/// One key per record: the purpose, the place, the key's id and the format's version make it.
fn sub_key(key: &[u8; 32], version: u8, id: &[u8], binding: Binding<'_>) -> Zeroizing<[u8; 32]> {
    // Joined first: to set a hasher's state up costs more than to hash this.
    let mut joined = Vec::with_capacity(128);
    let version = [version];
    for part in [binding.purpose.as_bytes(), binding.prefix.as_bytes(), binding.name, id, &version]
    {
        joined.extend_from_slice(&(part.len() as u64).to_le_bytes());
        joined.extend_from_slice(part);
    }
    Zeroizing::new(*blake3::keyed_hash(key, &joined).as_bytes())
}

fn commitment(sub_key: &[u8; 32]) -> [u8; COMMITMENT] {
    let mut short = [0; COMMITMENT];
    short.copy_from_slice(&blake3::keyed_hash(sub_key, b"commitment").as_bytes()[..COMMITMENT]);
    short
}

/// Appends commitment, nonce, tag and ciphertext: encrypted in place, allocated once.
fn seal_box(sub_key: &[u8; 32], mut out: Vec<u8>, parts: &[&[u8]]) -> Result<Vec<u8>, SealError> {
    let nonce = thread_bytes::<NONCE>();
    out.extend_from_slice(&commitment(sub_key));
    out.extend_from_slice(&nonce);
    let tag_at = out.len();
    out.extend_from_slice(&[0; TAG]);
    let text_at = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    let cipher = XSalsa20Poly1305::new(Key::from_slice(sub_key));
    let tag = cipher
        .encrypt_in_place_detached(Nonce::from_slice(&nonce), b"", &mut out[text_at..])
        .map_err(|_| SealError::Damaged)?;
    out[tag_at..text_at].copy_from_slice(&tag);
    Ok(out)
}

fn open_box(sub_key: &[u8; 32], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (committed, rest) = sealed.split_first_chunk::<COMMITMENT>()?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
    let (tag, text) = rest.split_first_chunk::<TAG>()?;
    if !bool::from(committed.ct_eq(&commitment(sub_key))) {
        return None;
    }
    let mut plain = Zeroizing::new(text.to_vec());
    XSalsa20Poly1305::new(Key::from_slice(sub_key))
        .decrypt_in_place_detached(Nonce::from_slice(nonce), b"", &mut plain, Tag::from_slice(tag))
        .ok()?;
    Some(plain)
}

fn length(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}
