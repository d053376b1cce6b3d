//! What a user of Redis must be allowed, read from the scripts and from a list of the plain commands
//! that a test compares with the sources.

use std::collections::BTreeSet;

use redis::{Value, cmd, from_redis_value};

use super::{
    super::{
        keyspace::{Keyspace, Prefix},
        scripts::{TEXTS, called, kinds},
    },
    Inspector,
};
use crate::store::{Class, StoreError};

/// Who logs in to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// A service that embeds the library: every verb.
    Library,
    /// The worker: refreshes, and what else sweeps do.
    Worker,
    /// People who look, and change nothing.
    Inspector,
    /// People who change something by hand: they look as an inspector does, and act as a service.
    Operator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Library, Self::Worker, Self::Inspector, Self::Operator];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Worker => "worker",
            Self::Inspector => "inspector",
            Self::Operator => "operator",
        }
    }

    /// Itself, and the others whose rights it has.
    const fn parts(self) -> &'static [Self] {
        match self {
            Self::Library => &[Self::Library],
            Self::Worker => &[Self::Worker],
            Self::Inspector => &[Self::Inspector],
            Self::Operator => &[Self::Library, Self::Inspector],
        }
    }

    fn runs(self, script: &str) -> bool {
        match self {
            Self::Library => true,
            Self::Worker => {
                let is_of_sweeps = ["headers/remove", "headers/reseal", "token/trim"]
                    .contains(&script)
                    || ["connection/", "event/", "limit/", "sweep/"]
                        .iter()
                        .any(|it| script.starts_with(it));
                is_of_sweeps && !OF_OWNERS.contains(&script)
            }
            // An operator's are those of its parts.
            Self::Inspector | Self::Operator => false,
        }
    }
}

/// The verbs of connections that only a service runs, for their owners.
const OF_OWNERS: &[&str] = &[
    "connection/create",
    "connection/delete",
    "connection/list",
    "connection/restore",
    "connection/revoke",
    "connection/store",
    "connection/unlist",
    "connection/withdraw",
];

/// What is sent besides scripts, by whom.
const PLAIN: &[(&str, &[Role])] = {
    use Role::{Inspector as I, Library as L, Worker as W};
    &[
        // Of every connection.
        ("asking", &[L, W, I]),
        ("auth", &[L, W, I]),
        ("cluster|slots", &[L, W, I]),
        ("hello", &[L, W, I]),
        ("ping", &[L, W, I]),
        ("role", &[L, W, I]),
        ("select", &[L, W, I]),
        // Of the handshake, and of verbs.
        ("evalsha", &[L, W]),
        ("get", &[L, W, I]),
        ("hget", &[L, W, I]),
        ("hmget", &[L, W, I]),
        ("info", &[L, W, I]),
        ("pttl", &[L, I]),
        ("script|load", &[L, W]),
        ("set", &[L, W]),
        ("subscribe", &[L]),
        ("time", &[L, W, I]),
        ("unsubscribe", &[L]),
        ("wait", &[L, W]),
        ("xack", &[L, W]),
        ("xlen", &[L, W, I]),
        ("xrevrange", &[L, W, I]),
        ("zcount", &[L, W, I]),
        ("zrangebyscore", &[L, W, I]),
        ("zrank", &[L]),
        // Of people.
        ("acl|dryrun", &[I]),
        ("acl|whoami", &[I]),
        ("cluster|info", &[I]),
        ("config|get", &[I]),
        ("getrange", &[I]),
        ("hstrlen", &[I]),
        ("scan", &[I]),
        ("script|exists", &[I]),
        ("xrange", &[I]),
        ("zcard", &[I]),
        ("zrange", &[I]),
        ("zscore", &[I]),
    ]
};

/// What a role must be allowed under one prefix, and nothing more.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Rights {
    /// Whose.
    pub role: Role,
    /// The commands, as ACL rules name them: `get`, `config|get`.
    pub commands: BTreeSet<String>,
    /// The patterns of keys, as ACL rules write them: `~…` to read and write, `%R~…` to read.
    pub keys: BTreeSet<String>,
    /// The channels.
    pub channels: BTreeSet<String>,
}

impl Rights {
    /// What `role` needs of Redis under `prefix`.
    #[must_use]
    pub fn of(role: Role, prefix: &Prefix) -> Self {
        let none = BTreeSet::new();
        let (commands, keys, channels) = (none.clone(), none.clone(), none);
        let mut rights = Self { role, commands, keys, channels };
        for part in role.parts() {
            rights.add(*part, prefix);
        }
        rights
    }

    fn add(&mut self, role: Role, prefix: &Prefix) {
        let plain = PLAIN.iter().filter(|(_, roles)| roles.contains(&role));
        self.commands.extend(plain.map(|(name, _)| (*name).to_owned()));
        if role == Role::Inspector {
            self.keys.insert(format!("%R~{prefix}:*"));
            return;
        }
        let names = Keyspace::new(prefix.clone());
        // What no script touches: the handshake's key, and that of the confirmed level.
        self.keys.insert(format!("~{}", names.meta()));
        self.keys.insert(format!("~{}", names.everywhere("mark")));
        if role == Role::Library {
            self.channels.insert(format!("&{prefix}:*"));
        }
        for (_, text) in TEXTS.iter().filter(|(file, _)| role.runs(file)) {
            self.commands.extend(called(text).map(str::to_lowercase));
            self.keys.extend(kinds(text).map(|kind| format!("~{}", names.everywhere(&kind))));
            if called(text).any(|command| command == "PUBLISH") {
                self.channels.insert(format!("&{prefix}:*"));
            }
        }
    }

    /// The rules as `ACL SETUSER` takes them, without the user and how he logs in.
    #[must_use]
    pub fn rules(&self) -> String {
        let mut rules = vec!["resetkeys".to_owned(), "resetchannels".to_owned()];
        rules.extend(self.keys.iter().chain(&self.channels).cloned());
        rules.push("-@all".to_owned());
        rules.extend(self.commands.iter().map(|command| format!("+{command}")));
        rules.join(" ")
    }
}

impl Inspector {
    /// Who this is to Redis.
    pub async fn user(&self) -> Result<String, StoreError> {
        let mut command = cmd("ACL");
        command.arg("WHOAMI");
        let name: Vec<u8> =
            from_redis_value(self.reader.ask("user", &command).await?).unwrap_or_default();
        Ok(super::printable::printable(&name))
    }

    /// What a user lacks of these rights, by asking Redis for each; `None` if this user may not ask.
    pub async fn lacks(
        &self,
        rights: &Rights,
        user: &str,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let mut lacks = Vec::new();
        let key = |pattern: &str| {
            let key = pattern.split_once('~').map_or(pattern, |(_, key)| key);
            key.replace("??", "00").replace('*', "0")
        };
        let Some(any) = rights.keys.iter().next_back().map(|pattern| key(pattern)) else {
            return Ok(Some(lacks));
        };
        for command in &rights.commands {
            match self.dry_run(user, command, &any).await? {
                None => return Ok(None),
                Some(true) => {}
                Some(false) => lacks.push(format!("+{command}")),
            }
        }
        // The keys by a command that the role has.
        for pattern in &rights.keys {
            let command = if pattern.starts_with("%R") { "get" } else { "set" };
            if self.dry_run(user, command, &key(pattern)).await? == Some(false) {
                lacks.push(pattern.clone());
            }
        }
        Ok(Some(lacks))
    }

    /// Whether a user may run a command on a key; `None` if that cannot be asked. How many arguments
    /// it takes is found by trying.
    async fn dry_run(
        &self,
        user: &str,
        command: &str,
        key: &str,
    ) -> Result<Option<bool>, StoreError> {
        for fillers in 0..6 {
            let mut dry = cmd("ACL");
            dry.arg("DRYRUN").arg(user);
            for word in command.split('|') {
                dry.arg(word);
            }
            match command {
                "evalsha" => {
                    dry.arg("0").arg(1).arg(key);
                }
                _ if fillers > 0 => {
                    dry.arg(key);
                    for _ in 1..fillers {
                        dry.arg("0");
                    }
                }
                _ => {}
            }
            match self.reader.ask("rights", &dry).await {
                // It says OK, or why not.
                Ok(Value::Okay) => return Ok(Some(true)),
                Ok(Value::SimpleString(said)) if said == "OK" => return Ok(Some(true)),
                Ok(_) => return Ok(Some(false)),
                Err(error) if error.to_string().contains("wrong number of arguments") => {}
                Err(error) if error.class() == Class::Operator => {
                    let said = error.to_string();
                    // A command that this version does not have is nobody's to lack.
                    let unknown = said.contains("not found") && !said.contains("User");
                    return Ok(unknown.then_some(true));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_no_more_than_it_needs() {
        let of = |role| Rights::of(role, &Prefix::default());
        let (library, worker) = (of(Role::Library), of(Role::Worker));
        assert!(
            worker.commands.is_subset(&library.commands) && worker.keys.is_subset(&library.keys)
        );
        let others = ["pkce", "pending", "token:", "dedup", "waiters"];
        assert!(!worker.keys.iter().any(|key| others.iter().any(|other| key.contains(other))));
        let inspector = of(Role::Inspector);
        assert_eq!(inspector.keys, ["%R~vst:*".to_owned()].into());
        for writes in ["set", "evalsha", "hset", "del", "publish", "script|load"] {
            assert!(!inspector.commands.contains(writes), "{writes}");
        }
        let operator = of(Role::Operator);
        assert_eq!(operator.commands, &library.commands | &inspector.commands);
        assert_eq!(operator.keys, &library.keys | &inspector.keys);
        assert!(library.rules().starts_with("resetkeys resetchannels ~"));
    }
}
