//! Telling a URL, by the Standard Webhooks convention (<https://www.standardwebhooks.com>).

use std::{fmt, time::Duration};

use async_trait::async_trait;
use base64ct::{Base64, Encoding};
use chrono::{DateTime, SecondsFormat};
use hmac::{Hmac, Mac};
use reqwest::{StatusCode, header::CONTENT_TYPE};
use serde_json::json;
use sha2::Sha256;
use url::Url;
use zeroize::Zeroizing;

use super::{Event, Notifier, NotifyError, Subject};
use crate::{
    http_client::{self, retry_after},
    wall_clock::WallClock,
};

const TIMEOUT: Duration = Duration::from_secs(10);
/// The one before, the one now, the one that comes.
const MOST_SECRETS: usize = 3;

/// Posts each event to a URL: JSON, signed, in one request that follows no redirect.
///
/// ```text
/// webhook-id: c3-1763697824123-0
/// webhook-timestamp: 1763697825
/// webhook-signature: v1,<base64 of HMAC-SHA256 of "id.timestamp.body">[ v1,<by the next secret>]
///
/// {"id": "c3-1763697824123-0", "type": "needs_reauth", "occurred_at": "2025-11-21T04:03:44.123Z",
///  "kind": "connection", "connection": "c3…", "subject": "c3…", "name": "github",
///  "actor": "system:background-refresh", "idp_host": "github.com", "detail": "reason=revoked"}
/// ```
///
/// The id is that of the event, the same in all tries: what comes twice can be dropped. `connection`
/// is null where the subject is no connection.
///
/// | answer | what it means |
/// |---|---|
/// | 2xx | told |
/// | 400, 409, 413, 415, 422 | *refused*: it does not take this event, which is tried again a few times |
/// | 408, 429, 5xx, other | *away*: all waits, as long as the outbox keeps it; `Retry-After` is heeded |
/// | none in 10 s, or no connection | *away* |
///
/// One event that is always answered so, while others are told, holds up its own record alone, and is
/// [given up](super::DeliveryConfig::patience) in the end; but not for 429 or with a `Retry-After`.
///
/// Among the others are 401, 403, 404, 410 and redirects: a receiver that is gone or set up wrongly
/// is for an operator to mend, and nothing is lost meanwhile.
pub struct Webhook {
    client: reqwest::Client,
    url: Url,
    secret: WebhookSecret,
}

/// What a receiver knows a webhook's messages by: a secret, or up to three of them while it changes.
/// A message has a signature by each, so a receiver may know any one.
#[derive(Clone)]
pub struct WebhookSecret(Vec<Zeroizing<Vec<u8>>>);

/// A webhook is not set up rightly. Neither URL nor secret is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The URL is not one.
    #[error("the URL is not an https (or http) URL without a user and a fragment")]
    Url,
    /// The secret is not one.
    #[error(
        "the secret is not base64 of 24 to 64 bytes, with or without whsec_ before it, or three of \
         them with spaces between: make one with `openssl rand -base64 32`"
    )]
    Secret,
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be made: {0}; is the CA bundle PEM?")]
    Client(String),
}

impl WebhookSecret {
    /// Reads base64 of 24 to 64 bytes, as `whsec_…` or without that; or up to three of them, with spaces
    /// or line ends between.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Secret`].
    pub fn new(text: &str) -> Result<Self, WebhookError> {
        let read = |text: &str| {
            let coded = text.strip_prefix("whsec_").unwrap_or(text);
            let bytes = Zeroizing::new(Base64::decode_vec(coded).ok()?);
            (24..=64).contains(&bytes.len()).then_some(bytes)
        };
        let secrets: Option<Vec<_>> = text.split_whitespace().map(read).collect();
        let secrets = secrets.filter(|secrets| (1..=MOST_SECRETS).contains(&secrets.len()));
        secrets.map(Self).ok_or(WebhookError::Secret)
    }

    /// One signature by each, with spaces between.
    fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let sign = |secret: &Zeroizing<Vec<u8>>| {
            // An HMAC takes a key of any length.
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
            mac.update(format!("{id}.{seconds}.").as_bytes());
            mac.update(body);
            Some(format!("v1,{}", Base64::encode_string(&mac.finalize().into_bytes())))
        };
        self.0.iter().filter_map(sign).collect::<Vec<_>>().join(" ")
    }
}

impl Webhook {
    /// To this URL, trusting the public roots, and the certificates of a PEM bundle as well.
    ///
    /// # Errors
    ///
    /// [`WebhookError`], before anything is sent.
    pub fn new(
        url: &str,
        secret: WebhookSecret,
        ca_pem: Option<&[u8]>,
    ) -> Result<Self, WebhookError> {
        let url = Url::parse(url).map_err(|_| WebhookError::Url)?;
        let plain = url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "https" | "http") || !plain || url.fragment().is_some() {
            return Err(WebhookError::Url);
        }
        let client = http_client::client(ca_pem, TIMEOUT).map_err(WebhookError::Client)?;
        Ok(Self { client, url, secret })
    }
}

#[async_trait]
impl Notifier for Webhook {
    async fn notify(&self, event: &Event) -> Result<(), NotifyError> {
        let (id, body) = (event.id.to_string(), body(event));
        // The receiver holds it against its own clock, to refuse what was recorded and sent again.
        let seconds = WallClock::default().now_ms() / 1000;
        let answer = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.secret.sign(&id, seconds, &body))
            .body(body)
            .send()
            .await;
        match answer {
            Ok(answer) => verdict(answer.status(), || retry_after(answer.headers())),
            Err(error) => Err(NotifyError::Away { reason: lost(&error), retry_after: None }),
        }
    }
}

/// Neither URL, which may hold a secret of its own, nor key.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret([redacted])")
    }
}

fn verdict(
    status: StatusCode,
    retry_after: impl FnOnce() -> Option<Duration>,
) -> Result<(), NotifyError> {
    let reason = format!("status {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Ok(()),
        400 | 409 | 413 | 415 | 422 => Err(NotifyError::Refused { reason }),
        // So many that it comes to the turn of any: not the event's fault, however soon to come again.
        429 => {
            Err(NotifyError::Away { reason, retry_after: retry_after().or(Some(Duration::ZERO)) })
        }
        _ => Err(NotifyError::Away { reason, retry_after: retry_after() }),
    }
}

fn body(event: &Event) -> Vec<u8> {
    let at = i64::try_from(event.at_ms).ok().and_then(DateTime::from_timestamp_millis);
    let connection = (event.subject == Subject::Connection).then_some(&event.subject_id);
    let body = json!({
        "id": event.id.to_string(),
        "type": event.kind.as_str(),
        "occurred_at": at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        "kind": event.subject.as_str(),
        "connection": connection,
        "subject": event.subject_id,
        "name": event.name,
        "actor": event.actor.as_str(),
        "idp_host": event.idp_host,
        "detail": event.detail,
    });
    body.to_string().into_bytes()
}

/// Never the error's own text: it names the URL.
fn lost(error: &reqwest::Error) -> String {
    let told = if error.is_connect() {
        "it cannot be reached"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    };
    told.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Actor, EventKind};

    /// The example of the convention's own documentation.
    #[test]
    fn signs_as_the_convention_says() {
        let secret = WebhookSecret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn what_is_not_set_up_rightly_is_told_without_its_text() {
        let secret = WebhookSecret::new("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{secret:?}"), "WebhookSecret([redacted])");
        for bad in ["", "whsec_", "short", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjU PD8ILPZIo2LaLaSw"] {
            assert_eq!(WebhookSecret::new(bad).unwrap_err(), WebhookError::Secret, "{bad}");
        }
        for bad in ["", "x", "ftp://host/", "https://me:pass@host/", "https://host/#part"] {
            let error = Webhook::new(bad, secret.clone(), None).unwrap_err();
            assert_eq!(error, WebhookError::Url, "{bad}");
        }
        let webhook = Webhook::new("https://host/path?key=hunter2", secret, None).unwrap();
        assert!(!format!("{webhook:?}").contains("hunter2"));
    }

    #[test]
    fn each_secret_signs() {
        let (one, other) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "A".repeat(32));
        let signed = |text: &str| WebhookSecret::new(text).unwrap().sign("id", 1, b"body");
        let both = format!(" {one}\n{other}\n");
        assert_eq!(signed(&both), format!("{} {}", signed(one), signed(&other)));
        for bad in [format!("{one} short"), [one; 4].join(" ")] {
            assert_eq!(WebhookSecret::new(&bad).unwrap_err(), WebhookError::Secret);
        }
    }

    #[test]
    fn each_status_has_its_verdict() {
        let verdict = |status| verdict(StatusCode::from_u16(status).unwrap(), || None);
        for status in [200, 201, 202, 204] {
            assert_eq!(verdict(status), Ok(()), "{status}");
        }
        for status in [400, 409, 413, 415, 422] {
            assert!(matches!(verdict(status), Err(NotifyError::Refused { .. })), "{status}");
        }
        for status in [301, 302, 307, 401, 403, 404, 405, 408, 410, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(verdict(status), Err(NotifyError::Away { .. })), "{status}");
        }
    }

    #[test]
    fn a_body_is_json_whatever_is_in_it() {
        let event = Event {
            id: "c3-1763697824123-0".parse().unwrap(),
            at_ms: 1_763_697_824_123,
            kind: EventKind::ConnectorPaused,
            subject: Subject::Connector,
            subject_id: "a\"b\\c".to_owned(),
            name: "}{".to_owned(),
            owner: None,
            actor: Actor::Operator,
            idp_host: "é\u{202e}".to_owned(),
            detail: "reason=\"},\u{1f}\u{2028}".to_owned(),
        };
        let read: serde_json::Value = serde_json::from_slice(&body(&event)).unwrap();
        assert_eq!(read["occurred_at"], "2025-11-21T04:03:44.123Z");
        assert_eq!(read["connection"], serde_json::Value::Null);
        assert_eq!(read["subject"], "a\"b\\c");
        assert_eq!(read["detail"], event.detail.as_str());
    }
}
