//! The three texts of RFC 7636 and RFC 6749 that must never be confused or printed.

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest as _, Sha256};

use crate::secret::{random_text, secret_text};

secret_text! {
    /// The `state` of an authorization request (RFC 6749 section 4.1.1): names the record, and is
    /// as good as it, until it was taken.
    OauthState
}

secret_text! {
    /// The code verifier (RFC 7636 section 4.1): whoever has it can redeem the code.
    PkceVerifier
}

/// The S256 code challenge (RFC 7636 section 4.2). Public: it travels in the authorize URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PkceChallenge(String);

/// Not a state that this library accepts. The text is not repeated: it came from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a state has 1 to 512 bytes of printable ASCII without spaces; this has {length} bytes{other}"
)]
pub struct InvalidState {
    length: usize,
    other: &'static str,
}

impl OauthState {
    /// A fresh state: 256 random bits, 43 characters.
    #[must_use]
    pub fn random() -> Self {
        Self::new(random_text())
    }

    /// Reads what a callback brought, in whatever bytes it came.
    ///
    /// # Errors
    ///
    /// [`InvalidState`] if it cannot be one: empty, over 512 bytes, or with other bytes.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, InvalidState> {
        let bytes = text.as_ref();
        let length = bytes.len();
        if !(1..=512).contains(&length) {
            return Err(InvalidState { length, other: "" });
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self::new(text)),
            _ => Err(InvalidState { length, other: ", some of another kind" }),
        }
    }
}

impl PkceVerifier {
    /// A fresh verifier: 256 random bits, 43 characters of the unreserved set.
    #[must_use]
    pub fn random() -> Self {
        Self::new(random_text())
    }

    /// Its S256 challenge.
    #[must_use]
    pub fn challenge(&self) -> PkceChallenge {
        PkceChallenge(Base64UrlUnpadded::encode_string(&Sha256::digest(self.secret())))
    }
}

impl PkceChallenge {
    /// The text, for the authorize URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_of_rfc_7636_appendix_b() {
        let verifier = PkceVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(verifier.challenge().as_str(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn secrets_are_long_different_and_never_printed() {
        let (one, two) = (OauthState::random(), OauthState::random());
        assert_eq!(one.secret().len(), 43);
        assert_ne!(one.secret(), two.secret());
        assert_eq!(format!("{one:?}"), "OauthState([redacted])");
        assert_eq!(format!("{:?}", PkceVerifier::random()), "PkceVerifier([redacted])");
    }

    #[test]
    fn hostile_states_are_refused_without_being_repeated() {
        let long = vec![b'a'; 513];
        for bad in [&b""[..], &long, b"a b", b"a\0b", b"\xff\xfe", "é".as_bytes(), b"a\r\nb"] {
            let error = OauthState::parse(bad).unwrap_err().to_string();
            assert!(error.contains("1 to 512"), "{error}");
        }
        assert!(OauthState::parse("{00}:*~!").is_ok());
    }
}
