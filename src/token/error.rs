use std::time::Duration;

use crate::{seal::SealError, store::StoreError};

/// What can go wrong with a temp token. No variant carries a text from outside.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is no such token, or none for this caller. The cause is not in the message.
    #[error("temptoken: token not found")]
    NotFound(NotFound),
    /// Its life is over.
    #[error("temptoken: token expired")]
    Expired,
    /// Nobody has registered its scope here.
    #[error("temptoken: token scope is not registered")]
    ScopeUnknown,
    /// It is for other requests, or for another resource.
    #[error("temptoken: request method and path are not allowed by token scope")]
    RouteNotAllowed,
    /// The life that was asked for is zero, or above what the scope allows. Nothing was minted.
    #[error(
        "temptoken: requested TTL exceeds scope MaxTTL: \
         {requested:?} is not above zero and at most {max:?}"
    )]
    TtlExceedsMax {
        /// What was asked for.
        requested: Duration,
        /// The scope's maximum.
        max: Duration,
    },
    /// What was asked for is not acceptable. Nothing was minted.
    #[error("temptoken: {0}")]
    Invalid(#[from] InvalidMint),
    /// The place of the record is taken by one that this request did not put there.
    #[error("temptoken: collision: the token's record is another's or damaged; mint another")]
    Collision,
    /// It does not seal or open.
    #[error("temptoken: {0}")]
    Seal(#[from] SealError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TokenError {
    /// If a caller is refused, in contrast to a failure of ours: the edge answers every refusal
    /// with one and the same 401, so that nobody learns which it was.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NotFound(_) | Self::Expired | Self::ScopeUnknown | Self::RouteNotAllowed
        )
    }

    /// The word for it, for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotFound(cause) => cause.as_str(),
            Self::Expired => "expired",
            Self::ScopeUnknown => "scope_unknown",
            Self::RouteNotAllowed => "route_not_allowed",
            Self::TtlExceedsMax { .. } => "ttl_exceeds_max",
            Self::Invalid(_) => "invalid",
            Self::Collision => "collision",
            Self::Seal(_) => "seal",
            Self::Store(error) => error.class().as_str(),
        }
    }
}

/// Why there is no token. For logs and events: a caller outside must not learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotFound {
    /// The text is not a token's.
    Malformed,
    /// It was never minted, or is long gone.
    Absent,
    /// It was revoked by itself.
    Revoked,
    /// It was revoked with all others of its resource or its scope.
    Dropped,
    /// It has been used as often as it may.
    UsedUp,
    /// It is bound to another subject.
    OtherSubject,
}

impl NotFound {
    /// The word for it, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Absent => "absent",
            Self::Revoked => "revoked",
            Self::Dropped => "dropped",
            Self::UsedUp => "used_up",
            Self::OtherSubject => "other_subject",
        }
    }
}

/// Why a token cannot be minted. No value is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMint {
    /// The resource is empty, or too long.
    #[error("a resource has 1 to 512 bytes; this has {length}")]
    Resource {
        /// How many it has.
        length: usize,
    },
    /// No path of the scope's routes can name the resource.
    #[error(
        "no path of scope {scope} can name this resource: \
         it has a /, \\, ;, control character or percent-encoding in it, or is a dot segment"
    )]
    Unreachable {
        /// The scope.
        scope: String,
    },
    /// The subject is too long.
    #[error("a subject has at most 512 bytes; this has {length}")]
    Subject {
        /// How many it has.
        length: usize,
    },
    /// The scope's tokens are bound to a subject, and none was given.
    #[error("the tokens of scope {scope} are bound to a subject; name one")]
    NoSubject {
        /// The scope.
        scope: String,
    },
}
