//! The credentials that a temp token gives way to.

use std::sync::Arc;

use http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE},
    request::Parts,
};

/// What a host is asked about a request.
pub(super) type Ask<T> = Arc<dyn Fn(&Parts) -> T + Send + Sync>;

/// An `Authorization` header, and what else a host names.
#[derive(Clone, Default)]
pub(super) struct Others {
    pub(super) cookies: Vec<String>,
    pub(super) any_cookie: bool,
    pub(super) asked: Option<Ask<bool>>,
}

impl Others {
    pub(super) fn are_in(&self, parts: &Parts) -> bool {
        parts.headers.contains_key(AUTHORIZATION)
            || (self.any_cookie && parts.headers.contains_key(COOKIE))
            || self.cookies.iter().any(|name| has_cookie(&parts.headers, name))
            || self.asked.as_ref().is_some_and(|has| has(parts))
    }
}

/// RFC 6265 section 5.4. An empty value is what a sign-out leaves behind.
fn has_cookie(headers: &HeaderMap, name: &str) -> bool {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|all| all.as_bytes().split(|b| *b == b';'));
    pairs.map(<[u8]>::trim_ascii).any(|pair| {
        let value = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        value.is_some_and(|value| !value.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::new(());
        for (name, value) in headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request.into_parts().0
    }

    #[test]
    fn a_cookie_counts_by_its_name_if_it_has_a_value() {
        let others = Others { cookies: vec!["sid".to_owned()], ..Others::default() };
        for good in ["sid=1", "a=b; sid=1", "a=b;sid=1 ;c=d", "sid=; sid=1", "sid=a=b", "sid=é"] {
            assert!(others.are_in(&parts(&[("cookie", good)])), "{good}");
        }
        assert!(others.are_in(&parts(&[("cookie", "a=b"), ("cookie", "sid=1")])));
        for bad in ["", "sid", "sid=", "SID=1", "xsid=1", "sid2=1", "a=sid=1", "a=\"; sid =1", ";"]
        {
            assert!(!others.are_in(&parts(&[("cookie", bad)])), "{bad}");
        }
        let any = Others { any_cookie: true, ..Others::default() };
        assert!(any.are_in(&parts(&[("cookie", "a=b")])) && !any.are_in(&parts(&[])));
    }

    #[test]
    fn authorization_always_counts_and_other_headers_only_where_the_host_says() {
        assert!(Others::default().are_in(&parts(&[("authorization", "")])));
        let headers = [("proxy-authorization", "Basic x"), ("cookie", "sid=1"), ("x-user", "a")];
        assert!(!Others::default().are_in(&parts(&headers)));
        let asked: Ask<bool> = Arc::new(|parts| parts.headers.contains_key("x-user"));
        let others = Others { asked: Some(asked), ..Others::default() };
        assert!(others.are_in(&parts(&headers)) && !others.are_in(&parts(&[])));
    }
}
