//! What a pending is made of.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Namespace;
use crate::{store::PendingId, trace::TraceContext};

/// The longest that a text of a spec may be, in bytes.
const LONGEST: usize = 2048;

/// A pending to be created. It has no namespace: that always comes from who asks.
#[derive(Clone)]
pub struct Spec<T> {
    /// What it is: `device_code`, `form`, `oauth_redirect`, or a word of the host's. In the open,
    /// for people with redis-cli.
    pub kind: String,
    /// What people call it; in the open too, so nothing of a user's.
    pub alias: String,
    /// What it is for; sealed.
    pub resource: String,
    /// The elicitation that it answers, as the protocol names it; sealed.
    pub elicit_id: String,
    /// How long it lives.
    pub life: Life,
    /// Who alone may complete or cancel it: what the host authenticated. `None` for anybody.
    pub subject: Option<String>,
    /// What makes a second one of it the same.
    pub dedup: Dedup,
    /// The payload; sealed.
    pub data: T,
}

impl<T> Spec<T> {
    /// A spec of a kind, for ten minutes, with everything else empty.
    #[must_use]
    pub fn new(kind: impl Into<String>, data: T) -> Self {
        Self {
            kind: kind.into(),
            alias: String::new(),
            resource: String::new(),
            elicit_id: String::new(),
            life: Life::For(Duration::from_secs(600)),
            subject: None,
            dedup: Dedup::None,
            data,
        }
    }

    /// How long it will live.
    pub(super) fn check(&self, ceiling: Duration) -> Result<Duration, InvalidSpec> {
        for (field, text) in [
            ("kind", &self.kind),
            ("alias", &self.alias),
            ("resource", &self.resource),
            ("elicit_id", &self.elicit_id),
        ] {
            if text.len() > LONGEST {
                return Err(InvalidSpec::Field { field, length: text.len() });
            }
        }
        match self.life {
            Life::Ceiling => Ok(ceiling),
            Life::For(life) if life.as_millis() == 0 || life > ceiling => {
                Err(InvalidSpec::Life { life, ceiling })
            }
            Life::For(life) => Ok(life),
        }
    }

    /// What people see of it with redis-cli.
    pub(super) fn display(&self) -> [(&'static str, &str); 2] {
        [("kind", &self.kind), ("alias", &self.alias)]
    }

    pub(super) fn dedup_text(&self) -> Option<String> {
        // Whoever joins must be able to read it and to end it: the same kind, the same subject.
        let bound = if self.subject.is_some() { "bound" } else { "" };
        let subject = self.subject.as_deref().unwrap_or_default();
        // Length-prefixed, so that no two lists of parts read the same.
        let parts = match &self.dedup {
            Dedup::None => return None,
            Dedup::Same => ["same", &self.kind, bound, subject, &self.alias, &self.resource],
            Dedup::Key(key) => ["key", &self.kind, bound, subject, key, ""],
        };
        Some(parts.map(|part| format!("{}:{part}", part.len())).join(","))
    }
}

/// What is sealed of it is not for logs.
impl<T> fmt::Debug for Spec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("kind", &self.kind)
            .field("alias", &self.alias)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

/// How long a pending lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// So long: above zero, at most the ceiling.
    For(Duration),
    /// As long as there is: what other systems call *never expires* ends here at the configured
    /// ceiling, by explicit choice.
    Ceiling,
}

/// What makes a second pending of a namespace the same as a first one that still lives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dedup {
    /// Nothing: each is its own.
    None,
    /// The same kind, subject, alias and resource.
    Same,
    /// The same key of the host's, for the same kind and subject.
    Key(String),
}

/// A spec that is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSpec {
    /// A text is too long. It is not repeated.
    #[error("{field} has {length} bytes; at most {LONGEST} are accepted")]
    Field {
        /// Which.
        field: &'static str,
        /// How many bytes it has.
        length: usize,
    },
    /// The life is zero, or above the ceiling.
    #[error("a life of {life:?} is not above zero and at most the ceiling of {ceiling:?}")]
    Life {
        /// What was asked for.
        life: Duration,
        /// The ceiling.
        ceiling: Duration,
    },
    /// A replacement would live past the ceiling of when the pending was created.
    #[error("with a life of {life:?} more it would pass its ceiling, which is in {left:?}")]
    BeyondCeiling {
        /// What was asked for.
        life: Duration,
        /// What it may live at the most.
        left: Duration,
    },
}

/// A pending that was created, or joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Created {
    /// Its id.
    pub id: PendingId,
    /// Whether somebody else's prompt is out already: this caller joins it.
    pub joined: bool,
    /// What is left of its life; of one that this caller created, all of it.
    pub expires_in: Duration,
}

/// A pending.
#[derive(Clone)]
#[non_exhaustive]
pub struct Pending<T> {
    /// Its id.
    pub id: PendingId,
    /// Whose it is.
    pub namespace: Namespace,
    /// What it is.
    pub kind: String,
    /// What people call it.
    pub alias: String,
    /// What it is for.
    pub resource: String,
    /// The elicitation that it answers.
    pub elicit_id: String,
    /// When it was created (ms since 1970, by the store's clock).
    pub created_at_ms: u64,
    /// What was left of its life when it was read; zero once it is ended.
    pub expires_in: Duration,
    /// The payload.
    pub data: T,
    /// Where it was created.
    pub(crate) trace: TraceContext,
}

/// What was sealed of it is not for logs.
impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("alias", &self.alias)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// What is sealed of a pending.
#[derive(Serialize, Deserialize)]
pub(super) struct Body<T> {
    namespace: Namespace,
    kind: String,
    alias: String,
    resource: String,
    elicit_id: String,
    created_at_ms: u64,
    data: T,
    #[serde(default, skip_serializing_if = "TraceContext::is_none")]
    trace: TraceContext,
}

impl<'a, T> Body<&'a T> {
    pub(super) fn of(
        spec: &'a Spec<T>,
        namespace: &Namespace,
        created_at_ms: u64,
        trace: TraceContext,
    ) -> Self {
        Self {
            namespace: namespace.clone(),
            kind: spec.kind.clone(),
            alias: spec.alias.clone(),
            resource: spec.resource.clone(),
            elicit_id: spec.elicit_id.clone(),
            created_at_ms,
            data: &spec.data,
            trace,
        }
    }
}

impl<T> Body<T> {
    pub(super) fn into_pending(self, id: PendingId, expires_in: Duration) -> Pending<T> {
        Pending {
            id,
            namespace: self.namespace,
            kind: self.kind,
            alias: self.alias,
            resource: self.resource,
            elicit_id: self.elicit_id,
            created_at_ms: self.created_at_ms,
            expires_in,
            data: self.data,
            trace: self.trace,
        }
    }
}
