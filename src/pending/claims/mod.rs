//! Namespaces from the claims of a bearer token: whose it is, rather than which it is.
//!
//! A JWT (RFC 7519) is verified with [`VerifyingKeys`]; then its `email` names the caller, if
//! `email_verified` says that it is theirs, else its `sub`, as that of its issuer. What comes of it is a name such as `email-<keyed digest>`: the same
//! in all processes with the same naming key, and nothing of a claim or a token can be read from it.
//!
//! Any other token names the caller by a keyed digest of itself, as a
//! [`BearerNamespace`] does: an opaque token, one that is expired or another's. Nobody gets into
//! somebody's namespace by it, and a host that wants it otherwise says so.

mod unverified;
mod verifying_keys;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use jsonwebtoken::{Validation, dangerous::insecure_decode_claims, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

pub use self::{
    unverified::Unverified,
    verifying_keys::{JwtAlgorithm, VerifyingKeys, VerifyingKeysError},
};
use super::{BearerNamespace, Namespace, NamespaceError, NamespaceKind, NamespaceProvider};

/// Names callers by the verified claims of their bearer token. Clones share the keys.
///
/// Verified means: signed with one of the keys, `exp` present and not past, `nbf` not ahead (30 s of
/// leeway each), `iss` and `aud` as expected. **Without expected audiences any token of the issuer
/// names its caller**, also one that was made out to another service; without expected issuers, any
/// token that these keys signed. The token is for naming only: whether the caller may come in at all
/// is for the host to decide before.
///
/// * `email` is the whole name, byte by byte and without the issuer, so that a person keeps a
///   namespace over several issuers: expect only issuers that you trust with every address. It counts
///   only if `email_verified` is true (OpenID Connect Core section 5.1): some issuers let people write
///   any address into `email`.
/// * `sub` is named together with `iss`: two issuers may use one `sub`.
///
/// Tokens above 16 KiB are not parsed.
#[derive(Clone)]
pub struct ClaimsNamespace {
    bearer: BearerNamespace,
    keys: Arc<RwLock<VerifyingKeys>>,
    expected: Validation,
    identity: Identity,
    fallback: Fallback,
}

/// Which claims name a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    VerifiedEmailThenSubject,
    AnyEmailThenSubject,
    Subject,
}

/// What happens with a token that is not verified, or names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fallback {
    Digest,
    UnverifiedClaims,
    Refuse,
}

impl ClaimsNamespace {
    pub(crate) fn new(bearer: BearerNamespace, keys: VerifyingKeys) -> Self {
        let expected = Validation {
            leeway: LEEWAY_S,
            validate_nbf: true,
            // Else every token that has an audience would be refused where none is expected.
            validate_aud: false,
            ..Validation::default()
        };
        Self {
            bearer,
            keys: Arc::new(RwLock::new(keys)),
            expected,
            identity: Identity::VerifiedEmailThenSubject,
            fallback: Fallback::Digest,
        }
    }

    /// Expects one of these issuers: a token of another, or without, is not verified.
    #[must_use]
    pub fn with_issuers<I: Into<String>>(mut self, issuers: impl IntoIterator<Item = I>) -> Self {
        self.expected.iss = Some(issuers.into_iter().map(Into::into).collect());
        self.expected.required_spec_claims.insert("iss".to_owned());
        self
    }

    /// Expects one of these audiences: a token for others only, or for nobody, is not verified.
    #[must_use]
    pub fn with_audiences<I: Into<String>>(
        mut self,
        audiences: impl IntoIterator<Item = I>,
    ) -> Self {
        self.expected.aud = Some(audiences.into_iter().map(Into::into).collect());
        self.expected.validate_aud = true;
        self.expected.required_spec_claims.insert("aud".to_owned());
        self
    }

    /// Believes an `email` also where the issuer leaves `email_verified` out; one that is there and
    /// not true still does not count. **Where people can write any address into their account,
    /// whoever writes another's gets that one's namespace**: only for issuers that verify each address
    /// and do not say so, and expect only those ([`with_issuers`](Self::with_issuers)).
    #[must_use]
    pub fn trusting_every_email(mut self) -> Self {
        self.identity = Identity::AnyEmailThenSubject;
        self
    }

    /// Names callers by `sub` only. For issuers that are not to be trusted with other's addresses,
    /// whatever they say in `email_verified`.
    #[must_use]
    pub fn by_subject(mut self) -> Self {
        self.identity = Identity::Subject;
        self
    }

    /// Names callers by what their token *says* where it is not verified: **whoever writes another's
    /// address or subject into a token gets that one's unverified namespace.** Only for hosts behind
    /// something that has verified the token already. Logs a warning, here.
    ///
    /// An unverified caller never gets into a verified one's namespace, whatever the token says: the
    /// kind is part of the name ([`NamespaceKind::Unverified`]).
    #[must_use]
    pub fn allow_unverified_claims(mut self) -> Self {
        tracing::warn!("namespaces are named by unverified claims: whoever forges one is believed");
        self.fallback = Fallback::UnverifiedClaims;
        self
    }

    /// Refuses callers whose token is not verified or names nobody, with an [`Unverified`] in
    /// [`NamespaceError::Provider`]. Who brings no token at all is still let into the default
    /// namespace.
    #[must_use]
    pub fn refuse_unverified(mut self) -> Self {
        self.fallback = Fallback::Refuse;
        self
    }

    /// From now on these keys verify, in all clones. For a host that fetches the issuer's set again:
    /// every few hours, and before it retires a key.
    pub fn replace_keys(&self, keys: VerifyingKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn named(&self, bearer_token: &str) -> Result<Namespace, Unverified> {
        let why = match self.verified(bearer_token).map(|claims| self.of_claims(&claims, VERIFIED))
        {
            Ok(Some(namespace)) => return Ok(namespace),
            Ok(None) => Unverified::Nobody,
            Err(why) => why,
        };
        tracing::debug!(%why, fallback = ?self.fallback, "no verified claim names a caller");
        let claimed = match self.fallback {
            Fallback::Refuse => return Err(why),
            Fallback::UnverifiedClaims => self.claimed(bearer_token),
            Fallback::Digest => None,
        };
        Ok(claimed.unwrap_or_else(|| self.bearer.of_token(bearer_token)))
    }

    fn verified(&self, bearer_token: &str) -> Result<Claims, Unverified> {
        if bearer_token.len() > LONGEST {
            return Err(Unverified::TooLong);
        }
        let header = decode_header(bearer_token).map_err(|_| Unverified::Malformed)?;
        // RFC 7515 section 4.1.11: what is critical and not understood refuses the whole.
        if header.crit.is_some() {
            return Err(Unverified::Malformed);
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut why = Unverified::UnknownKey;
        for candidate in keys.candidates(&header) {
            let mut expected = self.expected.clone();
            expected.algorithms = vec![candidate.algorithm];
            match decode(bearer_token, &candidate.with, &expected) {
                Ok(verified) => return Ok(verified.claims),
                Err(error) => why = Unverified::of(&error),
            }
            // Anything else comes after a good signature: no other key has a better answer.
            if why != Unverified::Signature {
                break;
            }
        }
        Err(why)
    }

    fn claimed(&self, bearer_token: &str) -> Option<Namespace> {
        if bearer_token.len() > LONGEST {
            return None;
        }
        let claims: Claims = insecure_decode_claims(bearer_token).ok()?;
        self.of_claims(&claims, UNVERIFIED)
    }

    /// The namespace of whom these claims name, if they name anybody.
    fn of_claims(&self, claims: &Claims, [email, subject]: [Made; 2]) -> Option<Namespace> {
        let ((kind, domain), parts) = match claims.email(self.identity) {
            Some(address) => (email, vec![address.as_bytes()]),
            None => (subject, claims.subject()?),
        };
        Some(Namespace::made(kind, self.bearer.foundation.naming.digest(domain, &parts)))
    }
}

#[async_trait]
impl NamespaceProvider for ClaimsNamespace {
    async fn namespace(&self, bearer_token: Option<&str>) -> Result<Namespace, NamespaceError> {
        match bearer_token.filter(|token| !token.is_empty()) {
            Some(bearer_token) => self.named(bearer_token).map_err(NamespaceError::provider),
            None => Ok(Namespace::default()),
        }
    }
}

impl fmt::Debug for ClaimsNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimsNamespace")
            .field("keys", &self.keys)
            .field("identity", &self.identity)
            .field("fallback", &self.fallback)
            .finish_non_exhaustive()
    }
}

/// The claims that can name somebody. Of any type: one that is not a text names nobody, and spoils
/// nothing else.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    email: Value,
    #[serde(default)]
    email_verified: Value,
    #[serde(default)]
    iss: Value,
    #[serde(default)]
    sub: Value,
}

impl Claims {
    /// The address, if it is to name somebody.
    fn email(&self, identity: Identity) -> Option<&str> {
        // Some issuers write it as a text.
        let verified = match &self.email_verified {
            Value::Null => identity == Identity::AnyEmailThenSubject,
            Value::Bool(verified) => *verified,
            other => other.as_str() == Some("true"),
        };
        let trusted = verified && identity != Identity::Subject;
        self.email.as_str().filter(|address| trusted && !address.is_empty())
    }

    /// What names the subject: the issuer first, if there is one.
    fn subject(&self) -> Option<Vec<&[u8]>> {
        let subject = self.sub.as_str().filter(|subject| !subject.is_empty())?.as_bytes();
        match &self.iss {
            Value::Null => Some(vec![subject]),
            issuer => Some(vec![issuer.as_str()?.as_bytes(), subject]),
        }
    }
}

/// The kind of a namespace, and the domain of the digest in its name.
type Made = (NamespaceKind, &'static str);

/// By address, and by subject. The domains keep them apart, whatever a claim holds.
const VERIFIED: [Made; 2] =
    [(NamespaceKind::Email, "claim-email"), (NamespaceKind::Subject, "claim-subject")];
const UNVERIFIED: [Made; 2] = [
    (NamespaceKind::Unverified, "unverified-email"),
    (NamespaceKind::Unverified, "unverified-subject"),
];

/// What clocks may be apart.
const LEEWAY_S: u64 = 30;
/// Proxies give a whole header 8 to 16 KiB.
const LONGEST: usize = 16 * 1024;
