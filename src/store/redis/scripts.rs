//! The Lua files as typed calls: the compiler counts their keys and arguments.

use std::sync::LazyLock;

use redis::{Cmd, Script, ToRedisArgs};

/// Declares the scripts: of each its file, and how many KEYS and ARGV it takes.
macro_rules! declare {
    ($(script!($name:ident, $file:literal, keys: $keys:literal, argv: $argv:literal);)*) => {
        $(pub(super) static $name: LazyLock<Verb<$keys, $argv>> = LazyLock::new(|| Verb {
            name: $file,
            lasts: LASTING.contains(&$file),
            script: Script::new(&whole(include_str!(concat!("../../../lua/", $file, ".lua")))),
        });)*

        /// All of them by file, with their whole texts: what they call is what a user must be allowed.
        pub(super) static TEXTS: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
            vec![$(($file, whole(include_str!(concat!("../../../lua/", $file, ".lua"))))),*]
        });
    };
}

/// Declares the parts that scripts include: Redis knows no others' functions.
macro_rules! parts {
    ($($file:literal),+) => {
        const PARTS: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("../../../lua/", $file, ".lua")))),+];
    };
}

parts!(
    "connection/record",
    "connection/removed",
    "event/note",
    "event/oldest",
    "event/receivers",
    "rights/must"
);

/// A script with its parts, and theirs: each takes the place of the line that includes it.
fn whole(script: &str) -> String {
    let part = |line: &str| {
        let name = line.strip_prefix("-- include: ")?;
        PARTS.iter().find(|(part, _)| *part == name).map(|(_, text)| whole(text))
    };
    script.lines().map(|line| part(line).unwrap_or_else(|| format!("{line}\n"))).collect()
}

declare! {
script!(PKCE_TAKE, "pkce/take", keys: 1, argv: 2);
script!(PENDING_PUT, "pending/put", keys: 3, argv: 6);
script!(PENDING_REPLACE, "pending/replace", keys: 3, argv: 6);
script!(PENDING_READ, "pending/read", keys: 1, argv: 1);
script!(PENDING_FINISH, "pending/finish", keys: 3, argv: 9);
script!(PENDING_LIST, "pending/list", keys: 1, argv: 4);
script!(PENDING_NOTE, "pending/note", keys: 1, argv: 3);
script!(PENDING_CLEAR, "pending/clear", keys: 2, argv: 5);
script!(DEVICE_ACQUIRE, "device/acquire", keys: 2, argv: 5);
script!(DEVICE_RELEASE, "device/release", keys: 1, argv: 4);
script!(LIMIT_RESERVE, "limit/reserve", keys: 3, argv: 7);
script!(LIMIT_RELEASE, "limit/release", keys: 3, argv: 3);
script!(LIMIT_PAUSE, "limit/pause", keys: 3, argv: 8);
script!(LIMIT_RESUME, "limit/resume", keys: 3, argv: 5);
script!(HEADERS_UPSERT, "headers/upsert", keys: 11, argv: 16);
script!(HEADERS_GET, "headers/get", keys: 1, argv: 1);
script!(HEADERS_LIST, "headers/list", keys: 1, argv: 4);
script!(HEADERS_MARK, "headers/mark", keys: 4, argv: 6);
script!(HEADERS_REMOVE, "headers/remove", keys: 5, argv: 4);
script!(HEADERS_WITHDRAW, "headers/withdraw", keys: 4, argv: 3);
script!(HEADERS_RESTORE, "headers/restore", keys: 4, argv: 2);
script!(HEADERS_RESEAL, "headers/reseal", keys: 2, argv: 5);
script!(HEADERS_CLAIM, "headers/claim", keys: 2, argv: 3);
script!(HEADERS_RELEASE, "headers/release", keys: 1, argv: 1);
script!(TOKEN_MINT, "token/mint", keys: 4, argv: 7);
script!(TOKEN_USE, "token/use", keys: 3, argv: 5);
script!(TOKEN_REVOKE, "token/revoke", keys: 2, argv: 3);
script!(TOKEN_DROP, "token/drop", keys: 3, argv: 3);
script!(TOKEN_DROP_SCOPE, "token/drop_scope", keys: 2, argv: 3);
script!(TOKEN_LIST, "token/list", keys: 1, argv: 4);
script!(TOKEN_TRIM, "token/trim", keys: 2, argv: 6);
script!(CONNECTION_STORE, "connection/store", keys: 7, argv: 13);
script!(CONNECTION_CREATE, "connection/create", keys: 2, argv: 5);
script!(CONNECTION_LIST, "connection/list", keys: 1, argv: 4);
script!(CONNECTION_UNLIST, "connection/unlist", keys: 2, argv: 2);
script!(CONNECTION_REVOKE, "connection/revoke", keys: 6, argv: 6);
script!(CONNECTION_DELETE, "connection/delete", keys: 7, argv: 6);
script!(CONNECTION_WITHDRAW, "connection/withdraw", keys: 5, argv: 4);
script!(CONNECTION_RESTORE, "connection/restore", keys: 5, argv: 3);
script!(CONNECTION_REAP, "connection/reap", keys: 7, argv: 5);
script!(CONNECTION_CLAIM, "connection/claim", keys: 2, argv: 4);
script!(CONNECTION_GIVE_BACK, "connection/give_back", keys: 2, argv: 3);
script!(CONNECTION_BEGIN, "connection/begin", keys: 4, argv: 10);
script!(CONNECTION_RENEW, "connection/renew", keys: 2, argv: 3);
script!(CONNECTION_COMMIT, "connection/commit", keys: 5, argv: 14);
script!(CONNECTION_FAIL, "connection/fail", keys: 5, argv: 11);
script!(CONNECTION_RETRY, "connection/retry", keys: 4, argv: 3);
script!(CONNECTION_RESEAL, "connection/reseal", keys: 2, argv: 5);
script!(SWEEP_BEGIN, "sweep/begin", keys: 1, argv: 4);
script!(SWEEP_END, "sweep/end", keys: 1, argv: 5);
script!(EVENT_APPEND, "event/append", keys: 3, argv: 10);
script!(EVENT_OPEN, "event/open", keys: 1, argv: 2);
script!(EVENT_CLOSE, "event/close", keys: 1, argv: 2);
script!(EVENT_READ, "event/read", keys: 1, argv: 6);
script!(EVENT_TRIM, "event/trim", keys: 1, argv: 3);
script!(EVENT_FORGET, "event/forget", keys: 1, argv: 3);
script!(EVENT_BEHIND, "event/behind", keys: 1, argv: 1);
}

/// What these change is for good, and worth the replicas' word. The others keep order: what is undone
/// of them costs a call, or a wait. A begin is confirmed where it costs more: see there.
const LASTING: [&str; 25] = [
    "pkce/take",
    "pending/put",
    "pending/replace",
    "pending/finish",
    "pending/clear",
    "token/mint",
    "token/use",
    "token/revoke",
    "token/drop",
    "token/drop_scope",
    "connection/store",
    "connection/create",
    "connection/commit",
    "connection/revoke",
    "connection/delete",
    "connection/withdraw",
    "connection/restore",
    "connection/reap",
    "connection/reseal",
    "headers/upsert",
    "headers/remove",
    "headers/mark",
    "headers/withdraw",
    "headers/restore",
    "headers/reseal",
];

/// One script with its hash, which is made once.
pub(super) struct Verb<const KEYS: usize, const ARGV: usize> {
    pub(super) name: &'static str,
    pub(super) script: Script,
    /// Whether it is confirmed, if anything is.
    pub(super) lasts: bool,
}

/// One argument of a script.
pub(super) enum Arg<'a> {
    Bytes(&'a [u8]),
    Number(u64),
    /// A number, or the empty string for none.
    Optional(Option<u64>),
}

impl<const KEYS: usize, const ARGV: usize> Verb<KEYS, ARGV> {
    /// The command that runs it: built once, however often it is sent.
    pub(super) fn command(&self, keys: [&str; KEYS], argv: [Arg<'_>; ARGV]) -> Cmd {
        let mut cmd = Cmd::with_capacity(3 + KEYS + ARGV, 64 * (1 + KEYS + ARGV));
        cmd.arg("EVALSHA").arg(self.script.get_hash()).arg(KEYS);
        for key in keys {
            cmd.arg(key);
        }
        for arg in argv {
            cmd.arg(arg);
        }
        cmd
    }
}

impl ToRedisArgs for Arg<'_> {
    fn write_redis_args<W: ?Sized + redis::RedisWrite>(&self, out: &mut W) {
        match self {
            Self::Bytes(bytes) => bytes.write_redis_args(out),
            Self::Number(number) | Self::Optional(Some(number)) => number.write_redis_args(out),
            Self::Optional(None) => "".write_redis_args(out),
        }
    }

    fn num_of_args(&self) -> usize {
        1
    }
}

/// The commands that a script calls.
pub(super) fn called(text: &str) -> impl Iterator<Item = &str> {
    let calls = |before: &'static str| {
        text.split(before).skip(1).filter_map(|rest| rest.split('\'').next())
    };
    calls("redis.call('").chain(calls("redis.pcall('"))
}

/// The kinds of key that a script touches, as patterns: those that its header declares, and those
/// that it builds beside them, which are literals like `'outcome:'`.
pub(super) fn kinds(text: &str) -> impl Iterator<Item = String> + '_ {
    let header = text.lines().filter(|line| line.starts_with("-- KEYS["));
    let declared = header.filter_map(|line| {
        let name = line.split("{xx}:").nth(1)?;
        let end = name.find([' ', ',']).unwrap_or(name.len());
        let (kind, rest) = name.split_at(name[..end].find(':').unwrap_or(end));
        Some(format!("{kind}{}", if rest.starts_with(':') { ":*" } else { "" }))
    });
    // Between two quotes there is a literal, then code, and so on.
    let built = text.lines().filter(|line| !line.starts_with("--"));
    let built = built.flat_map(|line| line.split('\'').skip(1).step_by(2)).filter_map(|literal| {
        let kind = literal.strip_suffix(':')?;
        let is_kind = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase());
        is_kind.then(|| format!("{kind}:*"))
    });
    declared.chain(built)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{HISTORY_CAP, OUTBOX_CAP};

    #[test]
    fn a_part_takes_the_place_of_its_line() {
        let script = whole("#!lua\n-- include: event/note\nreturn 1\n");
        assert!(script.starts_with("#!lua\n-- note: ") && script.ends_with("\nreturn 1\n"));
        assert!(script.contains("local function teller("), "{script}");
        assert!(script.contains("local function must_be_allowed("), "{script}");
        let unknown = "#!lua\n-- include: no/such\n";
        assert_eq!(whole(unknown), unknown);
    }

    #[test]
    fn the_streams_are_capped_as_it_is_said() {
        let said = format!("local KEPT, TOLD = {OUTBOX_CAP}, {HISTORY_CAP} ");
        assert!(PARTS.iter().any(|(_, part)| part.contains(&said)), "{said}");
    }

    #[test]
    fn a_script_tells_what_it_calls_and_touches() {
        let text = "-- KEYS[1]  one    STRING  {xx}:thing:<id>\n\
                    -- KEYS[2]  two    ZSET    {xx}:things, ids by time\n\
                    -- KEYS[3]  three  ZSET    {xx}:other:<digest of thing>, names\n\
                    local built = base .. 'built:'\nredis.call('GET', one)\n";
        assert_eq!(kinds(text).collect::<Vec<_>>(), ["thing:*", "things", "other:*", "built:*"]);
        assert_eq!(called(text).collect::<Vec<_>>(), ["GET"]);
    }

    /// Whatever is called or touched otherwise would be missing from the rights of users.
    #[test]
    fn every_script_is_written_so_that_it_can_be_read() {
        for (file, text) in TEXTS.iter() {
            let calls = ["redis.call(", "redis.pcall("].map(|call| text.matches(call).count());
            assert_eq!(calls.iter().sum::<usize>(), called(text).count(), "{file}");
            assert!(!text.contains("-- include: "), "{file}");
            let declared = text.lines().filter(|line| line.starts_with("-- KEYS[")).count();
            assert!(declared > 0 && kinds(text).count() >= declared, "{file}");
        }
    }

    #[test]
    fn what_lasts_is_a_script() {
        for name in LASTING {
            assert!(TEXTS.iter().any(|(file, _)| *file == name), "{name}");
        }
        assert!(PKCE_TAKE.lasts && CONNECTION_COMMIT.lasts && !CONNECTION_BEGIN.lasts);
    }
}
