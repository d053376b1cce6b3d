//! The default exchanger: the `oauth2` crate over `reqwest`.
//!
//! 30 s, no redirects, 1 MiB, and nothing is ever sent twice.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use oauth2::{
    AsyncHttpClient, AuthType, HttpRequest, HttpResponse, RequestTokenError, TokenResponse,
    TokenUrl,
    basic::{BasicClient, BasicErrorResponse, BasicTokenResponse},
};

use super::{
    AccessToken, ClientAuth, CodeGrant, Connector, ExchangeClass, ExchangeError, RefreshToken,
    TokenAnswer, TokenExchange,
    http_wire::{Answered, Wire, send},
};

const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Exchanges tokens over HTTP.
#[derive(Debug, Clone)]
pub struct HttpExchange {
    pub(super) client: reqwest::Client,
}

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be made: {0}; is the CA bundle PEM?")]
pub struct HttpExchangeError(String);

type Failed = RequestTokenError<Wire, BasicErrorResponse>;

impl HttpExchange {
    /// Trusts the public roots.
    ///
    /// # Errors
    ///
    /// [`HttpExchangeError`] if there is no TLS to be had.
    pub fn new() -> Result<Self, HttpExchangeError> {
        Self::with_ca_pem(None)
    }

    /// Trusts the certificates of a PEM bundle as well.
    ///
    /// # Errors
    ///
    /// [`HttpExchangeError`] if the bundle cannot be read, before anything is sent.
    pub fn with_ca_pem(bundle: Option<&[u8]>) -> Result<Self, HttpExchangeError> {
        let told = |error: reqwest::Error| HttpExchangeError(error.to_string());
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // The library reads no environment: a proxy comes with a client of the host's.
            .no_proxy();
        if let Some(bundle) = bundle {
            let certificates = reqwest::Certificate::from_pem_bundle(bundle).map_err(told)?;
            if certificates.is_empty() {
                return Err(HttpExchangeError("the CA bundle has no certificate".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        Ok(Self { client: builder.build().map_err(told)? })
    }

    /// With a client of the host's (a proxy, say). It must not follow redirects or retry, and must
    /// have a timeout.
    #[must_use]
    pub fn with_client(client: reqwest::Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl TokenExchange for HttpExchange {
    async fn exchange_code(
        &self,
        connector: &Connector,
        grant: CodeGrant<'_>,
    ) -> Result<TokenAnswer, ExchangeError> {
        let redirect = oauth2::RedirectUrl::new(grant.redirect_uri.to_owned()).map_err(|_| {
            ExchangeError::new(ExchangeClass::Config, "the redirect URI is not a URL")
        })?;
        let (client, wire) = (oauth2_client(connector), self.once());
        let mut request = client
            .exchange_code(oauth2::AuthorizationCode::new(grant.code.secret().to_owned()))
            .set_pkce_verifier(oauth2::PkceCodeVerifier::new(grant.verifier.secret().to_owned()))
            .set_redirect_uri(std::borrow::Cow::Owned(redirect));
        if !grant.resource.is_empty() {
            request = request.add_extra_param("resource", grant.resource);
        }
        let answer = request.request_async(&wire).await;
        answer.map(|answer| read(&answer)).map_err(|error| classify(&error, &wire.seen()))
    }

    async fn exchange_refresh_token(
        &self,
        connector: &Connector,
        refresh_token: &RefreshToken,
    ) -> Result<TokenAnswer, ExchangeError> {
        let (client, wire) = (oauth2_client(connector), self.once());
        let token = oauth2::RefreshToken::new(refresh_token.secret().to_owned());
        let answer = client.exchange_refresh_token(&token).request_async(&wire).await;
        answer.map(|answer| read(&answer)).map_err(|error| classify(&error, &wire.seen()))
    }
}

impl HttpExchange {
    fn once(&self) -> Once {
        Once { client: self.client.clone(), seen: Arc::default() }
    }
}

type Client = oauth2::Client<
    BasicErrorResponse,
    BasicTokenResponse,
    oauth2::basic::BasicTokenIntrospectionResponse,
    oauth2::StandardRevocableToken,
    oauth2::basic::BasicRevocationErrorResponse,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
>;

fn oauth2_client(connector: &Connector) -> Client {
    let client = BasicClient::new(oauth2::ClientId::new(connector.client_id.clone()))
        .set_token_uri(TokenUrl::from_url(connector.token_url.clone()))
        .set_auth_type(match connector.client_auth {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Post => AuthType::RequestBody,
        });
    match &connector.client_secret {
        Some(secret) => {
            client.set_client_secret(oauth2::ClientSecret::new(secret.secret().to_owned()))
        }
        None => client,
    }
}

/// The tokens in an answer of the token endpoint; `None` if it is not one.
pub(crate) fn tokens_in(body: &[u8]) -> Option<TokenAnswer> {
    serde_json::from_slice(body).ok().map(|answer| read(&answer))
}

fn read(answer: &BasicTokenResponse) -> TokenAnswer {
    let trimmed = |text: &str| text.trim().to_owned();
    let scopes = answer
        .scopes()
        .map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "));
    TokenAnswer {
        access_token: AccessToken::new(trimmed(answer.access_token().secret())),
        refresh_token: answer
            .refresh_token()
            .map(|token| RefreshToken::new(trimmed(token.secret()))),
        expires_in: answer.expires_in(),
        scope: scopes,
    }
}

/// What was seen of the answer besides its body.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    status: Option<u16>,
    retry_after: Option<Duration>,
}

fn classify(error: &Failed, seen: &Seen) -> ExchangeError {
    let status = seen.status.unwrap_or_default();
    let told = match error {
        RequestTokenError::ServerResponse(answer) => of_code(answer.error().as_ref(), status),
        RequestTokenError::Request(Wire::NotSent(what)) => {
            ExchangeError::new(ExchangeClass::Transient, what)
        }
        RequestTokenError::Request(Wire::Lost(what)) => {
            ExchangeError::new(ExchangeClass::Undecided, what)
        }
        // Some providers say 200 and mean an error.
        RequestTokenError::Parse(_, body) => match error_in(body) {
            Some(code) => of_code(&code, status),
            None => unreadable(status),
        },
        RequestTokenError::Other(_) => unreadable(status),
    };
    told.retry_after(seen.retry_after)
}

/// Trouble at the provider's is trouble, whatever code it wraps it in.
fn of_code(code: &str, status: u16) -> ExchangeError {
    let class = if status >= 500 || status == 429 {
        ExchangeClass::Transient
    } else {
        ExchangeClass::of_code(code)
    };
    ExchangeError::new(class, code)
}

/// A success that cannot be read may have rotated the token; anything else decided nothing.
fn unreadable(status: u16) -> ExchangeError {
    let class = match status {
        200..=299 => ExchangeClass::Undecided,
        _ => ExchangeClass::Transient,
    };
    ExchangeError::new(class, &format!("status {status} without a readable answer"))
}

/// The error code in an answer, whatever its status says.
pub(crate) fn error_in(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    value.get("error")?.as_str().map(str::to_owned)
}

/// A request that is sent once.
struct Once {
    client: reqwest::Client,
    seen: Arc<Mutex<Seen>>,
}

impl Once {
    fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'c> AsyncHttpClient<'c> for Once {
    type Error = Wire;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, Wire>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let request = reqwest::Request::try_from(request)
                .map_err(|_| Wire::NotSent("the request cannot be built"))?;
            let Answered { status, retry_after, body, headers } =
                send(&self.client, request).await?;
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
                Seen { status: Some(status.as_u16()), retry_after };
            let mut response = HttpResponse::new(body);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        })
    }
}
