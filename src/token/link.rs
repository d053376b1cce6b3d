//! Links: how a token reaches one person's browser, and nobody else.
//!
//! The token is in the fragment of the URL, which a browser sends to no server: it is in no access
//! log, and in no `Referer`. The page that the link leads to reads it, takes it out of the address
//! bar, and sends it in a header with each of its requests:
//!
//! ```js
//! const token = new URLSearchParams(location.hash.slice(1)).get("t");
//! history.replaceState(null, "", location.pathname + location.search);
//! ```
//!
//! Opening a link changes nothing: mail scanners and messengers fetch URLs that nobody clicked, and
//! what they fetch has no token in it.

use url::Url;

use super::{TempToken, route::is_pattern};
use crate::secret::secret_text;

/// The headers of a page that links lead to: its URL is told to nobody, and it is not stored.
pub const PAGE_HEADERS: [(&str, &str); 2] =
    [("referrer-policy", "no-referrer"), ("cache-control", "no-store")];

/// Where the pages of a host are, as people's browsers reach them.
///
/// ```
/// use vestibule::token::{LinkBase, TempToken, TokenLink};
///
/// let base = LinkBase::parse("https://app.example/")?;
/// let page = base.page("/workspace/mcp-sessions/auth")?.with_query("flow", "flow-1");
/// assert_eq!(page.as_str(), "https://app.example/workspace/mcp-sessions/auth?flow=flow-1");
///
/// let link = page.with_token(&TempToken::new("vtt_abc")); // of a minted token
/// assert!(link.secret().ends_with("?flow=flow-1#t=vtt_abc"));
/// assert_eq!(TokenLink::token_in("#t=vtt_abc").unwrap().secret(), "vtt_abc");
/// # Ok::<(), vestibule::token::InvalidLink>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkBase(Url);

/// A URL of a page, without a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link(Url);

secret_text! {
    /// A link with its token in it: as good as the token. Send it to the one person it is for.
    TokenLink
}

impl LinkBase {
    /// Reads a base such as `https://app.example/prefix`; slashes at its end do not count.
    ///
    /// # Errors
    ///
    /// [`InvalidLink::Base`] for what is not an absolute http or https URL, has credentials, a query or
    /// a fragment in it, or a path that browsers read as another.
    pub fn parse(text: &str) -> Result<Self, InvalidLink> {
        // `Url` repairs some of these silently: a base that needs it is a mistake.
        let is_odd = |b: u8| !b.is_ascii_graphic() || b"\\?#".contains(&b);
        let (_scheme, rest) = text.split_once("://").ok_or(InvalidLink::Base)?;
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.is_empty() || authority.contains('@') || text.bytes().any(is_odd) {
            return Err(InvalidLink::Base);
        }
        // Dot segments, also encoded ones, and what is to be encoded.
        let as_given = |url: &Url| {
            url.path().trim_end_matches('/') == rest[authority.len()..].trim_end_matches('/')
        };
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && as_given(&url) => Ok(Self(url)),
            _ => Err(InvalidLink::Base),
        }
    }

    /// A page at `path`, which begins with `/` and is written decoded, without a query.
    ///
    /// # Errors
    ///
    /// [`InvalidLink::Page`] if it is not such a path.
    pub fn page(&self, path: &str) -> Result<Link, InvalidLink> {
        if !is_pattern(path) {
            return Err(InvalidLink::Page);
        }
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        Ok(Link(url))
    }
}

impl Link {
    /// The same with one more query parameter, encoded as needed. Nothing secret: servers log it.
    #[must_use]
    pub fn with_query(mut self, name: &str, value: &str) -> Self {
        self.0.query_pairs_mut().append_pair(name, value);
        self
    }

    /// The same with a token, as `#t=…`.
    #[must_use]
    pub fn with_token(&self, token: &TempToken) -> TokenLink {
        let mut url = self.0.clone();
        url.set_fragment(Some(&format!("t={}", token.secret())));
        TokenLink::new(url)
    }

    /// The URL, without a token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TokenLink {
    /// Reads a token back from a fragment, with or without its `#`. `None` without a token, with
    /// two, or with what no link of ours has.
    #[must_use]
    pub fn token_in(fragment: &str) -> Option<TempToken> {
        // A token has 79 characters; a stranger's fragment is not copied.
        const LONGEST: usize = 256;
        let parameters = fragment.strip_prefix('#').unwrap_or(fragment).split('&');
        let mut found = parameters.filter_map(|parameter| parameter.strip_prefix("t="));
        let text = found.next().filter(|_| found.next().is_none())?;
        let is_ours = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        ((1..=LONGEST).contains(&text.len()) && text.bytes().all(is_ours))
            .then(|| TempToken::new(text))
    }
}

/// Why a link cannot be made. The text is not repeated: there may be credentials in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLink {
    /// Not a base.
    #[error(
        "the base of links must be an absolute http or https URL, without credentials, query, \
         fragment and dot segments, and encoded where it needs to be"
    )]
    Base,
    /// Not a page.
    #[error(
        "a page of links must be a decoded path that begins with /, without a query, dot segments, \
         empty segments, or the characters \\ ; %"
    )]
    Page,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str =
        "vtt_0123456789abcdef0123456789abcdef_secret-secret_secret-secret_secret-secr";

    fn base(text: &str) -> LinkBase {
        LinkBase::parse(text).unwrap()
    }

    /// H-7: `{base}/…?flow=…&kind=headers#t=…`.
    #[test]
    fn a_link_has_its_token_in_the_fragment_only() {
        for (text, begins) in [
            ("https://app.example", "https://app.example"),
            ("https://app.example/", "https://app.example"),
            ("HTTPS://App.Example:8443/a/b//", "https://app.example:8443/a/b"),
            ("http://[::1]:3000/%C3%A9", "http://[::1]:3000/%C3%A9"),
        ] {
            let page = base(text).page("/workspace/mcp-sessions/auth").unwrap();
            let link = page.with_query("flow", "a&b#c").with_query("kind", "headers");
            let bare = format!("{begins}/workspace/mcp-sessions/auth?flow=a%26b%23c&kind=headers");
            assert_eq!(link.as_str(), bare);
            let full = link.with_token(&TempToken::new(TOKEN));
            assert_eq!(full.secret(), format!("{bare}#t={TOKEN}"));
            assert_eq!(format!("{full:?}"), "TokenLink([redacted])");
        }
        let odd = base("https://a.example").page("/é b").unwrap();
        assert_eq!(odd.as_str(), "https://a.example/%C3%A9%20b");
    }

    #[test]
    fn a_base_that_is_not_plain_is_refused_and_not_repeated() {
        for bad in [
            "",
            "app.example",
            "/app",
            "//app.example",
            "https:app.example",
            "https:///app.example",
            "https:\\\\app.example",
            "https://",
            "https://?",
            "https://app.example?hunter2",
            "https://app.example?",
            "https://app.example/#hunter2",
            "https://app.example#",
            "https://u:hunter2@app.example",
            "https://hunter2@app.example",
            "https://@app.example",
            "https://:@app.example",
            "ftp://app.example",
            "javascript://app.example/%0aalert(1)",
            "file:///hunter2",
            "data:text/html,hunter2",
            " https://app.example",
            "https://app.example\n",
            "https://app.example/a\\b",
            "https://app.exa mple",
            "https://app.example:99999",
            "https://é.example",
            "https://app.example/a/../b",
            "https://app.example/..",
            "https://app.example/./b",
            "https://app.example/%2e%2E/b",
            "https://app.example/a/%2e",
            "https://app.example/a\"b",
            "https://app.example/{a}",
        ] {
            let error = LinkBase::parse(bad).unwrap_err();
            assert_eq!(error, InvalidLink::Base, "{bad}");
            assert!(!error.to_string().contains("hunter2"));
        }
        for bad in ["", "a", "/", "/a/", "//b.example", "/../a", "/a?b=c", "/a#t=b", "/a%2fb", "/;"]
        {
            assert_eq!(base("https://a.example").page(bad), Err(InvalidLink::Page), "{bad}");
        }
    }

    #[test]
    fn a_token_is_read_back_from_a_fragment() {
        let link = base("https://a.example").page("/p").unwrap().with_token(&TempToken::new(TOKEN));
        let fragment = link.secret().split_once('#').unwrap().1;
        for good in [fragment, &format!("#{fragment}"), &format!("a=b&{fragment}&tt=c")] {
            assert_eq!(TokenLink::token_in(good).unwrap().secret(), TOKEN);
        }
        let long = format!("t={}", "a".repeat(257));
        for bad in
            ["", "#", "t", "t=", "T=a", "a=b", "t=a&t=b", "t=a&t=", "t=a%20", "t=a/b", "t=é", &long]
        {
            assert!(TokenLink::token_in(bad).is_none(), "{bad}");
        }
    }
}
