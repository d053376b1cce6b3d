//! One request over HTTP: sent once, its answer capped, its errors without a word from outside.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use reqwest::{
    StatusCode,
    header::{ACCEPT, AUTHORIZATION, HeaderValue},
};
use url::{Url, form_urlencoded};

use super::{
    ClientAuth, ClientSecret, Connector, ExchangeClass, ExchangeError, HttpExchange, Quirk,
};
use crate::http_client::retry_after;

const CAP: usize = 1024 * 1024;

/// What a provider answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
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
                request = request.header(AUTHORIZATION, basic(connector, secret)?);
            }
            (Some(secret), ClientAuth::Post) => {
                form.extend([("client_id", id), ("client_secret", secret.secret())]);
            }
            // A public client only names itself.
            (Some(_), ClientAuth::None) | (None, _) => form.push(("client_id", id)),
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

/// HTTP Basic as the connector's provider takes it.
pub(super) fn basic(connector: &Connector, secret: &ClientSecret) -> Result<HeaderValue, Wire> {
    let raw = connector.quirks.contains(&Quirk::RawBasic);
    let form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let [id, secret] = [connector.client_id.as_str(), secret.secret()]
        .map(|text| if raw { text.to_owned() } else { form(text) });
    let pair = Base64::encode_string(format!("{id}:{secret}").as_bytes());
    let mut value = HeaderValue::from_str(&format!("Basic {pair}"))
        .map_err(|_| Wire::NotSent("the client's secret does not fit a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Sends once.
pub(super) async fn send(
    client: &reqwest::Client,
    request: reqwest::Request,
) -> Result<Answered, Wire> {
    let mut answer = client.execute(request).await.map_err(|error| lost(&error))?;
    let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| lost(&error))? {
        if body.len() + chunk.len() > CAP {
            return Err(Wire::Lost("the answer is larger than 1 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answered { status, retry_after, body })
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
