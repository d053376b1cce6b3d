//! The key file: everything secret that a process needs, in one file.
//!
//! ```toml
//! naming_key = "…"            # names records; never rotates
//! token_pepper = ["…"]        # the first mints temp tokens, a second one validates too
//! ring = ["…"]                # the first seals, the others only open
//! ```
//!
//! Each value is 32 bytes in base64. `vestibule-worker keygen` makes such a file.

mod edit;

use std::path::Path;

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use self::edit::KeyFile;
use crate::{
    digest::{NamingKey, Peppers, TokenPepper, random_bytes},
    seal::{KeyRing, KeyRingError, SealingKey},
};

/// What a key file holds.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Names records.
    pub naming: NamingKey,
    /// Make the digests of temp tokens.
    pub peppers: Peppers,
    /// Seals records.
    pub ring: KeyRing,
}

/// Why a key file cannot be used. Never repeats any of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file cannot be read.
    #[error(
        "the key file {path} cannot be read: {source}; make one with `vestibule-worker keygen`"
    )]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or an entry is missing, unknown or of another type.
    #[error(
        "the key material is not of the expected form{at}; \
         it has naming_key, token_pepper and ring, as `vestibule-worker keygen` writes them"
    )]
    Form {
        /// Where: ` (line N)`, or empty.
        at: String,
    },
    /// A value is not 32 bytes in base64.
    #[error("{entry} in the key material is not 32 bytes in base64")]
    Value {
        /// Which entry.
        entry: &'static str,
    },
    /// A list has too few or too many values.
    #[error("{entry} in the key material needs {wants}")]
    Count {
        /// Which entry.
        entry: &'static str,
        /// How many it may have.
        wants: &'static str,
    },
    /// It is another database's, or was changed.
    #[error(
        "naming_key is another one than is in use: it names every record and never changes; put the \
         old one back"
    )]
    Naming,
    /// The ring's keys do not make a ring.
    #[error(transparent)]
    Ring(#[from] KeyRingError),
}

impl Keys {
    /// Reads the text of a key file.
    pub fn from_toml(text: &str) -> Result<Self, KeysError> {
        let file: Entries = toml::from_str(text).map_err(|error| KeysError::Form {
            at: error.span().map_or_else(String::new, |span| {
                let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
                format!(" (line {line})")
            }),
        })?;
        let pepper = |text: &String| secret("token_pepper", text).map(TokenPepper::new);
        let peppers = match file.token_pepper.as_slice() {
            [current] => Peppers { current: pepper(current)?, other: None },
            [current, other] => Peppers { current: pepper(current)?, other: Some(pepper(other)?) },
            _ => {
                return Err(KeysError::Count { entry: "token_pepper", wants: "one or two values" });
            }
        };
        let keys = file
            .ring
            .iter()
            .map(|text| secret("ring", text).map(SealingKey::new))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            naming: NamingKey::new(secret("naming_key", &file.naming_key)?),
            peppers,
            ring: KeyRing::new(keys)?,
        })
    }

    /// Reads a key file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeysError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| KeysError::File { path: path.display().to_string(), source })?;
        Self::from_toml(&Zeroizing::new(text))
    }

    /// Fresh random keys, for tests and for [`Vestibule::in_memory`](crate::Vestibule::in_memory).
    #[must_use]
    pub fn random() -> Self {
        let ring = KeyRing::of_one(SealingKey::new(random_bytes()));
        Self {
            naming: NamingKey::new(random_bytes()),
            peppers: Peppers { current: TokenPepper::new(random_bytes()), other: None },
            ring,
        }
    }

    /// The text of a new key file with fresh random keys. It is a secret as a whole.
    #[must_use]
    pub fn generate_toml() -> Zeroizing<String> {
        let fresh =
            || Zeroizing::new(Base64::encode_string(&*Zeroizing::new(random_bytes::<32>())));
        Zeroizing::new(format!(
            "# vestibule key file. Whoever reads it can open every record: keep it as you keep a\n\
             # password, give every replica and worker the same one, and keep a copy: without it\n\
             # nothing opens.\n\n\
             # Names records. Never change it.\n\
             naming_key = \"{}\"\n\n\
             # Makes the digests of temp tokens; the first mints, a second one validates too. To\n\
             # rotate, roll out three times to every replica: [old, new], then [new, old], then\n\
             # [new] once the longest token and a minute have passed.\n\
             token_pepper = [\"{}\"]\n\n\
             # Seals records: the first one does, the others only open. To rotate, see\n\
             # `vestibule-worker keys rotate`.\n\
             ring = [\"{}\"]\n",
            *fresh(),
            *fresh(),
            *fresh()
        ))
    }
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Entries {
    naming_key: String,
    token_pepper: Vec<String>,
    ring: Vec<String>,
}

fn secret(entry: &'static str, text: &str) -> Result<[u8; 32], KeysError> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    match Base64::decode(text, &mut *bytes) {
        Ok(decoded) if decoded.len() == 32 => Ok(*bytes),
        _ => Err(KeysError::Value { entry }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_file_is_read_back() {
        let text = Keys::generate_toml();
        let (one, two) = (Keys::from_toml(&text).unwrap(), Keys::from_toml(&text).unwrap());
        assert_eq!(one.naming.check(), two.naming.check());
        assert_ne!(one.naming.check(), Keys::random().naming.check());
    }

    #[test]
    fn what_is_wrong_is_named_and_no_value_is_repeated() {
        let good = Keys::generate_toml();
        let ring = |value: &str| {
            let at = good.find("ring = ").unwrap();
            format!("{}ring = {value}\n", &good[..at])
        };
        for (bad, says) in [
            (String::new(), "naming_key, token_pepper and ring"),
            ("naming_key = 5".to_owned(), "line 1"),
            (format!("{}hunter2 = 1", *good), "expected form"),
            (ring("[\"hunter2\"]"), "ring in the key material is not 32 bytes"),
            (ring("[]"), "at least one key"),
            (ring(&format!("[\"{0}\", \"{0}\"]", "A".repeat(43) + "=")), "twice"),
            (good.replace("token_pepper = [", "token_pepper = [] #"), "one or two"),
        ] {
            let error = Keys::from_toml(&bad).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(Keys::from_file("/nowhere/keys.toml").unwrap_err().to_string().contains("keygen"));
    }
}
