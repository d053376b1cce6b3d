//! Routes: which requests a scope allows.
//!
//! A path is split on its raw `/`, and each segment is decoded once. Whatever two parsers could
//! read differently is refused, not repaired: encoded or raw `\`, encoded `/`, `.` and `..`, empty
//! segments (so a trailing slash too), `;`, control characters, what is not UTF-8, and what would
//! decode a second time. What is left must equal the pattern, segment by segment: there is no
//! prefix, and no redirect that would carry a token elsewhere.

use std::borrow::Cow;

/// The longest path that is looked at, in bytes without its query.
const LONGEST_PATH: usize = 2048;

/// A method and a path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    method: String,
    pattern: String,
}

/// What stands for the resource in a pattern, and the resource of the token at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filling<'a> {
    pub(super) placeholder: Option<&'a str>,
    pub(super) resource: &'a str,
}

impl Route {
    pub(super) fn new(method: impl Into<String>, pattern: impl Into<String>) -> Self {
        Self { method: method.into(), pattern: pattern.into() }
    }

    /// If the method is a token of RFC 9110 section 5.6.2.
    pub(super) fn has_method(&self) -> bool {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        !self.method.is_empty() && self.method.bytes().all(is_token)
    }

    /// If some request can match it.
    pub(super) fn has_path(&self) -> bool {
        is_pattern(&self.pattern)
    }

    /// If the placeholder is in it, within one segment.
    pub(super) fn names(&self, placeholder: &str) -> bool {
        self.pattern.split('/').any(|segment| segment.contains(placeholder))
    }

    /// If this request is the one of the pattern. The query is ignored.
    pub(super) fn allows(&self, method: &str, raw_path: &str, filling: Filling<'_>) -> bool {
        let (path, _query) = raw_path.split_once('?').unwrap_or((raw_path, ""));
        if path.len() > LONGEST_PATH || !self.method.eq_ignore_ascii_case(method) {
            return false;
        }
        let (Some(given), Some(wanted)) = (path.strip_prefix('/'), self.pattern.strip_prefix('/'))
        else {
            return false;
        };
        let (mut given, mut wanted) = (given.split('/'), wanted.split('/'));
        loop {
            match (given.next(), wanted.next()) {
                (None, None) => return true,
                (Some(given), Some(wanted)) => match decode(given) {
                    Some(given) if filling.makes(wanted, &given) => {}
                    _ => return false,
                },
                _ => return false,
            }
        }
    }
}

impl Filling<'_> {
    /// If `segment` is the pattern's with the resource in place of each placeholder.
    fn makes(self, pattern: &str, segment: &str) -> bool {
        let Some(placeholder) = self.placeholder else { return pattern == segment };
        let mut literals = pattern.split(placeholder);
        let first = literals.next().unwrap_or_default();
        let rest = literals.try_fold(segment.strip_prefix(first), |rest, literal| {
            Some(rest?.strip_prefix(self.resource)?.strip_prefix(literal))
        });
        rest.flatten() == Some("")
    }
}

/// If this is an absolute path that is written decoded, without a query, and some request can have.
pub(super) fn is_pattern(path: &str) -> bool {
    let is_literal = |segment: &str| is_plain(segment) && !segment.contains(['%', '?', '#']);
    path.len() <= LONGEST_PATH
        && path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_literal))
}

/// If a decoded segment means the same to everybody.
pub(super) fn is_plain(segment: &str) -> bool {
    let is_special = |c: char| c.is_control() || matches!(c, '/' | '\\' | ';');
    let decodes_again =
        |at: &[u8]| at[0] == b'%' && at[1].is_ascii_hexdigit() && at[2].is_ascii_hexdigit();
    !matches!(segment, "" | "." | "..")
        && !segment.contains(is_special)
        && !segment.as_bytes().windows(3).any(decodes_again)
}

/// Decodes a raw segment once; `None` for one that is not allowed anywhere.
fn decode(raw: &str) -> Option<Cow<'_, str>> {
    // RFC 3986 section 3.3: anything else in a path is encoded.
    if !raw.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return None;
    }
    let decoded = if raw.contains('%') {
        Cow::Owned(String::from_utf8(decode_bytes(raw.as_bytes())?).ok()?)
    } else {
        Cow::Borrowed(raw)
    };
    is_plain(&decoded).then_some(decoded)
}

/// `None` if a `%` is not followed by two hexadecimal digits.
fn decode_bytes(mut raw: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(raw.len());
    while let Some((first, rest)) = raw.split_first() {
        raw = if *first == b'%' {
            let (digits, rest) = rest.split_at_checked(2)?;
            decoded.push(nibble(digits[0])? << 4 | nibble(digits[1])?);
            rest
        } else {
            decoded.push(*first);
            rest
        };
    }
    Some(decoded)
}

fn nibble(digit: u8) -> Option<u8> {
    // A digit in base 16 fits.
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, placeholder: Option<&str>, resource: &str, path: &str) -> bool {
        Route::new("GET", pattern).allows("GET", path, Filling { placeholder, resource })
    }

    #[test]
    fn a_placeholder_is_replaced_everywhere_and_only_once_each() {
        let twice = |path| allows("/{id}/of-{id}.{id}", Some("{id}"), "a", path);
        assert!(twice("/a/of-a.a") && twice("/%61/of-a%2Ea"));
        assert!(!twice("/a/of-a.b") && !twice("/a/of-a.") && !twice("/{id}/of-{id}.{id}"));
        // A resource that looks like the placeholder is not replaced again.
        assert!(allows("/f/{id}", Some("{id}"), "{id}", "/f/%7Bid%7D"));
        assert!(allows("/f/{id}", None, "a", "/f/{id}"), "without a placeholder all is literal");
    }

    #[test]
    fn what_decodes_twice_is_refused_and_a_lone_percent_is_not() {
        assert!(allows("/f/{id}", Some("{id}"), "100%", "/f/100%25"));
        assert!(!allows("/f/{id}", Some("{id}"), "%2e", "/f/%252e"));
        assert!(!allows("/f/{id}", Some("{id}"), "a", "/f/%2561"));
    }
}
