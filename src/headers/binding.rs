//! Whose headers, and for what.

use std::fmt;

use crate::{
    digest::{Digest, NamingKey},
    pending::Namespace,
    store::{BindingName, HeadersMode, Shard},
};

/// The longest identity or client, in bytes.
const LONGEST: usize = 512;

/// In whose name headers are sent: exactly one, since there is no room for two. What the host
/// authenticated, of 1 to 512 bytes and not blank.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    mode: HeadersMode,
    /// Empty for the host itself.
    text: String,
}

/// What one header credential is of: an identity, and the client that it is for. There is no way
/// from one binding to another: who has no credential of its own has none.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Binding {
    identity: Identity,
    client: String,
}

/// A binding as it comes in from outside, with one field for each kind of identity: of these at most
/// one may be there, and it must be the mode's.
#[derive(Clone, Copy, Default)]
pub struct BindingParts<'a> {
    /// `user`, `vk`, `session` or `admin`.
    pub mode: &'a str,
    /// A person.
    pub user: Option<&'a str>,
    /// A virtual key.
    pub virtual_key: Option<&'a str>,
    /// A session.
    pub session: Option<&'a str>,
    /// What the headers are for.
    pub client: &'a str,
}

impl Identity {
    /// A person.
    ///
    /// # Errors
    ///
    /// [`InvalidBinding`] if it is blank or too long; so of the others.
    pub fn user(text: impl Into<String>) -> Result<Self, InvalidBinding> {
        Self::of(HeadersMode::User, "user", text.into())
    }

    /// A virtual key.
    pub fn virtual_key(text: impl Into<String>) -> Result<Self, InvalidBinding> {
        Self::of(HeadersMode::VirtualKey, "virtual_key", text.into())
    }

    /// A session.
    pub fn session(text: impl Into<String>) -> Result<Self, InvalidBinding> {
        Self::of(HeadersMode::Session, "session", text.into())
    }

    /// The host itself, for everybody: it has no name.
    #[must_use]
    pub fn admin() -> Self {
        Self { mode: HeadersMode::Admin, text: String::new() }
    }

    /// Which kind it is.
    #[must_use]
    pub fn mode(&self) -> HeadersMode {
        self.mode
    }

    fn of(mode: HeadersMode, field: &'static str, text: String) -> Result<Self, InvalidBinding> {
        check(field, &text)?;
        Ok(Self { mode, text })
    }

    /// The namespace of its submission flows. It chooses the shard of all that is of it.
    pub(super) fn namespace(&self, naming: &NamingKey) -> Namespace {
        let mode = self.mode.as_str();
        let name = naming.digest("headers-identity", &[mode.as_bytes(), self.text.as_bytes()]);
        Namespace::of_digest(&format!("headers-{mode}"), name)
    }
}

impl Binding {
    /// Of this identity, for this client: 1 to 512 bytes, not blank.
    ///
    /// # Errors
    ///
    /// [`InvalidBinding`] if the client is blank or too long.
    pub fn new(identity: Identity, client: impl Into<String>) -> Result<Self, InvalidBinding> {
        let client = client.into();
        check("client", &client)?;
        Ok(Self { identity, client })
    }

    /// Whose.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// For what.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The identity's text; empty for the host's own.
    pub(super) fn parts(&self) -> (HeadersMode, &str, &str) {
        (self.identity.mode, &self.identity.text, &self.client)
    }

    /// As it was sealed into a flow.
    pub(super) fn sealed(mode: &str, text: &str, client: &str) -> Result<Self, InvalidBinding> {
        let some = Some(text);
        let parts = BindingParts { mode, client, ..BindingParts::default() };
        match HeadersMode::from_word(mode) {
            Some(HeadersMode::User) => BindingParts { user: some, ..parts },
            Some(HeadersMode::VirtualKey) => BindingParts { virtual_key: some, ..parts },
            Some(HeadersMode::Session) => BindingParts { session: some, ..parts },
            _ => parts,
        }
        .binding()
    }

    /// What it is called in the store. `identity` is the digest of whose it is.
    pub(super) fn name(&self, naming: &NamingKey, identity: Digest) -> BindingName {
        let parts: [&[u8]; 2] = [identity.as_bytes(), self.client.as_bytes()];
        BindingName {
            shard: Shard::new(identity.as_bytes()[0]),
            digest: naming.digest("headers-binding", &parts),
        }
    }

    /// What people may read of its client in Redis: only what can be nobody's name or address.
    pub(super) fn client_name(&self) -> &str {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_safe = self.client.len() <= 64 && self.client.bytes().all(fits);
        if is_safe { &self.client } else { "" }
    }
}

impl BindingParts<'_> {
    /// The binding that these say. Under `admin` there is no identity: one that is given is dropped.
    ///
    /// # Errors
    ///
    /// [`InvalidBinding`] for two identities, none, another than the mode's, or a blank one; for a
    /// blank client, and for an unknown mode. No text is repeated in it.
    pub fn binding(&self) -> Result<Binding, InvalidBinding> {
        let mode = HeadersMode::from_word(self.mode).ok_or(InvalidBinding::UnknownMode)?;
        let given = [
            (HeadersMode::User, "user", self.user),
            (HeadersMode::VirtualKey, "virtual_key", self.virtual_key),
            (HeadersMode::Session, "session", self.session),
        ];
        let mut given = given.into_iter().filter_map(|(of, field, text)| Some((of, field, text?)));
        let (first, second) = (given.next(), given.next());
        if second.is_some() {
            return Err(InvalidBinding::TwoIdentities);
        }
        let identity = match (mode, first) {
            (HeadersMode::Admin, _) => Identity::admin(),
            (_, None) => return Err(InvalidBinding::NoIdentity { mode: mode.as_str() }),
            (mode, Some((of, _, _))) if mode != of => {
                return Err(InvalidBinding::OtherIdentity { mode: mode.as_str() });
            }
            (mode, Some((_, field, text))) => Identity::of(mode, field, text.to_owned())?,
        };
        Binding::new(identity, self.client)
    }
}

fn check(field: &'static str, text: &str) -> Result<(), InvalidBinding> {
    if text.trim().is_empty() {
        Err(InvalidBinding::Blank { field })
    } else if text.len() > LONGEST {
        Err(InvalidBinding::TooLong { field, length: text.len() })
    } else {
        Ok(())
    }
}

/// It names a person: not for logs.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, [redacted])", self.mode.as_str())
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl fmt::Debug for BindingParts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindingParts").finish_non_exhaustive()
    }
}

/// Not a binding. No text is repeated: they come from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBinding {
    /// More than one identity.
    #[error("a binding has one identity: a user, a virtual key or a session, not two of them")]
    TwoIdentities,
    /// None.
    #[error("a binding of mode {mode} needs its identity")]
    NoIdentity {
        /// The mode.
        mode: &'static str,
    },
    /// One that is not the mode's.
    #[error("a binding of mode {mode} was given another kind of identity")]
    OtherIdentity {
        /// The mode.
        mode: &'static str,
    },
    /// Nothing but white space.
    #[error("{field} is blank")]
    Blank {
        /// Which.
        field: &'static str,
    },
    /// Too long.
    #[error("{field} has {length} bytes; at most {LONGEST} are accepted")]
    TooLong {
        /// Which.
        field: &'static str,
        /// How many bytes it has.
        length: usize,
    },
    /// None of the four modes.
    #[error("the mode of a binding is user, vk, session or admin")]
    UnknownMode,
}
