//! What a token endpoint really answers, brought into the form of RFC 6749 section 5, and judged.
//!
//! Whoever throws away an answer that could have been read throws away a rotated refresh token. So
//! a form instead of JSON, a number in quotes, a missing `token_type` and an error under status 200
//! are all understood. What is ambiguous is not: a field that is there twice, a token with
//! characters that no header takes.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::{ExchangeClass, ExchangeError, http_wire::Answered};

/// No life is longer: 10 years. Sums of it stay far from where numbers lose their digits.
const LONGEST_LIFE_S: f64 = 315_360_000.0;

/// The tokens in an answer, as the JSON of RFC 6749 section 5.1; or what the answer means instead.
pub(super) fn judged(answered: &Answered) -> Result<Vec<u8>, ExchangeError> {
    let status = answered.status.as_u16();
    let fields = Fields::read(&answered.body);
    let tokens = fields.as_ref().filter(|_| answered.status.is_success()).and_then(Fields::tokens);
    if let Some(tokens) = tokens {
        return Ok(tokens);
    }
    let error = match fields.and_then(|fields| fields.error()) {
        // Trouble at the provider's is trouble, whatever code it wraps it in.
        Some(code) if status >= 500 || status == 429 => {
            ExchangeError::new(ExchangeClass::Transient, &code)
        }
        Some(code) => ExchangeError::new(ExchangeClass::of_code(&code), &code),
        None => unreadable(status),
    };
    Err(error.retry_after(answered.retry_after))
}

/// The tokens in the body of an answer, whatever its status; `None` if there are none.
pub(super) fn tokens_in(body: &[u8]) -> Option<Vec<u8>> {
    Fields::read(body)?.tokens()
}

/// The error code in an answer, whatever its status says.
pub(crate) fn error_in(body: &[u8]) -> Option<String> {
    Fields::read(body)?.error()
}

/// A success that cannot be read may have rotated the token; anything else decided nothing.
fn unreadable(status: u16) -> ExchangeError {
    let class = match status {
        200..=299 => ExchangeClass::Undecided,
        _ => ExchangeClass::Transient,
    };
    ExchangeError::new(class, &format!("status {status} without a readable answer"))
}

#[derive(Deserialize)]
#[serde(default)]
struct Fields {
    access_token: Value,
    refresh_token: Value,
    expires_in: Value,
    // As GitHub and LinkedIn call it, as Keycloak does, and as Intuit does.
    refresh_token_expires_in: Value,
    refresh_expires_in: Value,
    x_refresh_token_expires_in: Value,
    scope: Value,
    error: Value,
}

impl Default for Fields {
    fn default() -> Self {
        let [access_token, refresh_token, expires_in, scope, error] = [const { Value::Null }; 5];
        let [refresh_token_expires_in, refresh_expires_in, x_refresh_token_expires_in] =
            [const { Value::Null }; 3];
        Self {
            access_token,
            refresh_token,
            expires_in,
            refresh_token_expires_in,
            refresh_expires_in,
            x_refresh_token_expires_in,
            scope,
            error,
        }
    }
}

impl Fields {
    fn read(body: &[u8]) -> Option<Self> {
        // A mark that some servers put in front of all text (RFC 8259 section 8.1 lets it be ignored).
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        // An array would be read as a struct without names.
        if body.trim_ascii_start().starts_with(b"{") {
            serde_json::from_slice(body).ok()
        } else {
            Self::read_form(body)
        }
    }

    /// `application/x-www-form-urlencoded`, as GitHub answers by default.
    fn read_form(body: &[u8]) -> Option<Self> {
        let body = body.trim_ascii();
        // A web page may well have `&access_token=` somewhere.
        if !body.iter().all(|b| b.is_ascii_graphic() && !b"<>\"{}".contains(b)) {
            return None;
        }
        let mut fields = Map::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields.insert(name.into_owned(), value.into_owned().into()).is_some() {
                return None;
            }
        }
        serde_json::from_value(Value::Object(fields)).ok()
    }

    /// `None` without an access token that a request can carry.
    fn tokens(&self) -> Option<Vec<u8>> {
        let mut tokens = Map::new();
        tokens.insert("access_token".to_owned(), visible(&self.access_token)?.into());
        // Providers write all sorts of things here (`bot`, `user`, nothing), and mean Bearer.
        tokens.insert("token_type".to_owned(), json!("bearer"));
        match &self.refresh_token {
            Value::Null => {}
            Value::String(text) if text.trim().is_empty() => {}
            // One that cannot be presented later must not take the old one's place.
            other => {
                tokens.insert("refresh_token".to_owned(), visible(other)?.into());
            }
        }
        // Zero is what some write of a token without an end; a token that was dead when it was made
        // would be of no use to anybody.
        if let Some(life) = number(&self.expires_in).filter(|life| *life != 0.0) {
            tokens.insert("expires_in".to_owned(), seconds(life).into());
        }
        let lives = [
            &self.refresh_token_expires_in,
            &self.refresh_expires_in,
            &self.x_refresh_token_expires_in,
        ];
        // Nothing is what Keycloak says of a token without an end.
        let life = lives.into_iter().find_map(number).map(seconds).filter(|life| *life > 0);
        if let Some(life) = life {
            tokens.insert("refresh_token_expires_in".to_owned(), life.into());
        }
        if let Some(scope) = scope(&self.scope) {
            tokens.insert("scope".to_owned(), scope.into());
        }
        serde_json::to_vec(&tokens).ok()
    }

    /// An `error` that is a text; or an object, as Facebook's, with a code of its own.
    fn error(&self) -> Option<String> {
        let code = match &self.error {
            Value::String(text) if !text.trim().is_empty() => text.trim(),
            Value::Object(inner) => {
                ["code", "type"].iter().find_map(|name| inner.get(*name)?.as_str()).unwrap_or("")
            }
            _ => return None,
        };
        // Prose may repeat what was sent.
        let a_code = (1..=64).contains(&code.len())
            && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b));
        Some(if a_code { code.to_owned() } else { "an error without a code".to_owned() })
    }
}

/// A token as RFC 6749 appendix A.12 has it, without the white space around it.
fn visible(token: &Value) -> Option<String> {
    let token = token.as_str()?.trim();
    let fits = !token.is_empty() && token.bytes().all(|b| (0x20..=0x7e).contains(&b));
    fits.then(|| token.to_owned())
}

/// `None` if nothing is said, or no number.
fn number(life: &Value) -> Option<f64> {
    match life {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| !number.is_nan()),
        _ => None,
    }
}

/// How long a token lives. Less than nothing is nothing.
fn seconds(life: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between nothing and 10 years"
    )]
    let seconds = life.clamp(0.0, LONGEST_LIFE_S) as u64;
    seconds
}

/// What was granted: one text, or a list of them.
fn scope(scope: &Value) -> Option<String> {
    let text = match scope {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(" "),
        _ => return None,
    };
    Some(text).filter(|text| !text.trim().is_empty() && !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a body, in the RFC's form.
    fn read(body: &str) -> Option<Value> {
        Some(serde_json::from_slice(&tokens_in(body.as_bytes())?).unwrap())
    }

    #[test]
    fn lives_are_numbers_between_nothing_and_ten_years() {
        for (life, seconds) in [
            ("3600", Some(3600)),
            ("\"3600\"", Some(3600)),
            ("3599.9", Some(3599)),
            ("0", None),
            ("\"0\"", None),
            ("-1", Some(0)),
            ("0.5", Some(0)),
            ("1e30", Some(315_360_000)),
            ("18446744073709551615", Some(315_360_000)),
            ("\"inf\"", Some(315_360_000)),
            ("\"NaN\"", None),
            ("\"soon\"", None),
            ("null", None),
            ("{}", None),
        ] {
            let answer = read(&format!(r#"{{"access_token":"a","expires_in":{life}}}"#)).unwrap();
            assert_eq!(answer.get("expires_in").and_then(Value::as_u64), seconds, "{life}");
        }
    }

    /// C-9: by whichever name; nothing, and what is no number, is undisclosed, which is not never.
    #[test]
    fn the_life_of_a_refresh_token_has_three_names() {
        let read = |fields: &str| {
            let answer = read(&format!(r#"{{"access_token":"a",{fields}}}"#)).unwrap();
            answer.get("refresh_token_expires_in").and_then(Value::as_u64)
        };
        for name in ["refresh_token_expires_in", "refresh_expires_in", "x_refresh_token_expires_in"]
        {
            assert_eq!(read(&format!(r#""{name}":8726400"#)), Some(8_726_400), "{name}");
            assert_eq!(read(&format!(r#""{name}":"1800""#)), Some(1800), "{name}");
            for undisclosed in ["0", "-1", "null", "\"never\"", "{}"] {
                assert_eq!(read(&format!(r#""{name}":{undisclosed}"#)), None, "{undisclosed}");
            }
        }
        let form = tokens_in(b"access_token=a&refresh_token_expires_in=60").unwrap();
        assert!(String::from_utf8(form).unwrap().contains(r#""refresh_token_expires_in":60"#));
    }

    #[test]
    fn what_cannot_be_a_token_is_not_one() {
        assert!(read(r#"{"access_token":" a b "}"#).is_some());
        for bad in [
            "",
            "[\"a\"]",
            "access_token",
            r#"{"access_token":""}"#,
            r#"{"access_token":7}"#,
            r#"{"access_token":"a\nb"}"#,
            r#"{"access_token":"ä"}"#,
            r#"{"access_token":"a","refresh_token":7}"#,
            r#"{"access_token":"a","access_token":"b"}"#,
            "access_token=a&access_token=b",
            "<a href=\"/?access_token=a\">",
            "<a&access_token=a",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_error_is_a_code_and_never_prose() {
        let error = |body: &str| error_in(body.as_bytes());
        let prose = Some("an error without a code".to_owned());
        assert_eq!(error(r#"{"error":"invalid_grant"}"#), Some("invalid_grant".to_owned()));
        assert_eq!(error("error=bad_refresh_token"), Some("bad_refresh_token".to_owned()));
        assert_eq!(
            error(r#"{"error":{"code":190,"type":"OAuthException"}}"#).unwrap(),
            "OAuthException"
        );
        assert_eq!(error(r#"{"error":"the token s3cr3t is bad"}"#), prose);
        assert_eq!(error(r#"{"error":{}}"#), prose);
        for none in [r#"{"error":null}"#, r#"{"error":""}"#, r#"{"error":false}"#, "{}", "", "x"] {
            assert_eq!(error(none), None, "{none}");
        }
    }
}
