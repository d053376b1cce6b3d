//! Connectors: the providers that a host connects to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use url::Url;

use super::{ClientSecret, ConnectionError};

/// How one provider is talked to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connector {
    /// Its name in records, logs and metrics: `[a-z0-9-]{1,32}`.
    pub slug: String,
    /// Where users are sent.
    pub authorize_url: Url,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: Url,
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
    /// How long before its end a token is refreshed. Default 5 min.
    pub refresh_lead: Duration,
    /// How much life a token must have left to be served. Default 30 s.
    pub serve_margin: Duration,
    /// What it does about a refresh token that is presented twice.
    pub replay: ReplayPolicy,
}

/// How a client authenticates (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ClientAuth {
    /// HTTP Basic, form-encoded as the RFC says.
    #[default]
    Basic,
    /// In the body.
    Post,
}

/// What a provider does about a refresh token that is presented twice, which a crash between its
/// answer and our commit makes unavoidable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayPolicy {
    /// It accepts it for so long after the first time. With 30 s or more a successor of a crashed
    /// replica arrives in time.
    Grace(Duration),
    /// It revokes everything (RFC 9700 section 4.14.2).
    Strict,
}

impl ReplayPolicy {
    /// Whether a lease is short, and renewed as long as the provider takes: where a successor that
    /// comes soon is forgiven. Elsewhere an overlap costs the account: the lease is long, nobody
    /// renews it, and the exchange ends before it does.
    pub(super) fn renews(self) -> bool {
        matches!(self, Self::Grace(grace) if grace >= Duration::from_secs(30))
    }

    /// How long a lease lasts. A renewed one is three times [its pause](Self::renews), so that two
    /// renewals may fail. The other is the longest answer that is waited for, and 5 s to begin in.
    pub(super) fn lease(self) -> Duration {
        if self.renews() { Duration::from_secs(12) } else { Duration::from_secs(30) }
    }

    /// How long an answer is waited for: a lost one must be asked for again inside the grace, and
    /// a lease that is not renewed must not end before it.
    pub(super) fn patience(self) -> Duration {
        match self {
            Self::Grace(grace) => {
                (grace / 2).clamp(Duration::from_secs(5), Duration::from_secs(25))
            }
            Self::Strict => Duration::from_secs(25),
        }
    }

    /// How long after the first time a token may be presented again without harm.
    pub(super) fn forgiven(self) -> Duration {
        match self {
            Self::Grace(grace) => grace,
            Self::Strict => Duration::ZERO,
        }
    }
}

/// Why something is not a connector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectorError {
    /// The slug has other characters, or too many.
    #[error("a connector's slug is 1 to 32 of the characters a-z, 0-9 and -")]
    Slug,
    /// A URL is not one that tokens may be sent to.
    #[error("{which} of connector {slug} must be https, or http on loopback")]
    Url {
        /// The connector.
        slug: String,
        /// Which of its URLs.
        which: &'static str,
    },
    /// Two of one slug.
    #[error("connector {0} is there twice")]
    Twice(String),
}

impl Connector {
    /// A connector with the defaults: Basic, no scopes, lead 5 min, margin 30 s, strict.
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
        let slug = slug.into();
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&slug.len()) || !slug.bytes().all(fits) {
            return Err(ConnectorError::Slug);
        }
        for (which, url) in [("authorize_url", &authorize_url), ("token_url", &token_url)] {
            if !is_private(url) {
                return Err(ConnectorError::Url { slug, which });
            }
        }
        Ok(Self {
            slug,
            authorize_url,
            token_url,
            device_authorization_url: None,
            client_id: client_id.into(),
            client_secret: None,
            client_auth: ClientAuth::default(),
            scopes: Vec::new(),
            issuer: None,
            refresh_lead: Duration::from_secs(300),
            serve_margin: Duration::from_secs(30),
            replay: ReplayPolicy::Strict,
        })
    }

    /// With the endpoint where device codes are asked for.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::Url`] for one over which a secret would travel in the open.
    pub fn with_device_authorization(mut self, url: Url) -> Result<Self, ConnectorError> {
        if !is_private(&url) {
            let which = "device_authorization_url";
            return Err(ConnectorError::Url { slug: self.slug, which });
        }
        self.device_authorization_url = Some(url);
        Ok(self)
    }
}

/// The connectors that are known: frozen once made.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    connectors: Arc<BTreeMap<String, Connector>>,
}

impl Registry {
    /// Freezes these.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::Twice`].
    pub fn new(connectors: impl IntoIterator<Item = Connector>) -> Result<Self, ConnectorError> {
        let mut known = BTreeMap::new();
        for connector in connectors {
            if let Some(twice) = known.insert(connector.slug.clone(), connector) {
                return Err(ConnectorError::Twice(twice.slug));
            }
        }
        Ok(Self { connectors: Arc::new(known) })
    }

    /// The connector of this slug.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::UnknownConnector`].
    pub fn lookup(&self, slug: &str) -> Result<&Connector, ConnectionError> {
        self.connectors.get(slug).ok_or_else(|| ConnectionError::UnknownConnector {
            slug: slug.chars().filter(|c| !c.is_control()).take(32).collect(),
        })
    }

    /// All of them, by slug.
    pub fn list(&self) -> impl Iterator<Item = &Connector> {
        self.connectors.values()
    }
}

/// https, or a loopback address where nobody listens in.
fn is_private(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(url::Host::Domain(name))) => name == "localhost",
        ("http", Some(url::Host::Ipv4(ip))) => ip.is_loopback(),
        ("http", Some(url::Host::Ipv6(ip))) => ip.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(slug: &str, token_url: &str) -> Result<Connector, ConnectorError> {
        let authorize = Url::parse("https://p.example/authorize").unwrap();
        Connector::new(slug, authorize, Url::parse(token_url).unwrap(), "client")
    }

    #[test]
    fn tokens_do_not_travel_in_the_open() {
        for good in
            ["https://p.example/t", "http://127.0.0.1:1/t", "http://[::1]/t", "http://localhost/t"]
        {
            assert!(connector("p", good).is_ok(), "{good}");
        }
        for bad in ["http://p.example/t", "http://10.0.0.1/t", "ftp://127.0.0.1/t"] {
            assert!(matches!(connector("p", bad), Err(ConnectorError::Url { .. })), "{bad}");
        }
        assert_eq!(connector("P{}", "https://p/t").unwrap_err(), ConnectorError::Slug);
    }

    #[test]
    fn a_registry_knows_each_once() {
        let one = connector("p", "https://p.example/t").unwrap();
        let registry = Registry::new([one.clone()]).unwrap();
        assert_eq!(registry.lookup("p").unwrap().slug, "p");
        assert!(registry.lookup("q").is_err());
        assert_eq!(
            Registry::new([one.clone(), one]).unwrap_err(),
            ConnectorError::Twice("p".into())
        );
    }
}
