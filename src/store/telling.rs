//! What a verb that changes something needs to tell of it.

use super::{Actor, event::DETAIL};

/// Who makes a change, and whose provider it has to do with: for the events that tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By<'a> {
    /// Who.
    pub actor: Actor,
    /// The host of the provider; empty if there is none, or it is not known.
    pub idp_host: &'a str,
}

/// `word=value` pairs with spaces between, as the scripts make them: without those that have no
/// value, and each value one word of visible ASCII.
pub(crate) fn words(said: &[(&str, Option<String>)]) -> String {
    let visible = |byte: u8| if byte.is_ascii_graphic() { char::from(byte) } else { '_' };
    let pairs = said.iter().filter_map(|(word, value)| Some((word, value.as_ref()?)));
    let pairs = pairs.map(|(word, value)| {
        let value: String = value.bytes().map(visible).collect();
        format!("{word}={value}")
    });
    let mut joined = pairs.collect::<Vec<_>>().join(" ");
    joined.truncate(DETAIL);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_one_word() {
        let said = [
            ("reason", Some("a b\r\nc=\u{e9}".to_owned())),
            ("left-out", None),
            ("ver", Some("1".to_owned())),
        ];
        assert_eq!(words(&said), "reason=a_b__c=__ ver=1");
        assert_eq!(words(&[("x", Some("y".repeat(1000)))]).len(), DETAIL);
        assert_eq!(words(&[]), "");
    }
}
