//! Who asks at the token endpoint (RFC 6749, 2.3.1): HTTP Basic with the identifier and the secret
//! form-encoded, or both in the body; never both ways at once.

use axum::http::{HeaderMap, header};
use base64ct::{Base64, Encoding};
use url::form_urlencoded;

use super::{Settings, params::Params, token::Refusal};

pub(super) fn authenticate(
    settings: &Settings,
    headers: &HeaderMap,
    params: &Params,
) -> Result<(), Refusal> {
    let named = params.find("client_id");
    let (id, secret) = match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            if params.find("client_secret").is_some() {
                return Err(Refusal::invalid_request("the client authenticates in two ways"));
            }
            let (id, secret) =
                value.to_str().ok().and_then(read_basic).ok_or(Refusal::INVALID_CLIENT)?;
            if named.is_some_and(|named| named != id) {
                return Err(Refusal::invalid_request("two different clients are named"));
            }
            (id, secret)
        }
        None => (
            named.unwrap_or_default().to_owned(),
            params.find("client_secret").unwrap_or_default().to_owned(),
        ),
    };
    if id == settings.client_id && secret == settings.client_secret {
        Ok(())
    } else {
        Err(Refusal::INVALID_CLIENT)
    }
}

fn read_basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(Base64::decode_vec(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decode(id), form_decode(secret)))
}

/// Undoes `application/x-www-form-urlencoded` for one value. A bare `&` or `=` means itself, as
/// clients that encode nothing send it.
fn form_decode(value: &str) -> String {
    let one_name = value.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(one_name.as_bytes())
        .next()
        .map(|(name, _)| name.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_form_decoded() {
        let header = format!("Basic {}", Base64::encode_string(b"a%20client:p%3Aq+r%2B=&"));
        assert_eq!(read_basic(&header), Some(("a client".to_owned(), "p:q r+=&".to_owned())));
        assert_eq!(read_basic("Bearer abc"), None);
        assert_eq!(read_basic("Basic !!"), None);
    }
}
