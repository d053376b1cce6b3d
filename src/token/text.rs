//! The text of a token: `vtt_`, the digest of its scope and resource, and 32 unguessable bytes.
//!
//! The whole text makes the digest that names the record, so no part can be exchanged. The prefix
//! is for scanners of leaked secrets: `vtt_[0-9a-f]{32}[A-Za-z0-9_-]{43}`.

use base64ct::{Base64UrlUnpadded, Encoding};
use zeroize::Zeroizing;

use crate::{digest::Digest, secret::secret_text};

secret_text! {
    /// A temp token: whoever has it may do what its scope allows. Text of 79 characters that are safe
    /// in a URL; put it into the fragment, which no log and no `Referer` has.
    TempToken
}

const PREFIX: &str = "vtt_";
const LENGTH: usize = 79;

impl TempToken {
    /// The text of these bytes, in the index of its scope and resource.
    pub(super) fn of(index: Digest, bytes: &[u8; 32]) -> Self {
        // As long as it gets: growing would leave a copy behind that nobody wipes.
        let mut text = String::with_capacity(LENGTH);
        let mut encoded = Zeroizing::new([0_u8; 43]);
        text.push_str(PREFIX);
        text.push_str(&index.to_hex());
        text.push_str(Base64UrlUnpadded::encode(bytes, &mut *encoded).unwrap_or_default());
        Self(text)
    }
}

/// The index that a text belongs to; `None` if this is not a token's. Looks at no more than a
/// token's length, and copies nothing.
pub(super) fn index_of(text: &str) -> Option<Digest> {
    if text.len() != LENGTH {
        return None;
    }
    let (index, encoded) = text.strip_prefix(PREFIX)?.split_at_checked(32)?;
    let mut bytes = Zeroizing::new([0_u8; 32]);
    Base64UrlUnpadded::decode(encoded, &mut *bytes).ok()?;
    Digest::from_hex(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_back_and_nothing_else_is() {
        let index = Digest::from_bytes(&[0xc3; 16]).unwrap();
        let minted = TempToken::of(index, &[0xff; 32]);
        let text = minted.secret();
        assert_eq!(text.len(), LENGTH);
        assert!(text.starts_with("vtt_c3c3"), "{text}");
        assert_eq!(index_of(text), Some(index));
        assert_eq!(format!("{minted:?}"), "TempToken([redacted])");
        for bad in [
            String::new(),
            "vtt_".to_owned(),
            text[..LENGTH - 1].to_owned(),
            format!("{text}A"),
            format!(" {}", &text[..LENGTH - 1]),
            text.replace("vtt_", "VTT_"),
            text.replace("vtt_", "ghp_"),
            text.replace("c3", "C3"),
            text.replacen("c3", "g3", 1),
            text.replacen('_', "+", 2),
            format!("{}=", &text[..LENGTH - 1]),
            // Bits that 32 bytes do not have.
            format!("{}_", &text[..LENGTH - 1]),
            format!("{}é", &text[..LENGTH - 2]),
            format!("{}é{}", &text[..35], &text[37..]),
            format!("{}\0", &text[..LENGTH - 1]),
            "x".repeat(1 << 20),
        ] {
            assert_eq!(index_of(&bad), None, "{}", &bad[..bad.len().min(99)]);
        }
    }
}
