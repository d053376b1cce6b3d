use std::fmt;

/// One of 256 fixed shards. Its two hexadecimal digits are the hash tag of every key in it, so
/// that a record and its indexes share a slot on a Cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    /// How many there are. Part of the layout: it never changes.
    pub const COUNT: usize = 256;

    /// The shard with this number.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Reads the two lower-case hexadecimal digits that an id begins with.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        let lower = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (digits.len() == 2 && lower).then(|| u8::from_str_radix(digits, 16).ok().map(Self))?
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lower_case_digits_and_nothing_else() {
        assert!(Shard::all().all(|shard| Shard::from_hex(&shard.to_string()) == Some(shard)));
        for bad in ["", "a", "AB", "abc", "+f", " 1", "é"] {
            assert_eq!(Shard::from_hex(bad), None, "{bad}");
        }
    }
}
