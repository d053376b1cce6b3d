//! Parameters of a request, read as RFC 6749 (3.1 and 3.2) demands: none twice, an empty one is
//! an absent one.

use std::collections::HashMap;

use url::form_urlencoded;

pub(super) struct Params(HashMap<String, String>);

impl Params {
    /// `None` if a parameter is there twice.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut params = HashMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            if !value.is_empty() && params.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Self(params))
    }

    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_absent_and_twice_is_refused() {
        let params = Params::parse(b"a=1%202&b=&c=x+y").unwrap();
        assert_eq!(params.find("a"), Some("1 2"));
        assert_eq!(params.find("b"), None);
        assert_eq!(params.find("c"), Some("x y"));
        assert!(Params::parse(b"a=1&a=1").is_none());
    }
}
