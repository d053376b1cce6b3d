//! The default exchanger: the `oauth2` crate over `reqwest`.
//!
//! 30 s, no redirects, 1 MiB, and nothing is ever sent twice.

use std::time::Duration;

use async_trait::async_trait;
use oauth2::{
    AsyncHttpClient, AuthType, HttpRequest, HttpResponse, RequestTokenError, StandardTokenResponse,
    TokenResponse, TokenUrl,
    basic::{BasicErrorResponse, BasicTokenType},
};
use reqwest::header::AUTHORIZATION;
use serde::{Deserialize, Serialize};

use super::{
    AccessToken, ClientAuth, CodeGrant, Connector, ExchangeClass, ExchangeError, RefreshToken,
    TokenAnswer, TokenExchange, answer,
    http_wire::{Wire, basic, send},
};
use crate::http_client;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Exchanges tokens over HTTP.
#[derive(Debug, Clone)]
pub struct HttpExchange {
    pub(super) client: reqwest::Client,
}

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be made: {0}; is the CA bundle PEM?")]
pub struct HttpExchangeError(String);

/// What the RFC does not know, in the form that `answer` brings it into.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Extra {
    /// Seconds.
    refresh_token_expires_in: Option<u64>,
}

impl oauth2::ExtraTokenFields for Extra {}

type Answer = StandardTokenResponse<Extra, BasicTokenType>;
type Heard = Result<Answer, RequestTokenError<ExchangeError, BasicErrorResponse>>;

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
        let client = http_client::client(bundle, TIMEOUT).map_err(HttpExchangeError)?;
        Ok(Self { client })
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
        let (client, once) = (oauth2_client(connector)?, self.once(connector)?);
        let mut request = client
            .exchange_code(oauth2::AuthorizationCode::new(grant.code.secret().to_owned()))
            .set_pkce_verifier(oauth2::PkceCodeVerifier::new(grant.verifier.secret().to_owned()))
            .set_redirect_uri(std::borrow::Cow::Owned(redirect));
        if !grant.resource.is_empty() {
            request = request.add_extra_param("resource", grant.resource);
        }
        heard(request.request_async(&once).await)
    }

    async fn exchange_refresh_token(
        &self,
        connector: &Connector,
        refresh_token: &RefreshToken,
    ) -> Result<TokenAnswer, ExchangeError> {
        let (client, once) = (oauth2_client(connector)?, self.once(connector)?);
        let token = oauth2::RefreshToken::new(refresh_token.secret().to_owned());
        heard(client.exchange_refresh_token(&token).request_async(&once).await)
    }

    async fn exchange_client_credentials(
        &self,
        connector: &Connector,
    ) -> Result<TokenAnswer, ExchangeError> {
        let (client, once) = (oauth2_client(connector)?, self.once(connector)?);
        let scopes = connector.scopes.iter().cloned().map(oauth2::Scope::new);
        let request = client.exchange_client_credentials().add_scopes(scopes);
        heard(request.request_async(&once).await)
    }
}

impl HttpExchange {
    fn once(&self, connector: &Connector) -> Result<Once, ExchangeError> {
        let authorization = match (&connector.client_secret, connector.client_auth) {
            (Some(secret), ClientAuth::Basic) => Some(basic(connector, secret)?),
            _ => None,
        };
        Ok(Once { client: self.client.clone(), authorization })
    }
}

type Client = oauth2::Client<
    BasicErrorResponse,
    Answer,
    oauth2::basic::BasicTokenIntrospectionResponse,
    oauth2::StandardRevocableToken,
    oauth2::basic::BasicRevocationErrorResponse,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
>;

fn oauth2_client(connector: &Connector) -> Result<Client, ExchangeError> {
    let Some(token_url) = &connector.token_url else {
        let what = "the connector has no token endpoint";
        return Err(ExchangeError::new(ExchangeClass::Config, what));
    };
    let client = oauth2::Client::new(oauth2::ClientId::new(connector.client_id.clone()))
        .set_token_uri(TokenUrl::from_url(token_url.clone()))
        .set_auth_type(match connector.client_auth {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Post | ClientAuth::None => AuthType::RequestBody,
        });
    Ok(match &connector.client_secret {
        Some(secret) if connector.client_auth != ClientAuth::None => {
            client.set_client_secret(oauth2::ClientSecret::new(secret.secret().to_owned()))
        }
        _ => client,
    })
}

fn heard(heard: Heard) -> Result<TokenAnswer, ExchangeError> {
    match heard {
        Ok(answer) => Ok(read(&answer)),
        Err(RequestTokenError::Request(error)) => Err(error),
        // It was in the RFC's form when it left `Once`.
        Err(_) => Err(ExchangeError::new(ExchangeClass::Undecided, "the answer is not readable")),
    }
}

/// The tokens in an answer of the token endpoint; `None` if it is not one.
pub(crate) fn tokens_in(body: &[u8]) -> Option<TokenAnswer> {
    let plain = answer::tokens_in(body)?;
    serde_json::from_slice(&plain).ok().map(|answer| read(&answer))
}

fn read(answer: &Answer) -> TokenAnswer {
    let scopes = answer
        .scopes()
        .map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "));
    TokenAnswer {
        access_token: AccessToken::new(answer.access_token().secret()),
        refresh_token: answer.refresh_token().map(|token| RefreshToken::new(token.secret())),
        expires_in: answer.expires_in(),
        refresh_expires_in: answer.extra_fields().refresh_token_expires_in.map(Duration::from_secs),
        scope: scopes,
    }
}

/// A request that is sent once. Its answer is judged here, where status and headers are known: what
/// goes on to the `oauth2` crate are tokens in the RFC's form.
struct Once {
    client: reqwest::Client,
    /// In place of what the crate wrote: some providers want it otherwise.
    authorization: Option<reqwest::header::HeaderValue>,
}

impl<'c> AsyncHttpClient<'c> for Once {
    type Error = ExchangeError;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, ExchangeError>> + Send + 'c>>;

    fn call(&'c self, mut request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            if let Some(value) = &self.authorization {
                request.headers_mut().insert(AUTHORIZATION, value.clone());
            }
            let request = reqwest::Request::try_from(request)
                .map_err(|_| Wire::NotSent("the request cannot be built"))?;
            let tokens = answer::judged(&send(&self.client, request).await?)?;
            Ok(HttpResponse::new(tokens))
        })
    }
}
