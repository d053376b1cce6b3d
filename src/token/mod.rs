//! Temp tokens: a link that may do one thing, for one resource, for a little while.
//!
//! A page that somebody opens from a chat has no session with the host. The link brings a token: it
//! says which [`Scope`] of requests is allowed, and for which resource.
//!
//! * **Not single-use**: one page makes several calls. A scope may limit how many, and then every
//!   use is counted, once for each request id.
//! * **A token is valid only while it is in the index of its resource.** So
//!   [revoking](TempTokens::revoke_resource) all tokens of a resource is one step, however many there
//!   are, and a token that is minted at the same time either goes with them or comes after them. A
//!   retried mint never brings back what was revoked.
//! * **Redis never sees the text.** A digest of all of it under the [pepper](crate::Peppers) names
//!   the record; what the record says is sealed. Only [`mint_as`](TempTokens::mint_as) leaves the
//!   text there, sealed, for the minute in which it may be retried.
//! * **The pepper may rotate**, in three roll-outs: `[old, new]`, which mints under the old one and
//!   knows the new; `[new, old]`; and a minute after the longest token of the old one has expired,
//!   `[new]`. Tokens of the other one are validated and revoked at no further round trip.
//! * **To the outside every refusal is the same**: see [`TokenError::is_refusal`]. Events and metrics
//!   tell them apart.
//!
//! If Redis cannot be reached nothing is valid: a failure of the store is an error, not a refusal.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use vestibule::{
//!     Vestibule,
//!     token::{MintSpec, Scope, Scopes},
//! };
//!
//! let scopes = Scopes::new();
//! let routes = Scope::new("report").with_placeholder("{id}").with_route("GET", "/reports/{id}");
//! scopes.register(routes.with_max_ttl(Duration::from_secs(900)))?;
//! let tokens = Vestibule::in_memory().temp_tokens(scopes);
//!
//! let spec = MintSpec::new("report", "4711", Duration::from_secs(600));
//! let text = tokens.mint(&spec).await?.token;
//! let allowed = tokens.validate(text.secret(), "GET", "/reports/4711", None).await?;
//! assert_eq!(allowed.resource, "4711");
//! assert!(tokens.validate(text.secret(), "GET", "/reports/4712", None).await.is_err());
//!
//! tokens.revoke_resource("report", "4711").await?;
//! assert!(tokens.validate(text.secret(), "GET", "/reports/4711", None).await.is_err());
//! # Ok(()) }
//! ```

mod error;
mod link;
mod mint;
mod record;
mod revoke;
mod route;
mod scope;
mod text;
mod validate;

use std::sync::Arc;

pub use self::{
    error::{InvalidMint, NotFound, TokenError},
    link::{InvalidLink, Link, LinkBase, PAGE_HEADERS, TokenLink},
    mint::{MintSpec, Minted},
    revoke::RevokedScope,
    scope::{InvalidScope, MCP_AUTH, MCP_HEADERS_AUTH, Scope, Scopes},
    text::TempToken,
    validate::ValidatedToken,
};
use crate::{digest::Digest, foundation::Foundation, seal::Binding};

/// The temp tokens of these scopes. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct TempTokens {
    foundation: Arc<Foundation>,
    scopes: Scopes,
}

impl TempTokens {
    pub(crate) fn new(foundation: Arc<Foundation>, scopes: Scopes) -> Self {
        Self { foundation, scopes }
    }

    /// The scopes that it knows: others may be registered at any time.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Names the index of a scope's tokens for a resource, and chooses their shard. Under the naming
    /// key, so that no rotation hides a token from revocation.
    fn index(&self, scope: &str, resource: &str) -> Digest {
        let parts = [scope.as_bytes(), resource.as_bytes()];
        self.foundation.naming.digest("token-index", &parts)
    }

    fn scope_digest(&self, scope: &str) -> Digest {
        self.foundation.naming.digest("token-scope", &[scope.as_bytes()])
    }

    fn subject_digest(&self, subject: &str) -> [u8; 16] {
        *self.foundation.naming.digest("token-subject", &[subject.as_bytes()]).as_bytes()
    }

    fn binding<'a>(&'a self, id: &'a str) -> Binding<'a> {
        let prefix = self.foundation.store.prefix();
        Binding { purpose: "token", prefix, name: id.as_bytes() }
    }
}
