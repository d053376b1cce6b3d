use jsonwebtoken::errors::{Error, ErrorKind};

use super::LONGEST;

/// Why a bearer token does not name its caller for sure. Nothing of the token is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unverified {
    /// It has more than 16 KiB.
    #[error("the bearer token is longer than {LONGEST} bytes")]
    TooLong,
    /// It is not a signed JWT, its algorithm is none that is known here (`none` is not), or its
    /// header has `crit`.
    #[error("the bearer token is not a signed JWT, or of a kind that is not understood here")]
    Malformed,
    /// There is no key of its name and algorithm.
    #[error("the bearer token is signed with a key that is not known here")]
    UnknownKey,
    /// The signature is another's, or the token was changed.
    #[error("the bearer token's signature is not of the key that it names")]
    Signature,
    /// Its time is over.
    #[error("the bearer token is expired")]
    Expired,
    /// Its time has not come.
    #[error("the bearer token is not valid yet")]
    NotYetValid,
    /// It is another issuer's.
    #[error("the bearer token is not of an expected issuer")]
    Issuer,
    /// It is for others.
    #[error("the bearer token is not for an expected audience")]
    Audience,
    /// A claim that has to be there is not, or is of another type.
    #[error("the bearer token lacks a claim that it has to have: exp, or iss or aud if expected")]
    Claims,
    /// It is verified, and has neither an address nor a subject.
    #[error("the bearer token is verified, but has neither a usable email nor a sub")]
    Nobody,
}

impl Unverified {
    pub(super) fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::NotYetValid,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => Self::Claims,
            _ => Self::Malformed,
        }
    }
}
