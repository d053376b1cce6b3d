//! What Redis or the network said, classed once.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::time::Instant;

use crate::store::{Class, StoreError};

/// A failed command.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) class: Class,
    /// The connection is no good any more, or leads to the wrong server.
    pub(super) poisons: bool,
    /// The script is not in the server's cache.
    pub(super) no_script: bool,
    /// The client may have sent it before, and lost the reply: it may have run, whatever this says.
    pub(super) may_have_run: bool,
    /// Not earlier; by default after a pause.
    pub(super) retry_at: Option<Instant>,
    pub(super) cause: String,
    pub(super) fix: &'static str,
}

const LOGIN: &str = "check the user and password in the Redis URL";
const RIGHTS: &str = "give this user the commands, keys and channels that the library uses";
const VERSION: &str = "use Redis 7.0 or newer, or Valkey 7.2 or newer";
const REPORT: &str = "this is a fault of the library or an unknown server: please report it";

impl Fault {
    /// Of a command that was sent.
    pub(super) fn of(error: &RedisError) -> Self {
        let said = text(error);
        let fault = |class, poisons, fix| Self {
            class,
            poisons,
            no_script: false,
            may_have_run: false,
            retry_at: None,
            cause: said.clone(),
            fix,
        };
        // The node is not the one, or not ready; it ran nothing.
        let elsewhere = fault(Class::NotExecuted, false, "");
        let demoted = fault(Class::NotExecuted, true, "");
        match error.kind() {
            ErrorKind::Server(kind) => match kind {
                ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown => demoted,
                ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::BusyLoading => elsewhere,
                ServerErrorKind::NoScript => Self { no_script: true, ..elsewhere },
                ServerErrorKind::NoPerm => fault(Class::Operator, false, RIGHTS),
                ServerErrorKind::ResponseError => Self::of_err(&said, &fault),
                _ => fault(Class::Operator, false, REPORT),
            },
            ErrorKind::Extension => match error.code().unwrap_or_default() {
                "BUSY" | "NOREPLICAS" => elsewhere,
                "OOM" | "MISCONF" => fault(Class::Resource, false, ""),
                "NOAUTH" | "WRONGPASS" => fault(Class::Operator, true, LOGIN),
                "WRONGTYPE" => fault(Class::Corrupt, false, ""),
                _ => fault(Class::Operator, false, REPORT),
            },
            ErrorKind::AuthenticationFailed => fault(Class::Operator, true, LOGIN),
            ErrorKind::InvalidClientConfig => fault(Class::Operator, true, "check the Redis URL"),
            ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::NoValidReplicasFoundBySentinel
            | ErrorKind::EmptySentinelList => demoted,
            ErrorKind::Io if error.is_connection_refusal() => demoted,
            // The reply was lost, or is not a reply: it may have run.
            _ => fault(Class::Ambiguous, true, ""),
        }
    }

    /// Of a connection that was being opened: nothing was sent yet.
    pub(super) fn of_opening(error: &RedisError) -> Self {
        let fault = Self::of(error);
        let has = |words: &str| fault.cause.contains(words);
        match fault.class {
            Class::Ambiguous if has("certificate") => Self::operator(
                fault.cause,
                "check the server's certificate, and the CA given for it",
            ),
            // A cluster client hides what a node said to it in the text of its own error.
            Class::Ambiguous if has("AuthenticationFailed") || has("NOAUTH") => {
                Self::operator(fault.cause, LOGIN)
            }
            Class::Ambiguous if has("NOPERM") => Self::operator(fault.cause, RIGHTS),
            _ => fault.before_the_verb(),
        }
    }

    /// Of a greeting: whatever was lost, it was not the verb.
    pub(super) fn before_the_verb(self) -> Self {
        match self.class {
            Class::Ambiguous => Self { class: Class::NotExecuted, ..self },
            _ => self,
        }
    }

    pub(super) fn not_executed(cause: impl Into<String>) -> Self {
        Self {
            class: Class::NotExecuted,
            poisons: false,
            no_script: false,
            may_have_run: false,
            retry_at: None,
            cause: cause.into(),
            fix: "",
        }
    }

    pub(super) fn operator(cause: impl Into<String>, fix: &'static str) -> Self {
        Self { class: Class::Operator, poisons: true, fix, ..Self::not_executed(cause) }
    }

    pub(super) fn ambiguous(cause: impl Into<String>) -> Self {
        Self { class: Class::Ambiguous, poisons: true, ..Self::not_executed(cause) }
    }

    /// What a caller is told, after so long; and whether an earlier try may have run.
    pub(super) fn verdict(
        self,
        verb: &'static str,
        may_have_run: bool,
        waited: Duration,
    ) -> StoreError {
        let Self { class, cause, fix, .. } = self;
        // For people: nobody wants the nanoseconds.
        let waited = Duration::from_millis(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
        match class {
            Class::Ambiguous => StoreError::Unknown { verb, waited, cause },
            // An earlier try may have run, whatever was said to the last one.
            Class::NotExecuted | Class::Resource if may_have_run => {
                StoreError::Unknown { verb, waited, cause }
            }
            Class::Operator if may_have_run => {
                StoreError::Unknown { verb, waited, cause: format!("{cause}; {fix}") }
            }
            Class::NotExecuted => StoreError::NotExecuted { verb, waited, cause },
            Class::Resource => StoreError::Resource { verb, cause },
            Class::Operator => StoreError::Operator { verb, cause, fix },
            Class::Unconfirmed => StoreError::Unconfirmed { verb, cause },
            Class::Corrupt => StoreError::Corrupt {
                verb,
                key: "one of its keys".to_owned(),
                what: "it has another type than this library writes",
            },
        }
    }

    pub(super) fn unconfirmed(cause: impl Into<String>) -> Self {
        Self { class: Class::Unconfirmed, ..Self::not_executed(cause) }
    }

    pub(super) fn wrong_version(found: &str) -> Self {
        Self::operator(format!("this server is version {found}"), VERSION)
    }

    /// Plain `ERR`: only the text tells.
    fn of_err(said: &str, fault: &dyn Fn(Class, bool, &'static str) -> Self) -> Self {
        let has = |words: &str| said.contains(words);
        if has("non local key") || has("max number of clients") {
            fault(Class::NotExecuted, false, "")
        } else if has("The user executing the script") || has("ACL failure") {
            fault(Class::Operator, false, RIGHTS)
        } else if has("WRONGTYPE") || has("wrong kind of value") {
            fault(Class::Corrupt, false, "")
        } else if has("invalid username-password") || has("invalid password") {
            fault(Class::Operator, true, LOGIN)
        } else if has("unknown command") || has("Unknown Redis") {
            fault(Class::Operator, false, VERSION)
        } else {
            fault(Class::Operator, false, REPORT)
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.cause)
    }
}

/// The error in one short line. `unknown command` answers repeat the arguments: cut there.
fn text(error: &RedisError) -> String {
    let code = error.code().unwrap_or_else(|| error.category());
    let mut said = match error.detail() {
        Some(detail) => format!("{code} {detail}"),
        None if error.code().is_some() => code.to_owned(),
        // An I/O error has no detail, and no argument of ours in its text.
        None => error.to_string(),
    };
    for cut in ["args beginning with", " script: "] {
        if let Some(at) = said.find(cut) {
            said.truncate(at);
        }
    }
    let clean: String = said.chars().filter(|c| !c.is_control()).take(160).collect();
    clean.trim_end_matches([' ', ',', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server sends, as the client's parser makes an error of it.
    fn reply(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn every_reply_in_its_class() {
        use Class::{Corrupt, NotExecuted, Operator, Resource};
        for (line, class, poisons) in [
            ("MOVED 1 127.0.0.1:1", NotExecuted, false),
            ("ASK 1 127.0.0.1:1", NotExecuted, false),
            ("TRYAGAIN Multiple keys request during rehashing of slot", NotExecuted, false),
            ("CLUSTERDOWN The cluster is down", NotExecuted, false),
            ("LOADING Redis is loading the dataset in memory", NotExecuted, false),
            ("MASTERDOWN Link with MASTER is down", NotExecuted, true),
            ("READONLY You can't write against a read only replica.", NotExecuted, true),
            ("NOREPLICAS Not enough good replicas to write.", NotExecuted, false),
            ("BUSY Redis is busy running a script.", NotExecuted, false),
            ("NOSCRIPT No matching script.", NotExecuted, false),
            (
                "ERR Script attempted to access a non local key in a cluster node",
                NotExecuted,
                false,
            ),
            ("ERR max number of clients reached", NotExecuted, false),
            ("OOM command not allowed when used memory > 'maxmemory'.", Resource, false),
            ("MISCONF Redis is configured to save RDB snapshots", Resource, false),
            ("NOAUTH Authentication required.", Operator, true),
            ("WRONGPASS invalid username-password pair", Operator, true),
            ("NOPERM this user has no permissions", Operator, false),
            ("CROSSSLOT Keys in request don't hash to the same slot", Operator, false),
            (
                "ERR The user executing the script can't run this command or subcommand",
                Operator,
                false,
            ),
            (
                "ERR The user executing the script can't access at least one of the keys",
                Operator,
                false,
            ),
            ("ERR The user executing the script can't publish to the channel", Operator, false),
            ("ERR unknown command 'EVALSHA', with args beginning with: 'hunter2'", Operator, false),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", Corrupt, false),
        ] {
            let fault = Fault::of(&reply(line));
            assert_eq!((fault.class, fault.poisons), (class, poisons), "{line}");
            assert!(!fault.cause.contains("hunter2"), "{}", fault.cause);
            assert_eq!(fault.no_script, line.starts_with("NOSCRIPT"));
        }
    }
}
