//! The record behind a state.

use serde::{Deserialize, Serialize};

use super::PkceVerifier;
use crate::{secret::in_sealed, trace::TraceContext};

/// The longest that a text in a record may be, in bytes.
const LONGEST: usize = 2048;

/// What must be there again when a sign-in comes back. Sealed as a whole.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PkceState {
    kind: String,
    /// What is being connected: a connector's slug, or a name of the host's. In the open for
    /// people with redis-cli, so nothing of a user's.
    pub connection: String,
    /// The code verifier.
    #[serde(with = "in_sealed")]
    pub verifier: PkceVerifier,
    /// Who started it.
    pub started_by: String,
    /// When it was started (ms since 1970, by the store's clock); 0 if unknown.
    pub created_at_ms: u64,
    /// Where to send the user afterwards; empty for nowhere.
    pub return_url: String,
    /// The redirect URI that the code was asked for.
    pub redirect_uri: String,
    /// What the session that started it is known by; it must be the one that comes back.
    pub session: String,
    /// The resource indicator (RFC 8707); empty for none.
    pub resource: String,
    /// The connection that is re-authorised; empty for a new one.
    pub reauthorises: String,
    /// When that had been revoked or withdrawn (ms since 1970); 0 if it had not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_end_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "TraceContext::is_none")]
    trace: TraceContext,
}

/// A field that is not acceptable. Its value is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} has {length} bytes; at most {LONGEST} are accepted")]
pub struct InvalidField {
    field: &'static str,
    length: usize,
}

/// The session and the person are nobody's to read in a log.
impl std::fmt::Debug for PkceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PkceState")
            .field("kind", &self.kind)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl PkceState {
    /// A record of the kind `mcp`, with everything else empty. Make it in the request that starts the
    /// sign-in: the [trace](crate::trace) of whoever makes it goes with it.
    #[must_use]
    pub fn new(connection: impl Into<String>, verifier: PkceVerifier) -> Self {
        Self {
            kind: "mcp".to_owned(),
            connection: connection.into(),
            verifier,
            started_by: String::new(),
            created_at_ms: 0,
            return_url: String::new(),
            redirect_uri: String::new(),
            session: String::new(),
            resource: String::new(),
            reauthorises: String::new(),
            known_end_ms: None,
            trace: TraceContext::current(),
        }
    }

    /// What the sign-in is for, as a free word; an empty one means `mcp`.
    #[must_use]
    pub fn with_kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        if self.kind.is_empty() {
            "mcp".clone_into(&mut self.kind);
        }
        self
    }

    /// What the sign-in is for.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Where it was made.
    pub(crate) fn trace(&self) -> TraceContext {
        self.trace
    }

    pub(super) fn check(&self) -> Result<(), InvalidField> {
        let fields = [
            ("kind", &self.kind),
            ("connection", &self.connection),
            ("started_by", &self.started_by),
            ("return_url", &self.return_url),
            ("redirect_uri", &self.redirect_uri),
            ("session", &self.session),
            ("resource", &self.resource),
            ("reauthorises", &self.reauthorises),
        ];
        match fields.into_iter().find(|(_, text)| text.len() > LONGEST) {
            Some((field, text)) => Err(InvalidField { field, length: text.len() }),
            None => Ok(()),
        }
    }
}
