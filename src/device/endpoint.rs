//! The port to a provider's device flow.

use std::{fmt, fmt::Debug, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    connection::{Connector, ExchangeError, TokenAnswer},
    secret::{in_sealed, secret_text},
};

/// Asks for device codes and polls for what became of them. `HttpExchange` (feature `exchange`) is
/// the default.
///
/// An implementation must not send a request twice, and follows no redirect.
#[async_trait]
pub trait DeviceEndpoint: Send + Sync + Debug {
    /// Asks for a device code, with the connector's scopes (RFC 8628 section 3.1).
    ///
    /// # Errors
    ///
    /// [`ExchangeError`], whatever the reason: no code was given.
    async fn authorize(&self, connector: &Connector) -> Result<Authorization, ExchangeError>;

    /// Asks once whether the person has decided (RFC 8628 section 3.4).
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] if the provider gave no answer, or one that decides nothing: to be asked
    /// again, later.
    async fn poll(
        &self,
        connector: &Connector,
        device_code: &DeviceCode,
    ) -> Result<Polled, ExchangeError>;
}

secret_text! {
    /// A device code (RFC 8628 section 3.2): whoever has it gets the tokens, once.
    DeviceCode
}

secret_text! {
    /// What the person types in at the provider (RFC 8628 section 3.2). For the person's eyes:
    /// whoever else sees it can take the sign-in over, and sign in as somebody else.
    UserCode
}

/// A provider's answer to who asks for a device code (RFC 8628 section 3.2).
#[derive(Debug, Clone)]
pub struct Authorization {
    /// What is polled with.
    pub device_code: DeviceCode,
    /// What the person is shown.
    pub prompt: Prompt,
    /// How long both codes live.
    pub expires_in: Duration,
    /// How far apart polls must be at the least; 5 s if the provider did not say.
    pub interval: Duration,
}

/// What a person is shown: where to go, and what to type in there.
#[derive(Clone, Serialize, Deserialize)]
pub struct Prompt {
    /// The code.
    #[serde(with = "in_sealed")]
    pub user_code: UserCode,
    /// Where to type it in.
    pub verification_uri: String,
    /// The same with the code in it, for a link or a QR code. Show the user code beside it all the
    /// same, for the person to compare (RFC 8628 section 3.3.1).
    pub verification_uri_complete: Option<String>,
}

/// The complete URI has the user code in it.
impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prompt")
            .field("verification_uri", &self.verification_uri)
            .finish_non_exhaustive()
    }
}

/// What a poll was told (RFC 8628 section 3.5).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Polled {
    /// The tokens. The device code is spent.
    Granted(TokenAnswer),
    /// The person has not decided yet.
    Pending,
    /// The same, and polls must be 5 s further apart from now on.
    SlowDown,
    /// The person said no.
    Denied,
    /// The device code has run out.
    Expired,
    /// Any other error code: polling must stop. `invalid_grant` may mean that the code was spent.
    Refused {
        /// The code, sanitised.
        code: String,
    },
}
