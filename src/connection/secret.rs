//! The secrets of a credential.

use serde::{Deserialize, Serialize};

use super::TokenAnswer;
use crate::secret::secret_text;

secret_text! {
    /// An access token (RFC 6749 section 1.4).
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

/// What is sealed of a credential.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CredentialSecret {
    /// The token that opens the provider's API.
    pub access_token: AccessToken,
    /// The token that the next one is exchanged for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<RefreshToken>,
    /// The scopes that were granted, as the provider said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl CredentialSecret {
    /// From what a provider answered. An omitted refresh token keeps the old one (RFC 6749
    /// section 6), and so does an omitted scope.
    #[must_use]
    pub(super) fn from_answer(answer: &TokenAnswer, before: Option<&Self>) -> Self {
        let kept = |before: Option<&Self>| before.and_then(|secret| secret.refresh_token.clone());
        Self {
            access_token: answer.access_token.clone(),
            refresh_token: answer.refresh_token.clone().or_else(|| kept(before)),
            scope: answer.scope.clone().or_else(|| before.and_then(|secret| secret.scope.clone())),
        }
    }
}
