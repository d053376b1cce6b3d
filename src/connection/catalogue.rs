//! Providers that many hosts connect to. Each fact is of the provider's public documentation, which
//! is named beside it; what it does not say is left at the default.

use std::{num::NonZeroU32, time::Duration};

use url::Url;

use super::{AuthType, ClientAuth, Connector, ConnectorError, RateProfile, ReplayPolicy};

/// What is known of a provider without having registered there.
#[derive(Debug, Clone, Copy)]
pub struct WellKnown {
    /// Its slug here, and the connector's unless it is given another.
    pub slug: &'static str,
    /// What its credentials are.
    pub auth: AuthType,
    authorize_url: &'static str,
    token_url: &'static str,
    device_authorization_url: &'static str,
    client_auth: ClientAuth,
    replay: ReplayPolicy,
    rate: Option<(NonZeroU32, Duration)>,
}

impl WellKnown {
    /// The provider of this slug.
    #[must_use]
    pub fn lookup(slug: &str) -> Option<&'static Self> {
        CATALOGUE.iter().find(|known| known.slug == slug)
    }

    /// All of them, by slug.
    pub fn list() -> impl Iterator<Item = &'static Self> {
        CATALOGUE.iter()
    }

    /// A connector of it, for the host that it knows as `client_id`; nothing where users paste
    /// keys. The secret and the scopes are the host's to add.
    ///
    /// # Errors
    ///
    /// [`ConnectorError`] if the catalogue is wrong.
    pub fn connector(&self, client_id: impl Into<String>) -> Result<Connector, ConnectorError> {
        if self.auth.is_key() {
            return Connector::api_key(self.slug, self.auth);
        }
        let authorize = self.url("authorize_url", self.authorize_url)?;
        let token = self.url("token_url", self.token_url)?;
        let mut connector = Connector::new(self.slug, authorize, token, client_id)?;
        if !self.device_authorization_url.is_empty() {
            let url = self.url("device_authorization_url", self.device_authorization_url)?;
            connector = connector.with_device_authorization(url)?;
        }
        connector.client_auth = self.client_auth;
        connector.replay = self.replay;
        connector.rate = self.rate.map(|(calls, per)| RateProfile { calls, per });
        Ok(connector)
    }

    fn url(&self, field: &'static str, text: &str) -> Result<Url, ConnectorError> {
        Url::parse(text).map_err(|_| ConnectorError::field(self.slug, field, "is not a URL"))
    }
}

const HOUR: Duration = Duration::from_secs(3600);

const UNKNOWN: WellKnown = WellKnown {
    slug: "",
    auth: AuthType::OAuth2,
    authorize_url: "",
    token_url: "",
    device_authorization_url: "",
    client_auth: ClientAuth::Basic,
    replay: ReplayPolicy::Strict,
    rate: None,
};

const fn calls(calls: u32, per: Duration) -> Option<(NonZeroU32, Duration)> {
    match NonZeroU32::new(calls) {
        Some(calls) => Some((calls, per)),
        None => None,
    }
}

const CATALOGUE: &[WellKnown] = &[
    // https://developer.atlassian.com/cloud/oauth/getting-started/: both parameters are asked for.
    // The leeway of 10 minutes: "Updated: 31 January 2022 - Deprecating persistent refresh tokens",
    // https://community.developer.atlassian.com/t/54172. A refusal is a 403 with invalid_grant.
    WellKnown {
        slug: "atlassian",
        authorize_url: "https://auth.atlassian.com/authorize?audience=api.atlassian.com&prompt=consent",
        token_url: "https://auth.atlassian.com/oauth/token",
        client_auth: ClientAuth::Post,
        replay: ReplayPolicy::Grace(Duration::from_secs(600)),
        ..UNKNOWN
    },
    // https://docs.datadoghq.com/api/latest/authentication/: an API key and an application key.
    WellKnown { slug: "datadog", auth: AuthType::ApiKeyAndSecret, ..UNKNOWN },
    // https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/: client
    // and secret are parameters; "once you use a refresh token, that refresh token and the old user
    // access token will no longer work". The rate is that of one account, 5000 calls an hour, for all
    // owners together: of the token endpoint itself nothing is said.
    // https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api.
    WellKnown {
        slug: "github",
        authorize_url: "https://github.com/login/oauth/authorize",
        token_url: "https://github.com/login/oauth/access_token",
        device_authorization_url: "https://github.com/login/device/code",
        client_auth: ClientAuth::Post,
        rate: calls(5000, HOUR),
        ..UNKNOWN
    },
    // https://docs.gitlab.com/api/oauth2/: a refresh revokes the tokens before it.
    WellKnown {
        slug: "gitlab",
        authorize_url: "https://gitlab.com/oauth/authorize",
        token_url: "https://gitlab.com/oauth/token",
        client_auth: ClientAuth::Post,
        ..UNKNOWN
    },
    // https://developers.google.com/identity/protocols/oauth2/web-server: a refresh token only with
    // access_type=offline, again only with prompt=consent; a refresh answers without another one,
    // so that it may be presented any number of times.
    WellKnown {
        slug: "google",
        authorize_url: "https://accounts.google.com/o/oauth2/v2/auth?access_type=offline&prompt=consent",
        token_url: "https://oauth2.googleapis.com/token",
        device_authorization_url: "https://oauth2.googleapis.com/device/code",
        client_auth: ClientAuth::Post,
        replay: ReplayPolicy::Grace(HOUR),
        ..UNKNOWN
    },
    // https://learn.microsoft.com/en-us/entra/identity-platform/refresh-tokens: it "doesn't revoke
    // old refresh tokens when used to fetch new access tokens". A refresh token only with the scope
    // offline_access.
    WellKnown {
        slug: "microsoft",
        authorize_url: "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        token_url: "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        device_authorization_url: "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
        client_auth: ClientAuth::Post,
        replay: ReplayPolicy::Grace(HOUR),
        ..UNKNOWN
    },
    // https://docs.slack.dev/reference/methods/oauth.v2.access: Basic, "if possible"; an error is a
    // 200 with "ok": false; "the rate limit for this method is 600 per minute".
    // https://docs.slack.dev/authentication/using-token-rotation: a refresh token is for one use.
    WellKnown {
        slug: "slack",
        authorize_url: "https://slack.com/oauth/v2/authorize",
        token_url: "https://slack.com/api/oauth.v2.access",
        rate: calls(600, Duration::from_secs(60)),
        ..UNKNOWN
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{ClientSecret, Registry};

    /// Each is a good connector once the host has added what is its own.
    #[test]
    fn the_catalogue_is_sorted_and_every_entry_is_a_connector() {
        assert!(CATALOGUE.is_sorted_by(|a, b| a.slug < b.slug));
        let connectors = WellKnown::list().map(|known| {
            let mut connector = known.connector("client").unwrap();
            if !known.auth.is_key() {
                connector.client_secret = Some(ClientSecret::new("secret"));
            }
            connector
        });
        let registry = Registry::new(connectors).unwrap();
        assert_eq!(registry.list().count(), CATALOGUE.len());
        assert!(WellKnown::lookup("github").is_some() && WellKnown::lookup("").is_none());
    }
}
