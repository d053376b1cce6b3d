//! What can go wrong between a verb and its answer, classed once.

use std::time::Duration;

/// A verb that has no outcome to give. [`class`](Self::class) says what that means for a caller.
///
/// No variant carries an argument of the command that failed, so none can carry a secret.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Redis did not run it, and did not become able to within the deadline.
    #[error(
        "{verb}: not executed within {waited:?}: {cause}; nothing was changed, try again later"
    )]
    NotExecuted {
        /// The verb.
        verb: &'static str,
        /// How long it was tried.
        waited: Duration,
        /// What Redis, or the network, said last.
        cause: String,
    },
    /// Redis has no room (`OOM`) or cannot persist (`MISCONF`): nothing new starts until an
    /// operator helps. Verbs that finish what is under way still succeed.
    #[error("{verb}: redis refuses new data: {cause}; free memory or repair persistence")]
    Resource {
        /// The verb.
        verb: &'static str,
        /// What Redis said.
        cause: String,
    },
    /// Something that only an operator can mend: credentials, permissions, version, layout.
    #[error("{verb}: {cause}; {fix}")]
    Operator {
        /// The verb.
        verb: &'static str,
        /// What Redis said, or what was found.
        cause: String,
        /// What to do about it.
        fix: &'static str,
    },
    /// The reply was lost and the deadline passed: it may have run. Only the same request id may
    /// be tried again, and will be told.
    #[error("{verb}: outcome unknown after {waited:?}: {cause}; retry with the same request id")]
    Unknown {
        /// The verb.
        verb: &'static str,
        /// How long it was tried.
        waited: Duration,
        /// What was seen last.
        cause: String,
    },
    /// It ran here, but fewer replicas than wanted have acknowledged it: a failover may undo it. Only
    /// at the [`confirmed`](crate::store::redis::RedisConfig::with_confirmation) level. The same request
    /// id may be tried again: it changes nothing here, and asks the replicas again.
    #[error("{verb}: executed, but not confirmed: {cause}; retry with the same request id")]
    Unconfirmed {
        /// The verb.
        verb: &'static str,
        /// How many replicas have it, of how many.
        cause: String,
    },
    /// A record is not what this library writes. It was left as it is.
    #[error("{verb}: the record at {key} is damaged ({what}); it was left untouched")]
    Corrupt {
        /// The verb.
        verb: &'static str,
        /// The Redis key.
        key: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The store cannot be reached as configured.
    #[error("configuration: {0}")]
    Config(String),
}

/// The classes of [`StoreError`], by what a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Nothing was changed; a later try may succeed.
    NotExecuted,
    /// Nothing was changed; hammering will not help.
    Resource,
    /// Nothing was changed; only an operator can help.
    Operator,
    /// It may have run: only the same request id may be tried again.
    Ambiguous,
    /// It ran, and a failover may undo it: the same request id may be tried again.
    Unconfirmed,
    /// The record is damaged, and was left.
    Corrupt,
}

impl StoreError {
    /// What a caller may do about it.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::NotExecuted { .. } => Class::NotExecuted,
            Self::Resource { .. } => Class::Resource,
            Self::Operator { .. } | Self::Config(_) => Class::Operator,
            Self::Unknown { .. } => Class::Ambiguous,
            Self::Unconfirmed { .. } => Class::Unconfirmed,
            Self::Corrupt { .. } => Class::Corrupt,
        }
    }
}

impl Class {
    /// The class's word, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotExecuted => "not_executed",
            Self::Resource => "resource",
            Self::Operator => "operator",
            Self::Ambiguous => "ambiguous",
            Self::Unconfirmed => "unconfirmed",
            Self::Corrupt => "corrupt",
        }
    }
}
