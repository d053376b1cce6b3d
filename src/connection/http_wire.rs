//! One request over HTTP: sent once, its answer capped, its errors without a word from outside.

use std::time::Duration;

use reqwest::{
    StatusCode,
    header::{ACCEPT, HeaderMap},
};
use url::{Url, form_urlencoded};

use super::{ClientAuth, Connector, ExchangeClass, ExchangeError, HttpExchange};

const CAP: usize = 1024 * 1024;

/// What a provider answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
    pub(super) headers: HeaderMap,
}

/// What happened to a request that brought no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wire {
    #[error("not sent: {0}")]
    NotSent(&'static str),
    #[error("answer lost: {0}")]
    Lost(&'static str),
}

impl HttpExchange {
    /// Posts a form as the connector's client (RFC 6749 section 2.3.1).
    ///
    /// # Errors
    ///
    /// *Transient* if it was not sent, *undecided* if its answer was lost.
    pub(crate) async fn post_form(
        &self,
        connector: &Connector,
        url: &Url,
        form: &[(&str, &str)],
    ) -> Result<Answered, ExchangeError> {
        let mut form = form.to_vec();
        let id = connector.client_id.as_str();
        let mut request = self.client.post(url.clone()).header(ACCEPT, "application/json");
        match (&connector.client_secret, connector.client_auth) {
            (Some(secret), ClientAuth::Basic) => {
                let encode = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                request = request.basic_auth(encode(id), Some(encode(secret.secret())));
            }
            (Some(secret), ClientAuth::Post) => {
                form.extend([("client_id", id), ("client_secret", secret.secret())]);
            }
            // A public client only names itself.
            (None, _) => form.push(("client_id", id)),
        }
        let request = request.form(&form).build();
        let request = request.map_err(|_| Wire::NotSent("the request cannot be built"))?;
        Ok(send(&self.client, request).await?)
    }
}

impl From<Wire> for ExchangeError {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::NotSent(what) => Self::new(ExchangeClass::Transient, what),
            Wire::Lost(what) => Self::new(ExchangeClass::Undecided, what),
        }
    }
}

pub(super) async fn send(
    client: &reqwest::Client,
    request: reqwest::Request,
) -> Result<Answered, Wire> {
    let mut answer = client.execute(request).await.map_err(|error| lost(&error))?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let retry_after = headers
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| lost(&error))? {
        if body.len() + chunk.len() > CAP {
            return Err(Wire::Lost("the answer is larger than 1 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answered { status, retry_after, body, headers })
}

/// Never the error's own text: it names the URL.
fn lost(error: &reqwest::Error) -> Wire {
    if error.is_connect() {
        Wire::NotSent("the provider cannot be reached")
    } else if error.is_builder() {
        Wire::NotSent("the request cannot be built")
    } else if error.is_timeout() {
        Wire::Lost("no answer in time")
    } else {
        Wire::Lost("the connection broke")
    }
}
