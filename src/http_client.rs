//! HTTP, outwards: what all of its clients have in common. No redirects, no retries, a deadline.

use std::time::Duration;

use reqwest::header::HeaderMap;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that trusts the public roots, and those of a PEM bundle. An error is for the operator,
/// and comes before anything is sent.
pub(crate) fn client(bundle: Option<&[u8]>, timeout: Duration) -> Result<reqwest::Client, String> {
    let told = |error: reqwest::Error| error.to_string();
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        // The library reads no environment: a proxy comes with a client of the host's.
        .no_proxy();
    if let Some(bundle) = bundle {
        let certificates = reqwest::Certificate::from_pem_bundle(bundle).map_err(told)?;
        if certificates.is_empty() {
            return Err("the CA bundle has no certificate".to_owned());
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(told)
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date. That is reckoned from the answer's
/// own `Date`: whose clock is right does not matter then.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let after = text("retry-after")?;
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = httpdate::parse_http_date(text("date")?).ok()?;
    httpdate::parse_http_date(after).ok()?.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let date = "Sat, 21 Nov 2026 10:00:00 GMT";
        for (after, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sat, 21 Nov 2026 10:01:30 GMT", Some(90)),
            ("Saturday, 21-Nov-26 10:00:05 GMT", Some(5)),
            ("Sat, 21 Nov 2026 09:59:59 GMT", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("date", HeaderValue::from_static(date));
            headers.insert("retry-after", HeaderValue::from_static(after));
            assert_eq!(retry_after(&headers), seconds.map(Duration::from_secs), "{after}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static(date));
        assert_eq!(retry_after(&headers), None, "nothing to reckon from");
    }
}
