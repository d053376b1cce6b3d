//! The secrets of a credential.

use serde::{Deserialize, Serialize};

use super::TokenAnswer;
use crate::secret::{in_sealed, secret_text};

secret_text! {
    /// An access token (RFC 6749 section 1.4). Like every secret here it cannot be serialized: no
    /// answer and no log gets it by a `derive`.
    ///
    /// ```compile_fail
    /// #[derive(serde::Serialize)]
    /// struct Answer { token: vestibule::connection::AccessToken }
    /// ```
    AccessToken
}

secret_text! {
    /// A refresh token (RFC 6749 section 1.5). A provider that rotates it punishes a second use.
    RefreshToken
}

secret_text! {
    /// An authorization code (RFC 6749 section 1.3.1).
    AuthorizationCode
}

secret_text! {
    /// The secret that a provider gave the host for itself.
    ClientSecret
}

secret_text! {
    /// A key that a user pasted.
    ApiKey
}

secret_text! {
    /// What belongs to an [`ApiKey`], where a provider gives out two.
    ApiSecret
}

/// What is sealed of a credential: only the fields that its connector's
/// [`AuthType`](super::AuthType) knows are set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CredentialSecret {
    /// The token that opens the provider's API.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "in_sealed")]
    pub access_token: Option<AccessToken>,
    /// The token that the next one is exchanged for.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "in_sealed")]
    pub refresh_token: Option<RefreshToken>,
    /// The scopes that were granted, as the provider said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The key that opens the provider's API.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "in_sealed")]
    pub api_key: Option<ApiKey>,
    /// The secret of the key.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "in_sealed")]
    pub api_secret: Option<ApiSecret>,
}

impl CredentialSecret {
    /// From what a provider answered. An omitted refresh token keeps the old one (RFC 6749
    /// section 6), and so does an omitted scope.
    #[must_use]
    pub(super) fn from_answer(answer: &TokenAnswer, before: Option<&Self>) -> Self {
        let kept = |before: Option<&Self>| before.and_then(|secret| secret.refresh_token.clone());
        Self {
            access_token: Some(answer.access_token.clone()),
            refresh_token: answer.refresh_token.clone().or_else(|| kept(before)),
            scope: answer.scope.clone().or_else(|| before.and_then(|secret| secret.scope.clone())),
            api_key: None,
            api_secret: None,
        }
    }

    pub(super) fn from_key(api_key: ApiKey, api_secret: Option<ApiSecret>) -> Self {
        Self {
            access_token: None,
            refresh_token: None,
            scope: None,
            api_key: Some(api_key),
            api_secret,
        }
    }
}
