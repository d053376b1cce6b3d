//! Where a user may be sent after a sign-in.

use url::Url;

/// A path on this site, or a URL of the same origin: never an open redirect.
pub(super) fn is_same_origin(return_url: &str, redirect: &Url) -> bool {
    // What a browser would read otherwise: `//host`, `/\host`, and control characters it drops.
    if return_url.chars().any(|c| c.is_control() || c == '\\' || c.is_whitespace()) {
        return false;
    }
    // A path is joined; anything else must be a whole URL by itself: `https:host` joins to this
    // origin here, and leads to that host elsewhere.
    let url = if return_url.starts_with('/') {
        redirect.join(return_url)
    } else {
        Url::parse(return_url)
    };
    // Of a `blob:` URL too, the origin is that of what is in it.
    url.is_ok_and(|url| url.scheme() == redirect.scheme() && url.origin() == redirect.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_url_stays_on_its_site() {
        let redirect = Url::parse("https://app.example/callback").unwrap();
        for good in ["/", "/a?b=c#d", "https://app.example/x"] {
            assert!(is_same_origin(good, &redirect), "{good}");
        }
        for bad in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "http://app.example/",
            "javascript:alert(1)",
            "x",
            "/\t/evil.example",
            "https://app.example@evil.example/",
            "https://app.example:444/",
            "https:evil.example",
            "https:/evil.example/x",
            "https:///evil.example",
            "blob:https://app.example/x",
        ] {
            assert!(!is_same_origin(bad, &redirect), "{bad}");
        }
    }
}
