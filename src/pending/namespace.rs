//! Whose a pending is.

use std::{error::Error, fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    digest::{Digest, name_digest},
    foundation::Foundation,
};

/// A namespace: what a caller's pendings are kept under. Its name is sealed into records, and
/// stands in keys as a digest only.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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
    /// Names are compared byte by byte, and a kind with 32 hexadecimal digits after it
    /// (`email-0123…`) is how the providers here name callers. A host that lets people choose names
    /// puts a word of its own before them, so that nobody can choose another's.
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

    /// Of something that is named by its digest.
    pub(crate) fn of_digest(word: &str, digest: Digest) -> Self {
        Self(format!("{word}-{digest}"))
    }

    /// As a provider names a caller.
    pub(super) fn made(kind: NamespaceKind, digest: Digest) -> Self {
        Self(format!("{kind}-{digest}"))
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

    /// What it is, and where a host can keep files of it.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        let (kind, path) = if self.is_default() {
            (NamespaceKind::Default, PathBuf::from(Self::DEFAULT))
        } else {
            let (kind, digest) =
                self.parts().unwrap_or_else(|| (NamespaceKind::Named, name_digest(&self.0)));
            (kind, sharded(kind, digest))
        };
        Descriptor { name: self.0.clone(), kind, path }
    }

    /// The kind and the digest, if a provider made it.
    fn parts(&self) -> Option<(NamespaceKind, Digest)> {
        NamespaceKind::MADE.into_iter().find_map(|kind| {
            let digest = self.0.strip_prefix(kind.word())?.strip_prefix('-')?;
            Some((kind, Digest::from_hex(digest)?))
        })
    }
}

impl TryFrom<String> for Namespace {
    type Error = InvalidNamespace;

    fn try_from(name: String) -> Result<Self, InvalidNamespace> {
        Self::new(name)
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0
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

/// What a namespace is. The same name always has the same descriptor, in every process.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// The name.
    pub name: String,
    /// What the name stands for.
    pub kind: NamespaceKind,
    /// A relative path for files of this namespace: `default`, or the kind, two levels of 256
    /// directories, and a digest, as in `email/0f/a3/0fa3…`.
    ///
    /// Each part is of `[a-z0-9-]`, whatever the name holds: nothing of it can climb out of a
    /// directory, be too long, or fall together with another's where case does not count. The digest
    /// of a [`NamespaceKind::Named`] has no key, so a guess at the name can be tested against it.
    pub path: PathBuf,
}

impl Descriptor {
    /// Whether it is the namespace of callers who bring no identity.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.kind == NamespaceKind::Default
    }
}

/// Without the name: it may be an e-mail address.
impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptor").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What the name of a namespace stands for. Displayed as one lower-case word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NamespaceKind {
    /// Callers who bring no identity.
    Default,
    /// An e-mail address that a verified token states.
    Email,
    /// A subject of an issuer, as a verified token states them.
    Subject,
    /// An address or a subject that nobody verified: whoever claims it.
    Unverified,
    /// A bearer token: whoever brings the same one.
    Token,
    /// A name of the host's choice.
    Named,
}

impl NamespaceKind {
    /// Those that are named by a keyed digest.
    const MADE: [Self; 4] = [Self::Email, Self::Subject, Self::Unverified, Self::Token];

    fn word(self) -> &'static str {
        match self {
            Self::Default => Namespace::DEFAULT,
            Self::Email => "email",
            Self::Subject => "subject",
            Self::Unverified => "unverified",
            Self::Token => "token",
            Self::Named => "named",
        }
    }
}

impl fmt::Display for NamespaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The port that tells a caller's namespace from what the caller brought.
#[async_trait]
pub trait NamespaceProvider: Send + Sync {
    /// The namespace of a caller with this bearer token, or with none.
    async fn namespace(&self, bearer_token: Option<&str>) -> Result<Namespace, NamespaceError>;
}

/// Why a caller's namespace cannot be told.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// What the provider made of the caller is not a namespace.
    #[error(transparent)]
    Invalid(#[from] InvalidNamespace),
    /// The provider refuses the caller, or cannot tell.
    #[error("{0}")]
    Provider(Arc<dyn Error + Send + Sync>),
}

impl NamespaceError {
    /// A provider's own error. Its text must hold nothing of the bearer token: it is shown.
    pub fn provider(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Provider(Arc::new(error))
    }
}

/// The plainest provider: a keyed digest of the bearer token, [`Namespace::DEFAULT`] without one.
/// Nothing of the token can be told from it.
#[derive(Debug, Clone)]
pub struct BearerNamespace {
    pub(crate) foundation: Arc<Foundation>,
}

impl BearerNamespace {
    pub(super) fn of_token(&self, bearer_token: &str) -> Namespace {
        let digest = self.foundation.naming.digest("bearer", &[bearer_token.as_bytes()]);
        Namespace::made(NamespaceKind::Token, digest)
    }
}

#[async_trait]
impl NamespaceProvider for BearerNamespace {
    async fn namespace(&self, bearer_token: Option<&str>) -> Result<Namespace, NamespaceError> {
        let bearer_token = bearer_token.filter(|token| !token.is_empty());
        Ok(bearer_token.map_or_else(Namespace::default, |token| self.of_token(token)))
    }
}

/// 65,536 directories a kind: a million namespaces are 16 in each.
fn sharded(kind: NamespaceKind, digest: Digest) -> PathBuf {
    let digest = digest.to_hex();
    [kind.word(), &digest[..2], &digest[2..4], &digest].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_back_from_a_made_name() {
        let digest = Digest::from_bytes(&[0xab; 16]).unwrap();
        for kind in NamespaceKind::MADE {
            let namespace = Namespace::made(kind, digest);
            let descriptor = namespace.descriptor();
            assert_eq!((descriptor.kind, descriptor.name.as_str()), (kind, namespace.name()));
            assert!(descriptor.path.ends_with("ab/ab/abababababababababababababababab"));
        }
    }
}
