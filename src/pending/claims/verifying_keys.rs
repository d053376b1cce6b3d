//! What the signatures of tokens are verified with.

use std::{fmt, sync::Arc};

use base64ct::{Base64, Encoding};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// One or more keys that verify tokens. Each verifies one algorithm only, which comes with the key
/// and never from a token: so a public RSA key cannot be mistaken for an HMAC secret
/// (RFC 8725 section 3.1). Clones share the keys.
///
/// Signatures are checked by `jsonwebtoken` on aws-lc. In a host whose other crates also enable its
/// `rust_crypto` feature, the host must choose with `jsonwebtoken`'s `install_default`, as that
/// crate demands.
#[derive(Clone)]
pub struct VerifyingKeys(Arc<[VerifyingKey]>);

impl VerifyingKeys {
    /// The keys of a JWK set (RFC 7517), as an issuer publishes it under its `jwks_uri`.
    ///
    /// Skipped, with a debug event each: what is not a public key for signatures (`use`,
    /// `key_ops`), of an algorithm that is none of [`JwtAlgorithm`], an RSA key below 2048 bits, and
    /// symmetric keys, which have no place in what is published. An RSA key without `alg` verifies
    /// RS256; the others have but one algorithm.
    ///
    /// # Errors
    ///
    /// [`VerifyingKeysError`] if it is not such a set, has no usable key, or more than 64.
    pub fn from_jwks(text: &str) -> Result<Self, VerifyingKeysError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_str(text).map_err(|_| VerifyingKeysError::Jwks)?;
        let found = set.keys.len();
        if found > MOST {
            return Err(VerifyingKeysError::TooMany { found });
        }
        let usable = set.keys.into_iter().enumerate().filter_map(|(index, entry)| {
            let usable = VerifyingKey::from_jwk(entry);
            if usable.is_none() {
                tracing::debug!(index, "an entry of the JWK set is of no use here: skipped");
            }
            usable
        });
        let usable: Arc<[_]> = usable.collect();
        if usable.is_empty() {
            Err(VerifyingKeysError::NoneUsable { found })
        } else {
            Ok(Self(usable))
        }
    }

    /// One public key in PEM (`-----BEGIN PUBLIC KEY-----`, as `openssl pkey -pubout` writes it).
    ///
    /// # Errors
    ///
    /// [`VerifyingKeysError::Public`] if it is not a key of this algorithm.
    pub fn from_pem(text: &str, algorithm: JwtAlgorithm) -> Result<Self, VerifyingKeysError> {
        const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
        const END: &str = "-----END PUBLIC KEY-----";
        let inside = text.trim().strip_prefix(BEGIN).and_then(|text| text.strip_suffix(END));
        let base64: String = inside.unwrap_or_default().split_ascii_whitespace().collect();
        let der = Base64::decode_vec(&base64);
        Self::from_der(&der.unwrap_or_default(), algorithm)
    }

    /// One public key in DER: a `SubjectPublicKeyInfo` (RFC 5280 section 4.1), what a PEM of a
    /// public key has inside.
    ///
    /// # Errors
    ///
    /// [`VerifyingKeysError::Public`] if it is not a key of this algorithm.
    pub fn from_der(der: &[u8], algorithm: JwtAlgorithm) -> Result<Self, VerifyingKeysError> {
        let pinned = algorithm.pinned();
        let public = match pinned {
            Algorithm::ES256 => der.strip_prefix(&P256).map(DecodingKey::from_ec_der),
            Algorithm::ES384 => der.strip_prefix(&P384).map(DecodingKey::from_ec_der),
            Algorithm::EdDSA => der.strip_prefix(&ED25519).map(DecodingKey::from_ed_der),
            _ if pinned.family() == AlgorithmFamily::Rsa => Some(DecodingKey::from_rsa_der(der)),
            _ => None,
        };
        public
            .and_then(|public| VerifyingKey::checked(None, pinned, public))
            .map(Self::one)
            .ok_or(VerifyingKeysError::Public { algorithm })
    }

    /// One secret shared with the issuer, for HS256, HS384 or HS512.
    ///
    /// # Errors
    ///
    /// [`VerifyingKeysError::Secret`] for another algorithm, or a secret that is shorter than the
    /// algorithm's hash (RFC 7518 section 3.2).
    pub fn from_secret(secret: &[u8], algorithm: JwtAlgorithm) -> Result<Self, VerifyingKeysError> {
        let shortest = match algorithm {
            JwtAlgorithm::Hs256 => 32,
            JwtAlgorithm::Hs384 => 48,
            JwtAlgorithm::Hs512 => 64,
            _ => usize::MAX,
        };
        if secret.len() < shortest {
            return Err(VerifyingKeysError::Secret { algorithm, length: secret.len() });
        }
        let with = DecodingKey::from_secret(secret);
        Ok(Self::one(VerifyingKey { kid: None, algorithm: algorithm.pinned(), with }))
    }

    /// Those that a token with this header can be meant for. A token or a key without a name fits
    /// any.
    pub(super) fn candidates(&self, header: &Header) -> impl Iterator<Item = &VerifyingKey> {
        self.0.iter().filter(move |key| {
            let named_otherwise = matches!((&key.kid, &header.kid), (Some(a), Some(b)) if a != b);
            key.algorithm == header.alg && !named_otherwise
        })
    }

    fn one(key: VerifyingKey) -> Self {
        Self(Arc::new([key]))
    }
}

/// How many.
impl fmt::Debug for VerifyingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKeys({})", self.0.len())
    }
}

/// A key, the one algorithm that it verifies, and its name in the set.
pub(super) struct VerifyingKey {
    kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) with: DecodingKey,
}

impl VerifyingKey {
    /// `None` if it is of no use here.
    fn from_jwk(entry: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(entry).ok()?;
        let common = &jwk.common;
        let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let verifies = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let algorithm = match (common.key_algorithm, &jwk.algorithm) {
            (Some(stated), _) => Algorithm::try_from(stated).ok()?,
            (None, AlgorithmParameters::RSA(_)) => Algorithm::RS256,
            (None, AlgorithmParameters::EllipticCurve(ec)) => algorithm_of(&ec.curve)?,
            (None, AlgorithmParameters::OctetKeyPair(_)) => Algorithm::EdDSA,
            (None, _) => return None,
        };
        let public = DecodingKey::from_jwk(&jwk).ok()?;
        let kid = jwk.common.key_id.clone();
        (signs && verifies).then(|| Self::checked(kid, algorithm, public))?
    }

    /// `None` unless it is a public key of the algorithm.
    fn checked(kid: Option<String>, algorithm: Algorithm, with: DecodingKey) -> Option<Self> {
        let fits = match Jwk::from_decoding_key(&with, None).ok()?.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                algorithm.family() == AlgorithmFamily::Rsa && rsa.n.len() >= SHORTEST_MODULUS
            }
            AlgorithmParameters::EllipticCurve(ec) => algorithm_of(&ec.curve) == Some(algorithm),
            AlgorithmParameters::OctetKeyPair(_) => algorithm == Algorithm::EdDSA,
            _ => false,
        };
        fits.then_some(Self { kid, algorithm, with })
    }
}

fn algorithm_of(curve: &EllipticCurve) -> Option<Algorithm> {
    match curve {
        EllipticCurve::P256 => Some(Algorithm::ES256),
        EllipticCurve::P384 => Some(Algorithm::ES384),
        _ => None,
    }
}

/// The algorithms that a token may be signed with (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "they are named by the RFCs")]
pub enum JwtAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl JwtAlgorithm {
    fn pinned(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Hs384 => Algorithm::HS384,
            Self::Hs512 => Algorithm::HS512,
            Self::Rs256 => Algorithm::RS256,
            Self::Rs384 => Algorithm::RS384,
            Self::Rs512 => Algorithm::RS512,
            Self::Ps256 => Algorithm::PS256,
            Self::Ps384 => Algorithm::PS384,
            Self::Ps512 => Algorithm::PS512,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// Why keys cannot be used. Never repeats any of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyingKeysError {
    /// It is not a JWK set.
    #[error("not a JWK set: that is a JSON object with an array `keys`")]
    Jwks,
    /// More than are ever tried for one token.
    #[error("the JWK set has {found} keys; at most {MOST} are accepted")]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// None of the set verifies signatures of an algorithm known here.
    #[error("none of the {found} keys of the JWK set verifies signatures; debug events say which")]
    NoneUsable {
        /// How many there are.
        found: usize,
    },
    /// It is not a public key of the algorithm.
    #[error(
        "not a public key for {algorithm:?}: give one of that algorithm's type, as `openssl pkey \
         -pubout` writes it (RSA from 2048 bits), and a secret to `from_secret`"
    )]
    Public {
        /// Which algorithm was asked for.
        algorithm: JwtAlgorithm,
    },
    /// It is not a secret for the algorithm.
    #[error(
        "a secret of {length} bytes is none for {algorithm:?}: HS256, HS384 and HS512 take secrets, \
         of 32, 48 and 64 bytes at the least"
    )]
    Secret {
        /// Which algorithm was asked for.
        algorithm: JwtAlgorithm,
        /// How long the secret is, in bytes.
        length: usize,
    },
}

/// So a token without a `kid` costs at most that many signatures: with RSA, 2 ms.
const MOST: usize = 64;
/// 2048 bits as base64url characters.
const SHORTEST_MODULUS: usize = 342;

// What a `SubjectPublicKeyInfo` of these has before the key itself (RFC 5480, RFC 8410): constant,
// as none has a parameter left to choose.
const P256: [u8; 26] = *b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384: [u8; 23] =
    *b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const ED25519: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
