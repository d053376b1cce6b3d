//! The device flow over HTTP, on the client that exchanges tokens.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use url::Url;

use super::{Authorization, DeviceCode, DeviceEndpoint, Polled, Prompt, UserCode};
use crate::connection::{
    Answered, Connector, ExchangeClass, ExchangeError, HttpExchange, error_in, tokens_in,
};

/// What RFC 8628 section 3.2 says of a provider that does not.
const DEFAULT_INTERVAL: f64 = 5.0;
/// No provider means less, whatever it says.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

#[async_trait]
impl DeviceEndpoint for HttpExchange {
    async fn authorize(&self, connector: &Connector) -> Result<Authorization, ExchangeError> {
        let Some(url) = &connector.device_authorization_url else {
            let what = "the connector has no device authorization endpoint";
            return Err(ExchangeError::new(ExchangeClass::Config, what));
        };
        let scope = connector.scopes.join(" ");
        let mut form = Vec::new();
        if !scope.is_empty() {
            form.push(("scope", scope.as_str()));
        }
        authorization(&self.post_form(connector, url, &form).await?)
    }

    async fn poll(
        &self,
        connector: &Connector,
        device_code: &DeviceCode,
    ) -> Result<Polled, ExchangeError> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device_code.secret()),
        ];
        let Some(token_url) = &connector.token_url else {
            let what = "the connector has no token endpoint";
            return Err(ExchangeError::new(ExchangeClass::Config, what));
        };
        polled(&self.post_form(connector, token_url, &form).await?)
    }
}

#[derive(Deserialize)]
struct Wire {
    device_code: String,
    user_code: String,
    /// Some providers took the name from an early draft.
    #[serde(alias = "verification_url")]
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: f64,
    interval: Option<f64>,
}

fn authorization(answer: &Answered) -> Result<Authorization, ExchangeError> {
    if let Some(code) = error_in(&answer.body) {
        let error = ExchangeError::new(ExchangeClass::of_code(&code), &code);
        return Err(error.retry_after(answer.retry_after));
    }
    let given = read(&answer.body).filter(|_| answer.status.is_success());
    given.ok_or_else(|| no_answer(answer, ExchangeClass::Transient))
}

/// `None` if what RFC 8628 section 3.2 requires is missing, or of another form.
fn read(body: &[u8]) -> Option<Authorization> {
    let wire: Wire = serde_json::from_slice(body).ok()?;
    let seconds = wire.interval.unwrap_or(DEFAULT_INTERVAL);
    let complete = wire.verification_uri_complete.as_deref();
    Some(Authorization {
        device_code: DeviceCode::new(wire.device_code),
        prompt: Prompt {
            user_code: UserCode::new(wire.user_code),
            verification_uri: page(&wire.verification_uri)?,
            // It only saves typing.
            verification_uri_complete: complete.and_then(page),
        },
        expires_in: Duration::try_from_secs_f64(wire.expires_in).ok()?,
        interval: Duration::try_from_secs_f64(seconds).ok()?.max(LEAST_INTERVAL),
    })
}

fn polled(answer: &Answered) -> Result<Polled, ExchangeError> {
    let trouble = answer.status.is_server_error() || answer.status.as_u16() == 429;
    // Some providers say 200 and mean an error.
    let code = error_in(&answer.body);
    Ok(match code.as_deref() {
        Some("authorization_pending") => Polled::Pending,
        Some("slow_down") => Polled::SlowDown,
        // Trouble at the provider's is trouble, whatever code it wraps it in.
        _ if trouble => return Err(no_answer(answer, ExchangeClass::Transient)),
        Some("access_denied") => Polled::Denied,
        Some("expired_token") => Polled::Expired,
        Some(code) => {
            let code = ExchangeError::new(ExchangeClass::Rejected, code).reason;
            Polled::Refused { code }
        }
        None if answer.status.is_success() => match tokens_in(&answer.body) {
            Some(tokens) => Polled::Granted(tokens),
            None => return Err(no_answer(answer, ExchangeClass::Undecided)),
        },
        None => return Err(no_answer(answer, ExchangeClass::Transient)),
    })
}

/// Where a person is sent: a web page, and nothing that a browser would run.
fn page(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    matches!(url.scheme(), "https" | "http").then(|| url.into())
}

fn no_answer(answer: &Answered, class: ExchangeClass) -> ExchangeError {
    let what = format!("status {} without a readable answer", answer.status.as_u16());
    ExchangeError::new(class, &what).retry_after(answer.retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authorization_is_read_as_the_rfc_says() {
        let good =
            br#"{"device_code":"d","user_code":"A-B","verification_uri":"https://p.example/x",
            "expires_in":1800}"#;
        let given = read(good).unwrap();
        assert_eq!((given.interval.as_secs(), given.expires_in.as_secs()), (5, 1800));
        assert!(!format!("{given:?}").contains("A-B") && !format!("{given:?}").contains("\"d\""));
        let good = String::from_utf8_lossy(good);
        let google = good.replace("verification_uri", "verification_url");
        assert_eq!(read(google.as_bytes()).unwrap().prompt.verification_uri, "https://p.example/x");
        for (from, to) in [
            ("https://p.example/x", "javascript:alert(1)"),
            ("https://p.example/x", "//p.example"),
            ("1800", "-1"),
            ("1800", "1e400"),
            ("expires_in", "expires"),
            ("device_code", "devices"),
            ("1800", "1800,\"interval\":1e300"),
        ] {
            assert!(read(good.replace(from, to).as_bytes()).is_none(), "{to}");
        }
        let hasty = good.replace("1800", "1800,\"interval\":0");
        assert_eq!(read(hasty.as_bytes()).unwrap().interval, LEAST_INTERVAL);
        let page = "1800,\"verification_uri_complete\":\"data:text/html,x\"";
        let given = read(good.replace("1800", page).as_bytes()).unwrap();
        assert_eq!(given.prompt.verification_uri_complete, None, "a bad link is left out");
    }
}
