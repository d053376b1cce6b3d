//! `[[connectors]]`: what the config file says of each provider.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use url::Url;
use vestibule::connection::{
    AuthType, ClientAuth, ClientSecret, Connector, Quirk, RateProfile, ReplayPolicy, WellKnown,
};

use super::variable;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectorEntry {
    slug: String,
    well_known: Option<String>,
    auth: Option<AuthEntry>,
    authorize_url: Option<String>,
    token_url: Option<String>,
    device_authorization_url: Option<String>,
    client_id: Option<String>,
    client_secret_env: Option<String>,
    client_secret_file: Option<PathBuf>,
    client_auth: Option<ClientAuthEntry>,
    scopes: Option<Vec<String>>,
    issuer: Option<String>,
    refresh_lead_s: Option<u64>,
    serve_margin_s: Option<u64>,
    max_lifetime_s: Option<u64>,
    replay_grace_s: Option<u64>,
    rate: Option<RateEntry>,
    concurrency: Option<NonZeroU16>,
    #[serde(default)]
    quirks: Vec<QuirkEntry>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AuthEntry {
    Oauth2,
    ClientCredentials,
    ApiKey,
    ApiKeyAndSecret,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClientAuthEntry {
    Basic,
    Post,
    None,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateEntry {
    calls: std::num::NonZeroU32,
    per_s: u64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum QuirkEntry {
    RawBasic,
}

impl ConnectorEntry {
    pub(super) fn slug(&self) -> &str {
        &self.slug
    }

    /// The connector. The registry checks it as a whole.
    pub(super) fn connector(&self) -> anyhow::Result<Connector> {
        let secret = self.secret()?;
        let mut connector = self.begin(secret)?;
        self.settle_client(&mut connector)?;
        connector.slug.clone_from(&self.slug);
        if let Some(scopes) = &self.scopes {
            connector.scopes.clone_from(scopes);
        }
        connector.issuer = self.issuer.clone().or(connector.issuer);
        if let Some(seconds) = self.refresh_lead_s {
            connector.refresh_lead = Duration::from_secs(seconds);
        }
        if let Some(seconds) = self.serve_margin_s {
            connector.serve_margin = Duration::from_secs(seconds);
        }
        connector.max_lifetime =
            self.max_lifetime_s.map(Duration::from_secs).or(connector.max_lifetime);
        match self.replay_grace_s {
            Some(0) => connector.replay = ReplayPolicy::Strict,
            Some(seconds) => connector.replay = ReplayPolicy::Grace(Duration::from_secs(seconds)),
            None => {}
        }
        if let Some(RateEntry { calls, per_s }) = self.rate {
            connector.rate = Some(RateProfile { calls, per: Duration::from_secs(per_s) });
        }
        connector.concurrency = self.concurrency;
        connector.quirks.extend(self.quirks.iter().map(|quirk| match quirk {
            QuirkEntry::RawBasic => Quirk::RawBasic,
        }));
        Ok(connector)
    }

    /// From the catalogue, or from nothing; with what only one auth type has.
    fn begin(&self, secret: Option<ClientSecret>) -> anyhow::Result<Connector> {
        let slug = self.slug.as_str();
        let client_id = self.client_id.clone().unwrap_or_default();
        let mut connector = if let Some(name) = &self.well_known {
            if self.auth.is_some() {
                bail!("connector {slug}: give well_known or auth, not both");
            }
            let known = WellKnown::lookup(name).ok_or_else(|| {
                let known: Vec<_> = WellKnown::list().map(|known| known.slug).collect();
                anyhow!("connector {slug}: well_known is one of {}", known.join(", "))
            })?;
            known.connector(client_id)?
        } else {
            match self.auth.unwrap_or(AuthEntry::Oauth2) {
                AuthEntry::Oauth2 => {
                    let authorize = self.needed("authorize_url", self.authorize_url.as_deref())?;
                    let token = self.needed("token_url", self.token_url.as_deref())?;
                    Connector::new(slug, authorize, token, client_id)?
                }
                AuthEntry::ClientCredentials => {
                    let token = self.needed("token_url", self.token_url.as_deref())?;
                    let secret = secret.clone().ok_or_else(|| {
                        anyhow!(
                            "connector {slug}: client_secret is missing: give client_secret_env \
                             or client_secret_file"
                        )
                    })?;
                    Connector::client_credentials(slug, token, client_id, secret)?
                }
                AuthEntry::ApiKey => Connector::api_key(slug, AuthType::ApiKey)?,
                AuthEntry::ApiKeyAndSecret => Connector::api_key(slug, AuthType::ApiKeyAndSecret)?,
            }
        };
        connector.client_secret = secret;
        connector.client_id = self.client_id.clone().unwrap_or_default();
        for (field, text, place) in [
            ("authorize_url", &self.authorize_url, &mut connector.authorize_url),
            ("token_url", &self.token_url, &mut connector.token_url),
            (
                "device_authorization_url",
                &self.device_authorization_url,
                &mut connector.device_authorization_url,
            ),
        ] {
            if let Some(text) = text {
                *place = Some(self.url(field, text)?);
            }
        }
        Ok(connector)
    }

    /// How the host shows who it is: in a file, a secret that is not sent is a mistake, and so is
    /// one that is not there.
    fn settle_client(&self, connector: &mut Connector) -> anyhow::Result<()> {
        let has_secret = connector.client_secret.is_some();
        match self.client_auth {
            None if !has_secret => connector.client_auth = ClientAuth::None,
            None => {}
            Some(ClientAuthEntry::None) => connector.client_auth = ClientAuth::None,
            Some(_) if !has_secret => bail!(
                "connector {}: client_auth sends a secret: give client_secret_env or \
                 client_secret_file, or client_auth = \"none\" for a public client",
                self.slug
            ),
            Some(ClientAuthEntry::Basic) => connector.client_auth = ClientAuth::Basic,
            Some(ClientAuthEntry::Post) => connector.client_auth = ClientAuth::Post,
        }
        Ok(())
    }

    fn secret(&self) -> anyhow::Result<Option<ClientSecret>> {
        let slug = &self.slug;
        let text = match (&self.client_secret_env, &self.client_secret_file) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                bail!("connector {slug}: give client_secret_env or client_secret_file, not both")
            }
            (Some(name), None) => variable(name).ok_or_else(|| {
                anyhow!("connector {slug}: client_secret_env names {name}, which is not set")
            })?,
            (None, Some(path)) => std::fs::read_to_string(path).with_context(|| {
                format!("connector {slug}: client_secret_file: cannot read {}", path.display())
            })?,
        };
        Ok(Some(ClientSecret::new(text.trim_end())))
    }

    fn needed(&self, field: &'static str, text: Option<&str>) -> anyhow::Result<Url> {
        let text = text.ok_or_else(|| {
            anyhow!("connector {}: {field} is missing: give it, or well_known", self.slug)
        })?;
        self.url(field, text)
    }

    fn url(&self, field: &'static str, text: &str) -> anyhow::Result<Url> {
        // Not the parser's own text: it may repeat a password.
        Url::parse(text).map_err(|_| {
            anyhow!("connector {}: {field} must be an absolute URL, https://host/path", self.slug)
        })
    }
}
