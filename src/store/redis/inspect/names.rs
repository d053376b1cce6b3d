//! What an owner, a namespace or a connector is called in keys.

use crate::{
    digest::{Digest, NamingKey},
    store::Shard,
};

/// Finds by name what stands in Redis under a digest only. The one part of the inspector that needs
/// the naming key.
#[derive(Debug, Clone)]
pub struct Names(NamingKey);

impl Names {
    /// With the naming key of the key file.
    #[must_use]
    pub fn new(naming: NamingKey) -> Self {
        Self(naming)
    }

    /// An owner's digest.
    #[must_use]
    pub fn owner(&self, owner: &str) -> Digest {
        self.0.digest("owner", &[owner.as_bytes()])
    }

    /// A namespace's digest.
    #[must_use]
    pub fn namespace(&self, namespace: &str) -> Digest {
        self.0.digest("namespace", &[namespace.as_bytes()])
    }

    /// The digest of a scope and a resource, which the ids of their temp tokens begin with.
    #[must_use]
    pub fn tokens(&self, scope: &str, resource: &str) -> Digest {
        self.0.digest("token-index", &[scope.as_bytes(), resource.as_bytes()])
    }

    /// The shard that a connector's records are in.
    #[must_use]
    pub fn connector(&self, slug: &str) -> Shard {
        Shard::new(self.0.digest("connector", &[slug.as_bytes()]).as_bytes()[0])
    }

    /// What the database's meta key must say of this naming key.
    #[must_use]
    pub fn check(&self) -> Digest {
        self.0.check()
    }
}
