//! Digests: how a value becomes part of a name without appearing in it.
//!
//! Every name in Redis that stands for a user's value (a state, an owner, a refresh token) is a
//! fixed-width digest of length-prefixed parts, keyed by the [`NamingKey`]. Nobody can inject `{`,
//! `:` or a megabyte into a key, and a reader of Redis cannot test a guess.

use std::{fmt, sync::LazyLock};

use rand::Rng as _;
use zeroize::ZeroizeOnDrop;

/// The secret that names things: it makes shards and all index digests, and it never rotates.
///
/// Its check value sits in the meta key, and a process with another naming key refuses to start:
/// under a wrong one every record would seem absent.
#[derive(Clone, ZeroizeOnDrop)]
pub struct NamingKey([u8; 32]);

impl NamingKey {
    /// Takes 32 secret bytes, as `vestibule-worker keygen` makes them.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What the meta key stores to recognise this naming key; reveals nothing about it.
    #[must_use]
    pub fn check(&self) -> Digest {
        self.digest("naming-check", &[])
    }

    /// The digest of `parts` within `domain`: each part is length-prefixed, so that no two lists
    /// of parts share an encoding.
    #[must_use]
    pub(crate) fn digest(&self, domain: &'static str, parts: &[&[u8]]) -> Digest {
        Digest::of(&keyed(&self.0, domain, parts))
    }
}

impl fmt::Debug for NamingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamingKey([redacted])")
    }
}

/// The secret in the digests of temp tokens. Unlike the [`NamingKey`] it may rotate: see [`Peppers`].
#[derive(Clone, ZeroizeOnDrop)]
pub struct TokenPepper([u8; 32]);

impl TokenPepper {
    /// Takes 32 secret bytes, as `vestibule-worker keygen` makes them.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What names the record of a token with this text.
    pub(crate) fn digest(&self, text: &str) -> Digest {
        Digest::of(&keyed(&self.0, "token", &[text.as_bytes()]))
    }
}

impl fmt::Debug for TokenPepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenPepper([redacted])")
    }
}

/// The pepper that tokens are minted under, and another one whose tokens validate as well.
///
/// To rotate takes three roll-outs, so that replicas of neighbouring ones, which run side by side
/// for a while, accept and revoke each other's tokens:
///
/// 1. `[old, new]`: mints under the old one still, and knows the new one;
/// 2. `[new, old]`: mints under the new one, once every replica knows it;
/// 3. `[new]`: a minute after the longest token of the old one has expired.
#[derive(Debug, Clone)]
pub struct Peppers {
    /// Mints and validates.
    pub current: TokenPepper,
    /// Validates and revokes: the next one, or the one before.
    pub other: Option<TokenPepper>,
}

/// Sixteen bytes that stand for a value. Not a secret: it may be stored, printed and compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 16]);

impl Digest {
    /// All zero: the absence of a digest in a fixed slot.
    pub const NONE: Self = Self([0; 16]);

    /// The raw bytes, as a one-shot record's fixed slots hold them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads 16 raw bytes; `None` if there are not exactly 16.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads 32 lower-case hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 32 {
            return None;
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = (nibble(pair[0])? << 4) | nibble(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// 32 lower-case hexadecimal digits, as names and hash fields hold them.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.to_string()
    }

    fn of(hasher: &blake3::Hasher) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0_u8; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// One logical mutation: the same id at every retry layer gets the same answer for 60 s; another
/// id is somebody else.
///
/// The id is as good as the record that it took, so it is never stored or printed: records hold
/// its digest.
#[derive(Clone)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// A fresh id: 128 random bits.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness to give, in which case nothing here is safe.
    #[must_use]
    pub fn random() -> Self {
        Self(thread_bytes())
    }

    /// An id that a caller can make again for its own retry: derived from the *authenticated*
    /// caller and from what the caller calls its request (an `Idempotency-Key` header, say).
    ///
    /// Never derive it from the second alone: whoever knows the id of a take gets its record.
    #[must_use]
    pub fn derived(authenticated_caller: &str, request: &str) -> Self {
        let mut hasher = DERIVED.clone();
        absorb(&mut hasher, authenticated_caller.as_bytes());
        absorb(&mut hasher, request.as_bytes());
        Self(*Digest::of(&hasher).as_bytes())
    }

    /// What is stored of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = RECEIPT.clone();
        hasher.update(&self.0);
        Digest::of(&hasher)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestId([redacted])")
    }
}

/// `N` bytes from the generator of this thread: ChaCha12, seeded by the operating system, and again
/// every 64 KiB. For what each verb needs anew, a nonce or a request id: to ask the system each time
/// is a system call. Keys, states and other lasting secrets are [`random_bytes`]. A process that
/// forks must exec, as with any async runtime: the child would repeat what its parent draws.
pub(crate) fn thread_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// `N` bytes from the operating system.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "without randomness nothing here is safe to go on with"
    )]
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// Each part is length-prefixed, so that no two lists of parts share an encoding.
fn keyed(key: &[u8; 32], domain: &'static str, parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_keyed(key);
    absorb(&mut hasher, domain.as_bytes());
    for part in parts {
        absorb(&mut hasher, part);
    }
    hasher
}

/// The digest of a host's own name for something, without a key: the same for everybody, so a guess
/// can be tested against it. For names outside Redis only.
pub(crate) fn name_digest(name: &str) -> Digest {
    let mut hasher = NAME.clone();
    absorb(&mut hasher, name.as_bytes());
    Digest::of(&hasher)
}

/// Feeds one part, length first.
fn absorb(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

// `new_derive_key` hashes its context: done once, then cloned.
static RECEIPT: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("vestibule 2026-11 request receipt v1"));
static DERIVED: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("vestibule 2026-11 derived request id v1"));
static NAME: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("vestibule 2026-11 name of a host v1"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let key = NamingKey::new([7; 32]);
        assert_ne!(key.digest("d", &[b"ab", b"c"]), key.digest("d", &[b"a", b"bc"]));
        assert_ne!(key.digest("d", &[b"ab"]), key.digest("d", &[b"ab", b""]));
        assert_ne!(key.digest("d", &[b"x"]), key.digest("e", &[b"x"]));
        assert_ne!(key.digest("d", &[b"x"]), NamingKey::new([8; 32]).digest("d", &[b"x"]));
    }

    #[test]
    fn hex_goes_both_ways_and_refuses_the_rest() {
        let digest = NamingKey::new([7; 32]).check();
        assert_eq!(Digest::from_hex(&digest.to_hex()), Some(digest));
        assert_eq!(Digest::from_hex(&digest.to_hex().to_uppercase()), None);
        assert_eq!(Digest::from_hex("abc"), None);
        assert_eq!(Digest::from_hex(&"é".repeat(16)), None);
    }

    #[test]
    fn a_pepper_makes_its_own_names() {
        let (one, other) = (TokenPepper::new([7; 32]), TokenPepper::new([8; 32]));
        assert_ne!(one.digest("text"), other.digest("text"));
        assert_ne!(one.digest("text"), one.digest("texT"));
        assert_ne!(one.digest("text"), NamingKey::new([7; 32]).digest("other", &[b"text"]));
        assert_eq!(format!("{one:?}"), "TokenPepper([redacted])");
    }

    #[test]
    fn random_bytes_never_come_again() {
        let many = (0..10_000).map(|_| thread_bytes::<16>());
        let others = std::thread::spawn(|| (0..10_000).map(|_| thread_bytes()).collect::<Vec<_>>());
        let all: std::collections::HashSet<_> = many.chain(others.join().unwrap()).collect();
        assert_eq!(all.len(), 20_000);
    }

    #[test]
    fn a_request_id_is_never_printed() {
        let id = RequestId([0x5a; 16]);
        assert_eq!(format!("{id:?}"), "RequestId([redacted])");
        assert_ne!(id.digest().as_bytes(), &id.0);
    }
}
