//! The users of a test server: one for each role, with the rights that `acl` prints for it, under any
//! prefix. Whoever takes a server's URL is the library's, so each test shows that those are enough.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use redis::{RedisResult, Value, from_redis_value};
use vestibule::{
    inspect::{Rights, Role},
    store::redis::Prefix,
};

const PASSWORD: &str = "least";

/// What the user of a role is called.
pub fn name(role: Role) -> String {
    format!("test-{}", role.as_str())
}

/// The user of a role, as a URL has it.
pub fn login(role: Role) -> String {
    format!("{}:{PASSWORD}@", name(role))
}

/// The same server by the user of another role; a URL of somebody else stays as it is.
pub fn by(role: Role, url: &str) -> String {
    let user = |role| format!("://{}:", name(role));
    Role::ALL.into_iter().fold(url.to_owned(), |url, other| url.replace(&user(other), &user(role)))
}

/// The users as a server's arguments: they are there before its first client, after a restart too.
pub fn arguments() -> &'static [String] {
    static ARGUMENTS: LazyLock<Vec<String>> = LazyLock::new(|| {
        // Tests have a prefix each.
        let any = Prefix::new("any").expect("a prefix");
        let line = |role| {
            let rules = Rights::of(role, &any).rules().replace("any:", "*:");
            format!("--user {} on >{PASSWORD} {rules}", name(role))
        };
        let lines = Role::ALL.map(line).join(" ");
        lines.split(' ').map(str::to_owned).collect()
    });
    &ARGUMENTS
}

/// Takes what Redis refused to these users, also inside of scripts, from its log. Without a runtime,
/// since a server that is dropped asks as well. An error if it does not answer.
pub fn refused(url: &str) -> RedisResult<Vec<String>> {
    let patience = Duration::from_secs(5);
    let mut connection = redis::Client::open(url)?.get_connection_with_timeout(patience)?;
    connection.set_read_timeout(Some(patience))?;
    let mut take = redis::pipe();
    take.cmd("ACL").arg("LOG").arg(1000).cmd("ACL").arg("LOG").arg("RESET").ignore();
    let (entries,): (Vec<HashMap<String, Value>>,) = take.query(&mut connection)?;
    let told = entries.into_iter().filter_map(|entry| {
        let word = |name: &str| {
            let word = entry.get(name).cloned().unwrap_or(Value::Nil);
            from_redis_value::<String>(word).unwrap_or_default()
        };
        let (user, object) = (word("username"), word("object"));
        // A client says what it is where it may, and goes on where it may not.
        let is_ours = Role::ALL.map(name).contains(&user) && object != "client|setinfo";
        is_ours.then(|| format!("{user}: {} {object} ({})", word("reason"), word("context")))
    });
    Ok(told.collect())
}
