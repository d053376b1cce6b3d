//! The port to providers, and what their answers mean.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;

use super::{AccessToken, AuthorizationCode, Connector, RefreshToken};
use crate::pkce::PkceVerifier;

/// Exchanges codes and refresh tokens at a provider. `HttpExchange` (feature `exchange`) is the
/// default.
///
/// An implementation must not send a request twice: whether that is harmless only the caller
/// knows. It must end within 30 s or so.
#[async_trait]
pub trait TokenExchange: Send + Sync + Debug {
    /// Exchanges an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    async fn exchange_code(
        &self,
        connector: &Connector,
        grant: CodeGrant<'_>,
    ) -> Result<TokenAnswer, ExchangeError>;

    /// Exchanges a refresh token (RFC 6749 section 6).
    async fn exchange_refresh_token(
        &self,
        connector: &Connector,
        refresh_token: &RefreshToken,
    ) -> Result<TokenAnswer, ExchangeError>;

    /// Asks for an access token of the host's own (RFC 6749 section 4.4). By default none can be
    /// had.
    async fn exchange_client_credentials(
        &self,
        _connector: &Connector,
    ) -> Result<TokenAnswer, ExchangeError> {
        let what = "this exchanger knows no client credentials";
        Err(ExchangeError::new(ExchangeClass::Config, what))
    }
}

/// What a code is exchanged with.
#[derive(Debug, Clone, Copy)]
pub struct CodeGrant<'a> {
    /// The code.
    pub code: &'a AuthorizationCode,
    /// The verifier whose challenge the code was asked for with.
    pub verifier: &'a PkceVerifier,
    /// The redirect URI that the code was asked for with.
    pub redirect_uri: &'a str,
    /// The resource indicator (RFC 8707); empty for none.
    pub resource: &'a str,
}

/// A provider's answer.
#[derive(Debug, Clone)]
pub struct TokenAnswer {
    /// The new access token.
    pub access_token: AccessToken,
    /// The new refresh token; `None` keeps the old one.
    pub refresh_token: Option<RefreshToken>,
    /// How long the access token lives; `None` if undisclosed.
    pub expires_in: Option<Duration>,
    /// How long the refresh token lives; `None` if undisclosed, and so is zero: some say it for
    /// what has no end.
    pub refresh_expires_in: Option<Duration>,
    /// The scopes that were granted, if said.
    pub scope: Option<String>,
}

/// An exchange that brought no token. Sanitised: no URL, no body, no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("token exchange: {reason}")]
pub struct ExchangeError {
    /// What it means.
    pub class: ExchangeClass,
    /// The provider's error code, or what happened: at most 200 printable characters.
    pub reason: String,
    /// When the provider asks to be asked again.
    pub retry_after: Option<Duration>,
}

/// What a failed exchange means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExchangeClass {
    /// The refresh token, or the code, is dead.
    Rejected,
    /// The provider does not accept the host itself: no user's credential is to blame.
    Client,
    /// The provider does not accept the request's form: neither is.
    Config,
    /// Later may be better: the provider's trouble, or the network's before the request was sent.
    Transient,
    /// The request was sent and its answer lost, or is not readable: it may have been honoured.
    Undecided,
}

impl ExchangeClass {
    /// The class of an `error` code in a provider's answer (RFC 6749 section 5.2, and what GitHub,
    /// Slack and OpenID Connect add). An unknown code is transient: it must not condemn.
    #[must_use]
    pub fn of_code(code: &str) -> Self {
        match code {
            "invalid_grant"
            | "interaction_required"
            | "login_required"
            | "consent_required"
            | "bad_refresh_token"
            | "invalid_refresh_token" => Self::Rejected,
            "invalid_client"
            | "unauthorized_client"
            | "incorrect_client_credentials"
            | "invalid_client_id"
            | "bad_client_secret" => Self::Client,
            "invalid_scope" | "invalid_request" | "unsupported_grant_type" => Self::Config,
            _ => Self::Transient,
        }
    }

    /// The class's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Client => "client",
            Self::Config => "config",
            Self::Transient => "transient",
            Self::Undecided => "undecided",
        }
    }
}

impl ExchangeError {
    /// With a reason that may come from outside: characters that print nothing, or turn the text
    /// around, are dropped, whatever looks like a URL is replaced, and it is cut at 200 characters.
    #[must_use]
    pub fn new(class: ExchangeClass, reason: &str) -> Self {
        Self { class, reason: sanitised(reason), retry_after: None }
    }

    /// One of a host's own making, [sanitised](Self::new) all the same.
    pub(super) fn cleaned(self) -> Self {
        Self { reason: sanitised(&self.reason), ..self }
    }

    /// The same, to be tried again after so long.
    #[must_use]
    pub fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }
}

/// As [`ExchangeError::new`] says.
pub(super) fn sanitised(reason: &str) -> String {
    let words = reason.split_whitespace().map(|word| {
        let word: String = word.chars().filter(|c| !is_invisible(*c)).collect();
        let is_url = word.contains("//") || word.to_ascii_lowercase().contains("www.");
        if is_url { "[url]".to_owned() } else { word }
    });
    words.collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

fn is_invisible(c: char) -> bool {
    let format = ['\u{feff}', '\u{61c}', '\u{ad}'].contains(&c)
        || ('\u{200b}'..='\u{200f}').contains(&c)
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2060}'..='\u{206f}').contains(&c);
    c.is_control() || format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sanitised() {
        let hostile = format!("bad\x1b[31m\r\nsee https://evil.example/?t=1 {}", "x".repeat(999));
        let error = ExchangeError::new(ExchangeClass::Transient, &hostile);
        assert!(error.reason.starts_with("bad[31m see [url] xxx"), "{}", error.reason);
        assert_eq!(error.reason.chars().count(), 200);
        let turned = ExchangeError::new(ExchangeClass::Config, "a\u{202e}b www.evil.example/t //x");
        assert_eq!(turned.reason, "ab [url] [url]");
        let hidden =
            ExchangeError::new(ExchangeClass::Config, "(www.evil.example/t WWW.EVIL.example");
        assert_eq!(hidden.reason, "[url] [url]");
        assert_eq!(turned.clone().cleaned(), turned, "once is enough");
    }
}
