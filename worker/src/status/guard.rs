//! Who may see the page, and what a browser may do with it.

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE},
};
use base64ct::{Base64, Encoding};

use crate::config::AdminToken;

/// Who may look.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever has the token.
    Token(AdminToken),
    /// Whoever is on this machine: the port can be reached from no other.
    ThisMachine,
}

/// Why somebody may not look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// No token, or another.
    NoToken,
    /// Asked for by another name than this machine's: a page from elsewhere, whose name was made to
    /// lead here.
    OtherHost,
}

impl Access {
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refused> {
        match self {
            Self::Token(token) => {
                let given = headers.get(AUTHORIZATION).and_then(presented);
                let is_it = given.is_some_and(|given| token.is(&given));
                if is_it { Ok(()) } else { Err(Refused::NoToken) }
            }
            Self::ThisMachine => {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok());
                let is_here = host.is_some_and(is_this_machine);
                if is_here { Ok(()) } else { Err(Refused::OtherHost) }
            }
        }
    }
}

/// A bearer's token; or the password, for a browser asks for that, and whatever user.
fn presented(value: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, given) = value.to_str().ok()?.split_once(' ')?;
    let given = given.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(given.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let login = Base64::decode_vec(given).ok()?;
    let colon = login.iter().position(|b| *b == b':')?;
    Some(login[colon + 1..].to_vec())
}

/// `localhost`, or an address of the loopback, with a port or without.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Refused {
    pub(super) fn answer(self) -> (StatusCode, HeaderMap, &'static str) {
        let mut headers = HeaderMap::new();
        match self {
            Self::NoToken => {
                // Browsers know the first.
                for scheme in [
                    "Basic realm=\"vestibule-worker\", charset=\"UTF-8\"",
                    "Bearer realm=\"vestibule-worker\"",
                ] {
                    headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
                }
                let told = "This page wants the token of the admin port, as a bearer's or as a \
                            password.\n";
                (StatusCode::UNAUTHORIZED, headers, told)
            }
            Self::OtherHost => {
                let told = "This page is for this machine alone: ask for it by 127.0.0.1, or give \
                            the admin port a token.\n";
                (StatusCode::MISDIRECTED_REQUEST, headers, told)
            }
        }
    }
}

/// What every answer carries. `style` is the only one that the page has, by its digest.
pub(super) fn security(headers: &mut HeaderMap, style: &str) {
    let policy = format!(
        "default-src 'none'; style-src '{style}'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("content-security-policy", &policy);
    set("x-content-type-options", "nosniff");
    set("x-frame-options", "DENY");
    set("referrer-policy", "no-referrer");
    set("cache-control", "no-store");
    set("cross-origin-opener-policy", "same-origin");
    set("cross-origin-resource-policy", "same-origin");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_token_is_a_bearers_or_a_password() {
        let access = Access::Token(AdminToken::new("0123456789abcdef", "test").unwrap());
        let basic = |login: &str| format!("Basic {}", Base64::encode_string(login.as_bytes()));
        for good in [
            "Bearer 0123456789abcdef",
            "bearer 0123456789abcdef",
            &basic("me:0123456789abcdef"),
            &basic(":0123456789abcdef"),
        ] {
            assert_eq!(access.check(&with(AUTHORIZATION, good)), Ok(()), "{good}");
        }
        for bad in [
            "0123456789abcdef",
            "Bearer",
            "Bearer 0123456789abcde",
            "Basic 0123456789abcdef",
            "Digest 0123456789abcdef",
            &basic("0123456789abcdef"),
            &basic("0123456789abcdef:"),
        ] {
            assert_eq!(access.check(&with(AUTHORIZATION, bad)), Err(Refused::NoToken), "{bad}");
        }
        assert_eq!(access.check(&HeaderMap::new()), Err(Refused::NoToken));
    }

    #[test]
    fn without_a_token_it_is_asked_for_by_this_machines_name() {
        let check = |host: &str| Access::ThisMachine.check(&with(HOST, host));
        for here in [
            "127.0.0.1:9464",
            "127.0.0.1",
            "localhost:80",
            "LOCALHOST",
            "[::1]:9464",
            "127.8.9.1:1",
        ] {
            assert_eq!(check(here), Ok(()), "{here}");
        }
        for elsewhere in ["evil.example:9464", "localhost.evil.example", "10.0.0.1", "", "[::2]:1"]
        {
            assert_eq!(check(elsewhere), Err(Refused::OtherHost), "{elsewhere}");
        }
        assert_eq!(Access::ThisMachine.check(&HeaderMap::new()), Err(Refused::OtherHost));
    }
}
