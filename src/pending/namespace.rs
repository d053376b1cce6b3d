//! Whose a pending is.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::foundation::Foundation;

/// A namespace: what a caller's pendings are kept under. Its name is sealed into records, and
/// stands in keys as a digest only.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespace(String);

/// Not a namespace. The text is not repeated: it came from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a namespace has 1 to 512 bytes; this has {length}")]
pub struct InvalidNamespace {
    length: usize,
}

impl Namespace {
    /// The namespace of callers who bring no identity.
    pub const DEFAULT: &'static str = "default";

    /// A namespace of this name: any text of 1 to 512 bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidNamespace`] for another length.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidNamespace> {
        let name = name.into();
        if (1..=512).contains(&name.len()) {
            Ok(Self(name))
        } else {
            Err(InvalidNamespace { length: name.len() })
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether it is the one of callers who bring no identity.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

/// It may be an e-mail address: not for logs.
impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_default() { "Namespace(default)" } else { "Namespace([redacted])" })
    }
}

/// The port that tells a caller's namespace from what the caller brought.
#[async_trait]
pub trait NamespaceProvider: Send + Sync {
    /// The namespace of a caller with this bearer token, or with none.
    async fn namespace(&self, bearer_token: Option<&str>) -> Result<Namespace, InvalidNamespace>;
}

/// The plainest provider: a keyed digest of the bearer token, [`Namespace::DEFAULT`] without one.
/// Nothing of the token can be told from it.
#[derive(Debug, Clone)]
pub struct BearerNamespace {
    pub(crate) foundation: Arc<Foundation>,
}

#[async_trait]
impl NamespaceProvider for BearerNamespace {
    async fn namespace(&self, bearer_token: Option<&str>) -> Result<Namespace, InvalidNamespace> {
        match bearer_token.filter(|token| !token.is_empty()) {
            Some(token) => {
                let digest = self.foundation.naming.digest("bearer", &[token.as_bytes()]);
                Namespace::new(format!("token-{digest}"))
            }
            None => Ok(Namespace::default()),
        }
    }
}
