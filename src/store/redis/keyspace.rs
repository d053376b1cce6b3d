//! Every key name, in one place. `docs/keyspace.md` tells what is behind each; golden tests pin them.

use std::fmt::{self, Write};

use crate::{
    digest::Digest,
    store::{
        BindingName, ConnectionId, ConnectorName, HeadersId, PendingId, RecordName, Shard,
        StoreError, SweepName, TokenId,
    },
};

/// The first part of every key: `[a-z0-9-]{1,32}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Checks the text.
    ///
    /// # Errors
    ///
    /// [`StoreError::Config`] if it is empty, longer than 32 characters, or has others than
    /// `a-z`, `0-9` and `-`.
    pub fn new(text: impl Into<String>) -> Result<Self, StoreError> {
        let text = text.into();
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text))
        } else {
            Err(StoreError::Config(
                "a key prefix is 1 to 32 of the characters a-z, 0-9 and -".to_owned(),
            ))
        }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("vst".to_owned())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names keys under a prefix. Everything a script touches has the same `{xx}`, so it is in one slot.
#[derive(Debug, Clone, Default)]
pub struct Keyspace {
    prefix: Prefix,
}

impl Keyspace {
    /// The key names under this prefix.
    #[must_use]
    pub fn new(prefix: Prefix) -> Self {
        Self { prefix }
    }

    /// The prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.prefix.as_str()
    }

    /// STRING: layout version, shard count, check value of the naming key.
    #[must_use]
    pub fn meta(&self) -> String {
        format!("{}:meta", self.prefix)
    }

    /// STRING: a one-shot record.
    #[must_use]
    pub fn one_shot(&self, name: &RecordName) -> String {
        let (kind, digest) = (name.kind.as_str(), name.digest);
        sized(format_args!("{}:{{{}}}:{kind}:{digest}", self.prefix, name.shard))
    }

    /// STRING: a pending.
    #[must_use]
    pub fn pending(&self, id: PendingId) -> String {
        format!("{}:{{{}}}:pending:{}", self.prefix, id.shard(), id)
    }

    /// STRING: how a pending ended, for those who wait.
    #[must_use]
    pub fn outcome(&self, id: PendingId) -> String {
        format!("{}:{{{}}}:outcome:{}", self.prefix, id.shard(), id)
    }

    /// ZSET: the pendings of a namespace, by the time of their end.
    #[must_use]
    pub fn pendings(&self, shard: Shard, namespace: Digest) -> String {
        format!("{}:{{{}}}:pendings:{}", self.prefix, shard, namespace)
    }

    /// STRING: the pending that a second one of the same would join.
    #[must_use]
    pub fn dedup(&self, shard: Shard, dedup: Digest) -> String {
        format!("{}:{{{}}}:dedup:{}", self.prefix, shard, dedup)
    }

    /// ZSET: who waits for a pending, by the time until which that is known.
    #[must_use]
    pub fn waiters(&self, id: PendingId) -> String {
        format!("{}:{{{}}}:waiters:{}", self.prefix, id.shard(), id)
    }

    /// HASH: who polls a provider for a pending, and when the next poll is due.
    #[must_use]
    pub fn lease(&self, id: PendingId) -> String {
        format!("{}:{{{}}}:lease:{}", self.prefix, id.shard(), id)
    }

    /// Channel: the ids of pendings that ended.
    #[must_use]
    pub fn wake(&self) -> String {
        format!("{}:wake", self.prefix)
    }

    /// STRING: written with every confirmed verb on this key's slot, so that there is a write to wait
    /// for.
    pub(super) fn mark_beside(&self, key: &str) -> String {
        let tag = key.split(['{', '}']).nth(1).unwrap_or("00");
        format!("{}:{{{}}}:mark", self.prefix, tag)
    }

    /// Channel: the ids of connections whose credential is another now.
    #[must_use]
    pub fn changed(&self) -> String {
        format!("{}:changed", self.prefix)
    }

    /// STRING: a temp token.
    #[must_use]
    pub fn token(&self, id: TokenId) -> String {
        sized(format_args!("{}:{{{}}}:token:{}", self.prefix, id.shard(), id.digest()))
    }

    /// ZSET: the tokens of a scope and resource, by the time of their end.
    #[must_use]
    pub fn tokens(&self, shard: Shard, index: Digest) -> String {
        sized(format_args!("{}:{{{}}}:tokens:{}", self.prefix, shard, index))
    }

    /// ZSET: the requests that have used a token, by time.
    #[must_use]
    pub fn uses(&self, id: TokenId) -> String {
        format!("{}:{{{}}}:uses:{}", self.prefix, id.shard(), id.digest())
    }

    /// ZSET: the indexes of a scope's tokens, by the latest end in each.
    #[must_use]
    pub fn scope(&self, shard: Shard, scope: Digest) -> String {
        format!("{}:{{{}}}:scope:{}", self.prefix, shard, scope)
    }

    /// HASH: a connection and its sealed credential.
    #[must_use]
    pub fn connection(&self, id: &ConnectionId) -> String {
        format!("{}:{{{}}}:conn:{}", self.prefix, id.shard(), id)
    }

    /// ZSET: the connections of an owner, by creation.
    #[must_use]
    pub fn owner(&self, shard: Shard, owner: Digest) -> String {
        format!("{}:{{{}}}:owner:{}", self.prefix, shard, owner)
    }

    /// ZSET: connections by the time of their next refresh.
    #[must_use]
    pub fn due(&self, shard: Shard) -> String {
        format!("{}:{{{}}}:due", self.prefix, shard)
    }

    /// HASH: a header credential.
    #[must_use]
    pub fn headers(&self, id: HeadersId) -> String {
        format!("{}:{{{}}}:headers:{}", self.prefix, id.shard(), id)
    }

    /// STRING: the header credential of a binding.
    #[must_use]
    pub fn binding(&self, binding: BindingName) -> String {
        format!("{}:{{{}}}:binding:{}", self.prefix, binding.shard, binding.digest)
    }

    /// ZSET: the header credentials for a client, by creation.
    #[must_use]
    pub fn client(&self, shard: Shard, client: Digest) -> String {
        format!("{}:{{{}}}:client:{}", self.prefix, shard, client)
    }

    /// STRING: who checks what was submitted in a flow.
    #[must_use]
    pub fn claim(&self, id: PendingId) -> String {
        format!("{}:{{{}}}:claim:{}", self.prefix, id.shard(), id)
    }

    /// ZSET: what is sealed, by the number of the key that sealed it.
    #[must_use]
    pub fn sealed(&self, shard: Shard) -> String {
        format!("{}:{{{}}}:sealed", self.prefix, shard)
    }

    /// ZSET: records that nobody has access to, by the time since when.
    #[must_use]
    pub fn orphans(&self, shard: Shard) -> String {
        format!("{}:{{{}}}:orphans", self.prefix, shard)
    }

    /// HASH: whose turn it is to sweep a shard, and when that was done.
    #[must_use]
    pub fn sweep(&self, shard: Shard, sweep: SweepName) -> String {
        format!("{}:{{{}}}:sweep:{}", self.prefix, shard, sweep.as_str())
    }

    /// ZSET: who may call a provider now, by the end of their lease.
    #[must_use]
    pub fn places(&self, connector: ConnectorName<'_>) -> String {
        format!("{}:{{{}}}:places:{}", self.prefix, connector.shard, connector.slug)
    }

    /// ZSET: when a provider will have forgotten the calls so far, and where the line ends.
    #[must_use]
    pub fn limit(&self, connector: ConnectorName<'_>) -> String {
        format!("{}:{{{}}}:limit:{}", self.prefix, connector.shard, connector.slug)
    }

    /// HASH: why nobody asks a provider, and until when.
    #[must_use]
    pub fn pause(&self, connector: ConnectorName<'_>) -> String {
        format!("{}:{{{}}}:pause:{}", self.prefix, connector.shard, connector.slug)
    }

    /// STREAM: what is to be told, until all who are told have acknowledged it.
    #[must_use]
    pub fn outbox(&self, shard: Shard) -> String {
        format!("{}:{{{}}}:outbox", self.prefix, shard)
    }

    /// STREAM: what has happened, for people.
    #[must_use]
    pub fn history(&self, shard: Shard) -> String {
        format!("{}:{{{}}}:history", self.prefix, shard)
    }

    /// Both, as the scripts that tell of a change take them.
    #[must_use]
    pub fn events(&self, shard: Shard) -> [String; 2] {
        [self.outbox(shard), self.history(shard)]
    }

    /// STRING: what a verb over several records answered, for its retries.
    #[must_use]
    pub fn receipt(&self, shard: Shard, request: Digest) -> String {
        format!("{}:{{{}}}:rcpt:{}", self.prefix, shard, request)
    }
}

/// For who looks at all keys there are: a verb never does.
impl Keyspace {
    /// What SCAN finds all keys of a kind by, as `conn` or `token`.
    #[must_use]
    pub fn pattern(&self, kind: &str) -> String {
        self.everywhere(&format!("{kind}:*"))
    }

    /// The pattern of what is called so in every shard, as `due` or `conn:*`.
    pub(super) fn everywhere(&self, name: &str) -> String {
        format!("{}:{{??}}:{name}", self.prefix)
    }

    /// The shard in a key of this kind, and what comes after the kind; `None` if it is no such key.
    #[must_use]
    pub fn parts<'k>(&self, kind: &str, key: &'k str) -> Option<(Shard, &'k str)> {
        let rest = key.strip_prefix(self.prefix.as_str())?.strip_prefix(":{")?;
        let (shard, rest) = rest.split_at_checked(2)?;
        let name = rest.strip_prefix("}:")?.strip_prefix(kind)?.strip_prefix(':')?;
        Some((Shard::from_hex(shard)?, name))
    }
}

/// A name with room for as long as it gets: what `format!` would guess is moved twice while it grows.
fn sized(name: fmt::Arguments<'_>) -> String {
    let mut key = String::with_capacity(96);
    let _ = key.write_fmt(name); // memory does not fail
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Kind;

    #[test]
    fn key_names_are_part_of_the_layout() {
        let keys = Keyspace::default();
        let digest = Digest::from_hex("c3000102030405060708090a0b0c0d0e").unwrap();
        let id: ConnectionId = "c3ffffffffffffffffffffffffffffffff".parse().unwrap();
        let pending: PendingId = format!("{digest}{digest}").parse().unwrap();
        let token: TokenId = format!("{digest}000102030405060708090a0b0c0d0e0f").parse().unwrap();
        let connector = ConnectorName { shard: Shard::new(195), slug: "github" };
        let golden = [
            (keys.meta(), "vst:meta"),
            (
                keys.one_shot(&RecordName::alone(Kind::Pkce, digest)),
                "vst:{c3}:pkce:c3000102030405060708090a0b0c0d0e",
            ),
            (
                keys.pending(pending),
                "vst:{c3}:pending:c3000102030405060708090a0b0c0d0ec3000102030405060708090a0b0c0d0e",
            ),
            (
                keys.outcome(pending),
                "vst:{c3}:outcome:c3000102030405060708090a0b0c0d0ec3000102030405060708090a0b0c0d0e",
            ),
            (
                keys.waiters(pending),
                "vst:{c3}:waiters:c3000102030405060708090a0b0c0d0ec3000102030405060708090a0b0c0d0e",
            ),
            (
                keys.pendings(pending.shard(), digest),
                "vst:{c3}:pendings:c3000102030405060708090a0b0c0d0e",
            ),
            (
                keys.dedup(pending.shard(), digest),
                "vst:{c3}:dedup:c3000102030405060708090a0b0c0d0e",
            ),
            (
                keys.lease(pending),
                "vst:{c3}:lease:c3000102030405060708090a0b0c0d0ec3000102030405060708090a0b0c0d0e",
            ),
            (keys.wake(), "vst:wake"),
            (keys.changed(), "vst:changed"),
            (keys.mark_beside("vst:{0a}:due"), "vst:{0a}:mark"),
            (keys.token(token), "vst:{c3}:token:000102030405060708090a0b0c0d0e0f"),
            (keys.uses(token), "vst:{c3}:uses:000102030405060708090a0b0c0d0e0f"),
            (
                keys.tokens(token.shard(), token.index()),
                "vst:{c3}:tokens:c3000102030405060708090a0b0c0d0e",
            ),
            (
                keys.scope(token.shard(), token.digest()),
                "vst:{c3}:scope:000102030405060708090a0b0c0d0e0f",
            ),
            (keys.connection(&id), "vst:{c3}:conn:c3ffffffffffffffffffffffffffffffff"),
            (keys.owner(id.shard(), digest), "vst:{c3}:owner:c3000102030405060708090a0b0c0d0e"),
            (keys.due(Shard::new(10)), "vst:{0a}:due"),
            (keys.orphans(Shard::new(10)), "vst:{0a}:orphans"),
            (
                keys.headers("c3ffffffffffffffffffffffffffffffff".parse().unwrap()),
                "vst:{c3}:headers:c3ffffffffffffffffffffffffffffffff",
            ),
            (
                keys.binding(BindingName { shard: Shard::new(255), digest }),
                "vst:{ff}:binding:c3000102030405060708090a0b0c0d0e",
            ),
            (
                keys.client(Shard::new(10), digest),
                "vst:{0a}:client:c3000102030405060708090a0b0c0d0e",
            ),
            (
                keys.claim(pending),
                "vst:{c3}:claim:c3000102030405060708090a0b0c0d0ec3000102030405060708090a0b0c0d0e",
            ),
            (keys.sealed(Shard::new(10)), "vst:{0a}:sealed"),
            (keys.sweep(Shard::new(10), SweepName::Expired), "vst:{0a}:sweep:expired"),
            (keys.places(connector), "vst:{c3}:places:github"),
            (keys.limit(connector), "vst:{c3}:limit:github"),
            (keys.pause(connector), "vst:{c3}:pause:github"),
            (keys.outbox(Shard::new(10)), "vst:{0a}:outbox"),
            (keys.history(Shard::new(10)), "vst:{0a}:history"),
            (
                keys.receipt(Shard::new(255), digest),
                "vst:{ff}:rcpt:c3000102030405060708090a0b0c0d0e",
            ),
        ];
        for (made, pinned) in golden {
            assert_eq!(made, pinned);
        }
    }

    #[test]
    fn a_key_is_taken_apart_as_it_was_made() {
        let keys = Keyspace::default();
        let id: ConnectionId = "c3ffffffffffffffffffffffffffffffff".parse().unwrap();
        let key = keys.connection(&id);
        assert_eq!(keys.parts("conn", &key), Some((Shard::new(195), id.as_str())));
        assert_eq!(keys.pattern("conn"), "vst:{??}:conn:*");
        for (part, other) in [("conn", "connx"), ("vst", "vs"), ("{c3}", "{C3}"), ("{c3}", "c3")] {
            let other = key.replacen(part, other, 1);
            assert_eq!(keys.parts("conn", &other), None, "{other}");
        }
    }

    #[test]
    fn a_prefix_cannot_forge_a_key() {
        for bad in ["", "a:b", "{x}", "UP", "é", "a b", &"x".repeat(33)] {
            assert!(Prefix::new(bad).is_err(), "{bad}");
        }
        assert!(Prefix::new("my-app-2").is_ok());
    }
}
