//! The registry: connectors that were checked once, and do not change any more.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use url::Url;

use super::{AuthType, ClientAuth, ConnectionError, Connector, Quirk};
use crate::metric::SharedString;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The connectors that are known: frozen once made. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    connectors: Arc<BTreeMap<Arc<str>, Connector>>,
}

/// Why something is not a connector. Names the connector, the field and the remedy, no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectorError {
    /// The slug has other characters, or too many.
    #[error("a connector's slug is 1 to 32 of the characters a-z, 0-9 and -")]
    Slug,
    /// A field is missing, out of place, or out of range.
    #[error("connector {slug}: {field} {fix}")]
    Field {
        /// The connector.
        slug: String,
        /// The field.
        field: &'static str,
        /// What it must be.
        fix: &'static str,
    },
    /// Two of one slug.
    #[error("connector {0} is there twice: each slug is for one")]
    Twice(String),
}

impl ConnectorError {
    pub(super) fn field(slug: &str, field: &'static str, fix: &'static str) -> Self {
        Self::Field { slug: slug.to_owned(), field, fix }
    }
}

impl Registry {
    /// Checks these as a whole, and freezes them.
    ///
    /// # Errors
    ///
    /// The first [`ConnectorError`].
    pub fn new(connectors: impl IntoIterator<Item = Connector>) -> Result<Self, ConnectorError> {
        let mut known = BTreeMap::new();
        for connector in connectors {
            check(&connector)?;
            if let Some(twice) = known.insert(Arc::from(&*connector.slug), connector) {
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

    /// What a connector is called where things are counted: its slug, or `unknown`, whatever text
    /// a record has in its place.
    pub(super) fn label(&self, slug: &str) -> SharedString {
        let known = self.connectors.get_key_value(slug);
        known.map_or(SharedString::const_str("unknown"), |(slug, _)| slug.clone().into())
    }

    /// A known slug, as it stands here: a caller's own text is for no span.
    pub(super) fn slug(&self, slug: &str) -> Option<&str> {
        self.connectors.get_key_value(slug).map(|(slug, _)| &**slug)
    }

    /// All of them, by slug.
    pub fn list(&self) -> impl Iterator<Item = &Connector> {
        self.connectors.values()
    }
}

fn check(connector: &Connector) -> Result<(), ConnectorError> {
    check_slug(&connector.slug)?;
    check_urls(connector)?;
    let faults = [misplaced(connector), client_fault(connector), range_fault(connector)];
    match faults.into_iter().flatten().next() {
        Some((field, fix)) => Err(ConnectorError::field(&connector.slug, field, fix)),
        None => Ok(()),
    }
}

pub(super) fn check_slug(slug: &str) -> Result<(), ConnectorError> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = (1..=32).contains(&slug.len()) && slug.bytes().all(fits);
    if good { Ok(()) } else { Err(ConnectorError::Slug) }
}

pub(super) fn check_urls(connector: &Connector) -> Result<(), ConnectorError> {
    for (field, url) in [
        ("authorize_url", &connector.authorize_url),
        ("token_url", &connector.token_url),
        ("device_authorization_url", &connector.device_authorization_url),
    ] {
        if let Some(fix) = url.as_ref().and_then(url_fault) {
            return Err(ConnectorError::field(&connector.slug, field, fix));
        }
    }
    Ok(())
}

type Fault = Option<(&'static str, &'static str)>;

/// What the auth type needs and is not there, or is there and has no meaning.
fn misplaced(connector: &Connector) -> Fault {
    let urls = [
        ("authorize_url", connector.authorize_url.is_some()),
        ("token_url", connector.token_url.is_some()),
    ];
    let (needed, why): (&[&str], _) = match connector.auth {
        AuthType::OAuth2 => (&["authorize_url", "token_url"], "is missing: oauth2 needs it"),
        AuthType::ClientCredentials => (&["token_url"], "is missing: client_credentials needs it"),
        AuthType::ApiKey | AuthType::ApiKeyAndSecret => (&[], ""),
    };
    for (field, given) in urls {
        match (given, needed.contains(&field)) {
            (false, true) => return Some((field, why)),
            (true, false) => return Some((field, "has no meaning for this auth: leave it out")),
            _ => {}
        }
    }
    let secret = connector.client_secret.is_some();
    match connector.auth {
        AuthType::ClientCredentials if !secret => {
            Some(("client_secret", "is missing: client_credentials needs it"))
        }
        auth if auth.is_key() && secret => {
            Some(("client_secret", "has no meaning for this auth: a key is stored for each owner"))
        }
        auth if auth.is_key() && !connector.client_id.is_empty() => {
            Some(("client_id", "has no meaning for this auth: leave it out"))
        }
        auth if !auth.is_key() && connector.client_id.is_empty() => {
            Some(("client_id", "is missing: the provider knows the host by it"))
        }
        _ => None,
    }
}

fn client_fault(connector: &Connector) -> Fault {
    let printable = |text: &str| !text.chars().any(char::is_control);
    let secret = connector.client_secret.as_ref().map(super::ClientSecret::secret);
    let raw = connector.quirks.contains(&Quirk::RawBasic);
    if !printable(&connector.client_id) {
        return Some(("client_id", "has a control character: is a line end in it?"));
    }
    match secret {
        Some("") => return Some(("client_secret", "is empty: leave it out for a public client")),
        Some(text) if !printable(text) => {
            return Some(("client_secret", "has a control character: is a line end in it?"));
        }
        Some(_) if connector.client_auth == ClientAuth::None => {
            return Some((
                "client_auth",
                "is none, where there is a secret: leave one of them out",
            ));
        }
        None if connector.client_auth == ClientAuth::Post => {
            return Some(("client_secret", "is missing: client_auth post sends it"));
        }
        _ => {}
    }
    if raw && connector.client_auth != ClientAuth::Basic {
        return Some(("quirks", "raw_basic is about client_auth basic only"));
    }
    // RFC 7617 section 2: the first colon ends the identifier.
    (raw && connector.client_id.contains(':'))
        .then_some(("client_id", "has a colon, which raw_basic cannot send"))
}

fn range_fault(connector: &Connector) -> Fault {
    let a_scope = |scope: &String| {
        // RFC 6749 section 3.3.
        !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
    };
    if !connector.scopes.iter().all(a_scope) {
        return Some((
            "scopes",
            "has one that is empty, or has a space or a quote: one scope each",
        ));
    }
    if connector.refresh_lead > DAY {
        return Some(("refresh_lead", "is at most a day"));
    }
    if connector.max_lifetime.is_some() && connector.auth != AuthType::OAuth2 {
        return Some(("max_lifetime", "has no meaning for this auth: leave it out"));
    }
    if connector.max_lifetime.is_some_and(|most| most <= HOUR) {
        return Some(("max_lifetime", "is more than an hour; leave it out if it is not known"));
    }
    if connector.serve_margin > connector.refresh_lead {
        return Some(("serve_margin", "is at most refresh_lead, or nothing is served while warm"));
    }
    let per = connector.rate.map(|rate| rate.per);
    per.filter(|per| *per < Duration::from_millis(1) || *per > DAY)
        .map(|_| ("rate", "is for 1 ms to a day"))
}

/// https, or a loopback address where nobody listens in.
fn url_fault(url: &Url) -> Option<&'static str> {
    let private = match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(url::Host::Domain(name))) => name == "localhost",
        ("http", Some(url::Host::Ipv4(ip))) => ip.is_loopback(),
        ("http", Some(url::Host::Ipv6(ip))) => ip.is_loopback(),
        _ => false,
    };
    if !private {
        Some("must be https, or http on loopback")
    } else if url.fragment().is_some() {
        Some("must have no fragment (RFC 6749 section 3)")
    } else if !url.username().is_empty() || url.password().is_some() {
        Some("must have no user in it: give client_id and client_secret")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{ClientSecret, RateProfile};

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
        for bad in [
            "http://p.example/t",
            "http://10.0.0.1/t",
            "ftp://127.0.0.1/t",
            "https://p.example/t#f",
            "https://user:pw@p.example/t",
        ] {
            let error = connector("p", bad).unwrap_err();
            assert!(matches!(error, ConnectorError::Field { field: "token_url", .. }), "{bad}");
        }
        assert_eq!(connector("P{}", "https://p/t").unwrap_err(), ConnectorError::Slug);
    }

    #[test]
    fn a_registry_knows_each_once() {
        let one = connector("p", "https://p.example/t").unwrap();
        let registry = Registry::new([one.clone()]).unwrap();
        assert_eq!((&*registry.label("p"), &*registry.label("alice@x")), ("p", "unknown"));
        assert_eq!(registry.lookup("p").unwrap().slug, "p");
        assert!(registry.lookup("q").is_err());
        assert_eq!(
            Registry::new([one.clone(), one]).unwrap_err(),
            ConnectorError::Twice("p".into())
        );
    }

    /// V-8: an error names the connector, the field and the remedy, and no value.
    #[test]
    fn a_wrong_connector_is_named_with_its_field() {
        type Spoil = fn(&mut Connector);
        let secret = |text: &str| Some(ClientSecret::new(text));
        let key = Connector::api_key("p", AuthType::ApiKey).unwrap();
        let url = || Url::parse("https://p.example/t").unwrap();
        let host = Connector::client_credentials("p", url(), "c", ClientSecret::new("s")).unwrap();
        let user = connector("p", "https://p.example/t").unwrap();
        let cases: [(&Connector, Spoil, &str); 20] = [
            (&user, |c| c.authorize_url = None, "authorize_url"),
            (&user, |c| c.token_url = None, "token_url"),
            (&user, |c| c.client_id.clear(), "client_id"),
            (&user, |c| c.client_id.push('\n'), "client_id"),
            (&user, |c| c.client_auth = ClientAuth::Post, "client_secret"),
            (&user, |c| c.scopes = vec!["a b".into()], "scopes"),
            (&user, |c| c.scopes = vec![String::new()], "scopes"),
            (&user, |c| c.refresh_lead = DAY * 2, "refresh_lead"),
            (&user, |c| c.serve_margin = Duration::from_secs(301), "serve_margin"),
            (&user, |c| c.max_lifetime = Some(HOUR), "max_lifetime"),
            (&user, |c| c.max_lifetime = Some(HOUR * 2), ""),
            (&host, |c| c.max_lifetime = Some(DAY), "max_lifetime"),
            (&user, |c| c.device_authorization_url = c.token_url.clone(), ""),
            (&user, |c| c.slug = "P".into(), "slug"),
            (&host, |c| c.client_secret = None, "client_secret"),
            (&host, |c| c.client_auth = ClientAuth::None, "client_auth"),
            (&host, |c| c.authorize_url = c.token_url.clone(), "authorize_url"),
            (&host, |c| c.client_auth = ClientAuth::Basic, ""),
            (&key, |c| c.client_id = "c".into(), "client_id"),
            (&key, |_| {}, ""),
        ];
        for (good, spoil, field) in cases {
            let mut connector = good.clone();
            spoil(&mut connector);
            let said = Registry::new([connector]).map_or_else(|e| e.to_string(), |_| String::new());
            assert_eq!(said.is_empty(), field.is_empty(), "{field}: {said}");
            assert!(said.contains(field), "{field}: {said}");
        }

        let spoiled = |good: &Connector, text: &str| {
            let mut connector = good.clone();
            connector.client_secret = secret(text);
            Registry::new([connector]).unwrap_err().to_string()
        };
        assert!(spoiled(&key, "hunter2").contains("client_secret"));
        for text in ["", "hunter2\n"] {
            let said = spoiled(&user, text);
            assert!(said.contains("client_secret") && !said.contains("hunter2"), "{said}");
        }

        let mut raw = user.clone();
        raw.quirks.insert(Quirk::RawBasic);
        assert!(Registry::new([raw.clone()]).is_ok());
        raw.client_id = "a:b".into();
        assert!(Registry::new([raw.clone()]).unwrap_err().to_string().contains("client_id"));
        raw.client_auth = ClientAuth::None;
        assert!(Registry::new([raw]).unwrap_err().to_string().contains("quirks"));

        let mut rated = user;
        for (per, good) in [(0, false), (1, true), (86_400_000, true), (86_400_001, false)] {
            let calls = 1.try_into().unwrap();
            rated.rate = Some(RateProfile { calls, per: Duration::from_millis(per) });
            assert_eq!(Registry::new([rated.clone()]).is_ok(), good, "{per}");
        }
        assert!(Connector::api_key("p", AuthType::OAuth2).is_err());
    }
}
