//! A key file whose ring is changed: what else is in it stays as it is, comments too.

use std::{fmt, ops::Range};

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Keys, KeysError, secret};
use crate::{
    digest::random_bytes,
    seal::{KeyId, KeyInUse, SealingKey},
};

/// The text of a key file, to change its ring. It is a secret as a whole.
///
/// A new key is rolled out in two steps: [added](Self::add), every process opens with it and none
/// seals with it; once all of them have that file it is [promoted](Self::promote). A key that nothing
/// is sealed by any more is [taken away](Self::remove).
///
/// ```
/// # use vestibule::{KeyFile, Keys};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut file = KeyFile::parse(&Keys::generate_toml())?;
/// let added = file.add();
/// file.promote(added)?;
/// assert_eq!(Keys::from_toml(&file.to_toml())?.ring.key_ids().next(), Some(added));
/// # Ok(()) }
/// ```
pub struct KeyFile {
    text: Zeroizing<String>,
    /// Where the ring's list is in it.
    list: Range<usize>,
    ring: Vec<(KeyId, Zeroizing<String>)>,
}

#[derive(Deserialize)]
struct Ring {
    ring: toml::Spanned<Vec<String>>,
}

impl KeyFile {
    /// Takes the text of a key file.
    ///
    /// # Errors
    ///
    /// As [`Keys::from_toml`].
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        Keys::from_toml(text)?;
        let form = |_| KeysError::Form { at: String::new() };
        let Ring { ring } = toml::from_str(text).map_err(form)?;
        let list = ring.span();
        let name = |value: String| {
            let value = Zeroizing::new(value);
            Ok((SealingKey::new(secret("ring", &value)?).id(), value))
        };
        let ring = ring.into_inner().into_iter().map(name).collect::<Result<_, KeysError>>()?;
        Ok(Self { text: Zeroizing::new(text.to_owned()), list, ring })
    }

    /// The keys of the ring, the one that seals first.
    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.ring.iter().map(|(id, _)| *id)
    }

    /// Adds a fresh key behind the first: it opens, and seals nothing yet.
    pub fn add(&mut self) -> KeyId {
        let bytes = Zeroizing::new(random_bytes::<32>());
        let id = SealingKey::new(*bytes).id();
        self.ring.insert(1, (id, Zeroizing::new(Base64::encode_string(&*bytes))));
        id
    }

    /// Puts a key in front: it seals from now on, the others only open.
    ///
    /// # Errors
    ///
    /// [`KeyInUse::NotThere`].
    pub fn promote(&mut self, key: KeyId) -> Result<(), KeyInUse> {
        let at = self.at(key)?;
        self.ring[..=at].rotate_right(1);
        Ok(())
    }

    /// Takes a key away. What it sealed opens nowhere after that: see
    /// [`KeyUsage::may_retire`](crate::seal::KeyUsage::may_retire).
    ///
    /// # Errors
    ///
    /// [`KeyInUse::NotThere`], or [`KeyInUse::Primary`] of the one that seals.
    pub fn remove(&mut self, key: KeyId) -> Result<(), KeyInUse> {
        match self.at(key)? {
            0 => Err(KeyInUse::Primary(key)),
            at => {
                self.ring.remove(at);
                Ok(())
            }
        }
    }

    fn at(&self, key: KeyId) -> Result<usize, KeyInUse> {
        self.key_ids().position(|id| id == key).ok_or(KeyInUse::NotThere(key))
    }

    /// The text with the ring as it is now, each key with its name beside it.
    #[must_use]
    pub fn to_toml(&self) -> Zeroizing<String> {
        let (before, behind) = (&self.text[..self.list.start], &self.text[self.list.end..]);
        // Made at once: what a growing string leaves behind is not wiped.
        let length = self.text.len() + 80 * (self.ring.len() + 1);
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.push_str(before);
        text.push_str("[\n");
        for (at, (id, value)) in self.ring.iter().enumerate() {
            let does = if at == 0 { "seals" } else { "only opens" };
            for part in ["    \"", value.as_str(), "\", # ", &id.to_string(), ": ", does, "\n"] {
                text.push_str(part);
            }
        }
        text.push(']');
        text.push_str(behind);
        text
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.key_ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<KeyId> {
        Keys::from_toml(text).unwrap().ring.key_ids().collect()
    }

    /// X-9: a ring is rotated in its file; all else in it stays.
    #[test]
    fn a_ring_is_rotated_in_its_file() {
        let first = Keys::generate_toml();
        let mut file = KeyFile::parse(&first).unwrap();
        let old = ids(&first)[0];
        let new = file.add();
        assert_eq!(ids(&file.to_toml()), [old, new], "it opens, and seals nothing");
        assert_eq!(file.remove(old), Err(KeyInUse::Primary(old)));
        file.promote(new).unwrap();
        let mut file = KeyFile::parse(&file.to_toml()).unwrap();
        let third = file.add();
        assert_eq!(ids(&file.to_toml()), [new, third, old]);
        file.promote(old).unwrap();
        assert_eq!(ids(&file.to_toml()), [old, new, third]);
        for key in [new, third] {
            file.remove(key).unwrap();
            assert_eq!(file.remove(key), Err(KeyInUse::NotThere(key)));
        }
        let last = file.to_toml();
        assert_eq!(ids(&last), [old]);
        let (was, is) = (Keys::from_toml(&first).unwrap(), Keys::from_toml(&last).unwrap());
        assert_eq!(was.naming.check(), is.naming.check());
        let before = first.find("ring = ").unwrap();
        assert_eq!(first[..before], last[..before]);
        assert!(last.contains(&format!("# {old}: seals")));
    }

    #[test]
    fn a_ring_is_found_wherever_it_is() {
        let text = Keys::generate_toml();
        let at = text.find("ring = ").unwrap();
        let (rest, ring) = (&text[..at], text[at..].trim_end());
        let moved = format!("{ring} # mine\n{rest}# the end\n");
        let mut file = KeyFile::parse(&moved).unwrap();
        file.add();
        let changed = file.to_toml();
        assert_eq!(ids(&changed).len(), 2);
        assert!(changed.contains("] # mine\n") && changed.ends_with("# the end\n"));
        assert!(KeyFile::parse("ring = []").is_err());
        assert!(!format!("{file:?}").contains(file.ring[0].1.as_str()));
    }
}
