//! Connectors: the providers that a host connects to.

use std::{
    collections::BTreeSet,
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use url::Url;

use super::{ClientSecret, ConnectorError, ReplayPolicy, registry};

/// How one provider is talked to. A [`Registry`](super::Registry) checks it as a whole.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connector {
    /// Its name in records, logs and metrics: `[a-z0-9-]{1,32}`.
    pub slug: String,
    /// What its credentials are, and how they are come by.
    pub auth: AuthType,
    /// Where users are sent. A query that is in it stays: `?access_type=offline`, say.
    pub authorize_url: Option<Url>,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: Option<Url>,
    /// Where device codes are asked for (RFC 8628 section 3.1); `None` if it has none.
    pub device_authorization_url: Option<Url>,
    /// The host's name there.
    pub client_id: String,
    /// The host's secret there; `None` for a public client.
    pub client_secret: Option<ClientSecret>,
    /// How the host shows who it is.
    pub client_auth: ClientAuth,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The `iss` that its callbacks carry (RFC 9207); `None` if it sends none.
    pub issuer: Option<String>,
    /// How long before its end a token is refreshed. Default 5 min; at most a day.
    pub refresh_lead: Duration,
    /// For so long after a sign-in the provider refreshes its grant, however often; then the user
    /// must sign in again. `None`, the default, if that is not known. More than an hour.
    pub max_lifetime: Option<Duration>,
    /// How much life a token must have left to be served. Default 30 s; at most `refresh_lead`.
    pub serve_margin: Duration,
    /// What it does about a refresh token that is presented twice.
    pub replay: ReplayPolicy,
    /// How many calls it takes of all replicas together; `None` if that is not known. Refreshes stand
    /// in line; a sign-in, which counts too, waits for 5 s at the most, and must be started again then.
    pub rate: Option<RateProfile>,
    /// How many calls may be under way at once, on all replicas; `None` for any number.
    pub concurrency: Option<NonZeroU16>,
    /// What it does unlike others.
    pub quirks: BTreeSet<Quirk>,
}

/// What a connector's credentials are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AuthType {
    /// A user signs in; access tokens are refreshed (RFC 6749 sections 4.1 and 6).
    #[default]
    OAuth2,
    /// The host itself is given access tokens (RFC 6749 section 4.4). There is no refresh token:
    /// the next one is asked for as the first was.
    ClientCredentials,
    /// A key that a user pastes. It is never refreshed.
    ApiKey,
    /// A key and its secret that a user pastes. They are never refreshed.
    ApiKeyAndSecret,
}

impl AuthType {
    /// Its word, for configuration and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OAuth2 => "oauth2",
            Self::ClientCredentials => "client_credentials",
            Self::ApiKey => "api_key",
            Self::ApiKeyAndSecret => "api_key_and_secret",
        }
    }

    pub(super) const fn is_key(self) -> bool {
        matches!(self, Self::ApiKey | Self::ApiKeyAndSecret)
    }
}

/// How a client authenticates (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ClientAuth {
    /// HTTP Basic, form-encoded as the RFC says; see [`Quirk::RawBasic`]. Without a secret, as
    /// [`None`](Self::None).
    #[default]
    Basic,
    /// In the body.
    Post,
    /// Not at all: a public client only names itself (RFC 6749 section 2.1).
    None,
}

/// What a provider does unlike others, and must be told.
///
/// What its answers show by themselves needs no switch: a refresh token that is left out keeps the
/// old one, an error is found under status 200, and a form-encoded answer is read like JSON,
/// whoever sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Quirk {
    /// HTTP Basic takes identifier and secret as they are, not form-encoded.
    RawBasic,
}

/// How many calls a provider takes: of one account, and so of all owners together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateProfile {
    /// So many calls …
    pub calls: NonZeroU32,
    /// … in so long: 1 ms to a day.
    pub per: Duration,
}

impl Connector {
    /// An [OAuth 2](AuthType::OAuth2) connector with the defaults: Basic, no scopes, lead 5 min,
    /// margin 30 s, strict.
    ///
    /// # Errors
    ///
    /// [`ConnectorError`] for a bad slug, or a URL over which a secret would travel in the open.
    pub fn new(
        slug: impl Into<String>,
        authorize_url: Url,
        token_url: Url,
        client_id: impl Into<String>,
    ) -> Result<Self, ConnectorError> {
        let connector = Self {
            authorize_url: Some(authorize_url),
            token_url: Some(token_url),
            client_id: client_id.into(),
            ..Self::bare(slug.into(), AuthType::OAuth2)
        };
        registry::check_slug(&connector.slug)?;
        registry::check_urls(&connector)?;
        Ok(connector)
    }

    /// A connector whose host is its only user ([`AuthType::ClientCredentials`]). Nothing is
    /// rotated, so a lost answer is asked for again at once.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn client_credentials(
        slug: impl Into<String>,
        token_url: Url,
        client_id: impl Into<String>,
        client_secret: ClientSecret,
    ) -> Result<Self, ConnectorError> {
        let connector = Self {
            token_url: Some(token_url),
            client_id: client_id.into(),
            client_secret: Some(client_secret),
            replay: ReplayPolicy::Grace(Duration::from_secs(3600)),
            ..Self::bare(slug.into(), AuthType::ClientCredentials)
        };
        registry::check_slug(&connector.slug)?;
        registry::check_urls(&connector)?;
        Ok(connector)
    }

    /// A connector whose users paste a key, or a key and its secret.
    ///
    /// # Errors
    ///
    /// [`ConnectorError`] for a bad slug, or for an `auth` that is not of keys.
    pub fn api_key(slug: impl Into<String>, auth: AuthType) -> Result<Self, ConnectorError> {
        let connector = Self::bare(slug.into(), auth);
        registry::check_slug(&connector.slug)?;
        if !auth.is_key() {
            let fix = "is api_key or api_key_and_secret here";
            return Err(ConnectorError::field(&connector.slug, "auth", fix));
        }
        Ok(connector)
    }

    /// With the endpoint where device codes are asked for.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::Field`] for one over which a secret would travel in the open.
    pub fn with_device_authorization(mut self, url: Url) -> Result<Self, ConnectorError> {
        self.device_authorization_url = Some(url);
        registry::check_urls(&self)?;
        Ok(self)
    }

    /// The host that is asked for tokens, for events; empty if there is none.
    #[must_use]
    pub fn idp_host(&self) -> &str {
        self.token_url.as_ref().and_then(Url::host_str).unwrap_or_default()
    }

    fn bare(slug: String, auth: AuthType) -> Self {
        Self {
            slug,
            auth,
            authorize_url: None,
            token_url: None,
            device_authorization_url: None,
            client_id: String::new(),
            client_secret: None,
            client_auth: ClientAuth::default(),
            scopes: Vec::new(),
            issuer: None,
            refresh_lead: Duration::from_secs(300),
            max_lifetime: None,
            serve_margin: Duration::from_secs(30),
            replay: ReplayPolicy::Strict,
            rate: None,
            concurrency: None,
            quirks: BTreeSet::new(),
        }
    }
}
