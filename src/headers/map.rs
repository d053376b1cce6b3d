//! The headers themselves.

use crate::secret::secret_text;

/// How many there may be.
const MOST: usize = 64;
/// How many bytes all names and values may have together.
const LONGEST: usize = 16 * 1024;
/// What frames a message or belongs to one connection: whoever could set these could smuggle
/// requests of his own into the host's (RFC 9110 section 7.6.1, RFC 9112 section 6).
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

secret_text! {
    /// The value of a header.
    HeaderText
}

/// Headers that can be sent as they are: at most 64, of 16 KiB together, each name once. Names are
/// tokens, values are visible ASCII characters, spaces and tabs (RFC 9110 section 5).
#[derive(Clone, Default)]
pub struct Headers(Vec<(String, HeaderText)>);

impl Headers {
    /// Checks names and values; they are kept in this order, and spelled as they are. None at all is
    /// fine.
    ///
    /// # Errors
    ///
    /// [`InvalidHeaders`], which repeats no value.
    pub fn new<N: Into<String>, V: Into<String>>(
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, InvalidHeaders> {
        let mut all = Self::default();
        for (name, value) in headers {
            all.add(name.into(), HeaderText::new(value))?;
        }
        Ok(all)
    }

    /// The names and values, for the one place that sends them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderText)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The value of a header, whose name is compared without its case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&HeaderText> {
        self.0.iter().find(|header| header.0.eq_ignore_ascii_case(name)).map(|header| &header.1)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, name: String, value: HeaderText) -> Result<(), InvalidHeaders> {
        let at = self.0.len();
        if at == MOST {
            return Err(InvalidHeaders::TooMany);
        }
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(InvalidHeaders::Name { at });
        }
        if FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
            return Err(InvalidHeaders::Framing { name: name.to_ascii_lowercase() });
        }
        if self.get(&name).is_some() {
            return Err(InvalidHeaders::Twice { at });
        }
        let text = value.secret();
        if !text.bytes().all(is_visible) || text.trim_matches([' ', '\t']) != text {
            return Err(InvalidHeaders::Value { at });
        }
        let so_far: usize =
            self.0.iter().map(|(name, value)| name.len() + value.secret().len()).sum();
        if so_far + name.len() + text.len() > LONGEST {
            return Err(InvalidHeaders::TooLong);
        }
        self.0.push((name, value));
        Ok(())
    }
}

/// For the field of what is sealed: pairs of name and value.
pub(super) mod in_sealed {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{HeaderText, Headers};
    use crate::secret;

    #[derive(Deserialize)]
    struct Pair(String, #[serde(with = "secret::in_sealed")] HeaderText);

    pub(in super::super) fn serialize<S: Serializer>(
        headers: &Headers,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(headers.iter().map(|(name, value)| (name, value.secret())))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Headers, D::Error> {
        let mut all = Headers::default();
        for Pair(name, value) in Vec::<Pair>::deserialize(from)? {
            all.add(name, value).map_err(D::Error::custom)?;
        }
        Ok(all)
    }
}

/// Not even the names: they may say what somebody uses.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Headers({}, [redacted])", self.0.len())
    }
}

/// Headers that no HTTP client would send, or that nobody but it may set. Counted from 0; no value
/// is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHeaders {
    /// A name is not a token.
    #[error("the name of header {at} is not a token (RFC 9110 section 5.6.2)")]
    Name {
        /// Which.
        at: usize,
    },
    /// A value has other characters, or begins or ends with white space.
    #[error(
        "the value of header {at} has other than visible ASCII characters, spaces and tabs, or \
         begins or ends with one of these"
    )]
    Value {
        /// Which.
        at: usize,
    },
    /// It frames a message, which is for the HTTP client to say.
    #[error("header {name} frames the message: it cannot be set")]
    Framing {
        /// Its name, in lower case.
        name: String,
    },
    /// A name comes twice.
    #[error("the name of header {at} was there before")]
    Twice {
        /// Which.
        at: usize,
    },
    /// Too many of them.
    #[error("at most {MOST} headers are accepted")]
    TooMany,
    /// Too much of them.
    #[error("all names and values may have {LONGEST} bytes together")]
    TooLong,
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn is_visible(b: u8) -> bool {
    b.is_ascii_graphic() || b == b' ' || b == b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<Headers, InvalidHeaders> {
        Headers::new([(name, value)])
    }

    /// What goes over the wire as it is, and keeps its spelling.
    #[test]
    fn what_a_client_would_send_is_accepted() {
        for (name, value) in [
            ("Authorization", "Bearer abc"),
            ("x-api-key", ""),
            ("X_Odd!#$%&'*+.^`|~", "a\tb c"),
            ("Cookie", "a=\"b\"; c=d"),
        ] {
            let headers = one(name, value).unwrap();
            assert_eq!(headers.get(&name.to_lowercase()).unwrap().secret(), value);
            assert_eq!(headers.iter().next().unwrap().0, name);
            assert_eq!(format!("{headers:?}"), "Headers(1, [redacted])");
        }
        assert!(Headers::new::<String, String>([]).unwrap().is_empty());
    }

    /// CR, LF, NUL and all that splits or bends a message.
    #[test]
    fn what_no_client_would_send_is_refused() {
        for name in ["", " ", "a b", "a:", "a\r\nb", "a\n", "a\0", "é", "(a)", "a/b", "\u{7f}"] {
            assert_eq!(one(name, "x").unwrap_err(), InvalidHeaders::Name { at: 0 }, "{name:?}");
        }
        for value in
            ["a\r\nX-Evil: 1", "a\n", "\r", "a\0b", "é", "\u{7f}", " a", "a ", "\ta", "\u{1}"]
        {
            assert_eq!(one("a", value).unwrap_err(), InvalidHeaders::Value { at: 0 }, "{value:?}");
        }
        for name in ["Host", "content-LENGTH", "Transfer-Encoding", "connection", "TE", "upgrade"] {
            let error = one(name, "x").unwrap_err();
            assert!(matches!(error, InvalidHeaders::Framing { .. }), "{name}: {error}");
        }
        let twice = Headers::new([("A", "1"), ("a", "2")]).unwrap_err();
        assert_eq!(twice, InvalidHeaders::Twice { at: 1 });
    }

    #[test]
    fn there_are_limits() {
        let many = |n: usize| Headers::new((0..n).map(|n| (format!("h{n}"), "v")));
        assert_eq!(many(MOST).unwrap().len(), MOST);
        assert_eq!(many(MOST + 1).unwrap_err(), InvalidHeaders::TooMany);
        assert!(one("n", &"v".repeat(LONGEST - 1)).is_ok());
        assert_eq!(one("n", &"v".repeat(LONGEST)).unwrap_err(), InvalidHeaders::TooLong);
    }
}
