//! What the code sends to Redis is what its users are allowed.

use vestibule::{
    inspect::{Rights, Role},
    store::redis::Prefix,
};

use super::{
    files::{File, expect_no_fault, library},
    keys::{KEYSPACE, patterns},
};

#[test]
fn whatever_is_sent_is_allowed() {
    let sent: usize = library().iter().map(|file| sent(file).len()).sum();
    assert!(sent > 30, "the commands are not where they were");
    expect_no_fault(library().iter().flat_map(forbidden));

    for (path, text) in [
        ("src/store/redis/living/mod.rs", "fn f() { cmd(\"KEYS\"); }"),
        ("src/store/redis/living/mod.rs", "fn f() { all.cmd(\"SCAN\").arg(0); }"),
        ("src/store/redis/token/mod.rs", "fn f() { command(\"DUMP\", &[&key]) }"),
        ("src/store/redis/one_shot.rs", "fn f() { Cmd::with_capacity(1, 9)\n.arg(\"COPY\"); }"),
        ("src/store/redis/inspect/lists.rs", "fn f() { cmd(\"SET\"); }"),
    ] {
        assert_eq!(forbidden(&File::example(path, text)).len(), 1, "{text}");
    }
    let looks = File::example("src/store/redis/inspect/facts.rs", "fn f() { cmd(\"ZRANGE\"); }");
    assert!(forbidden(&looks).is_empty());
}

/// The inspector has a user of its own, who may do less, and look at more.
fn forbidden(file: &File) -> Vec<String> {
    let role = match file.is_below(&["src/store/redis/inspect/"]) {
        true => Role::Inspector,
        false => Role::Library,
    };
    let allowed = Rights::of(role, &Prefix::default()).commands;
    let is_allowed = |name: &str| {
        let name = name.to_lowercase();
        allowed.iter().any(|it| *it == name || it.split('|').next() == Some(name.as_str()))
    };
    let sent = sent(file).into_iter().filter(|name| !is_allowed(name));
    sent.map(|name| file.fault(1, format!("the {} may not send {name}", role.as_str()))).collect()
}

/// The names of the commands that a file makes.
fn sent(file: &File) -> Vec<&str> {
    if !file.is_below(&["src/store/redis/"]) {
        return Vec::new();
    }
    let named = |before: &'static str| {
        let found = file.text.split(before).skip(1);
        found
            .filter_map(|rest| rest.split('"').next())
            .filter(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase()))
    };
    let built = file.text.split("with_capacity(").skip(1);
    let built = built.filter_map(|rest| {
        let first = rest.split(".arg(").nth(1)?.strip_prefix('"')?.split('"').next()?;
        first.bytes().all(|b| b.is_ascii_uppercase()).then_some(first)
    });
    named("cmd(\"").chain(named("command(\"")).chain(built).collect()
}

/// Whatever has a name has a rule: of `vst:{xx}:conn:`, `~vst:{??}:conn:*`.
#[test]
fn every_key_is_allowed() {
    let keyspace = patterns(&File::read(KEYSPACE));
    assert!(keyspace.len() > 15, "{keyspace:?}");
    let rights = Rights::of(Role::Library, &Prefix::default());
    let unruled = |pattern: &str| {
        let glob = pattern.replace("{xx}", "{??}");
        let glob = if glob.ends_with(':') { glob + "*" } else { glob };
        let is_channel = !pattern.contains('{') && rights.channels.contains("&vst:*");
        !is_channel && !rights.keys.contains(&format!("~{glob}"))
    };
    let missing = keyspace.iter().filter(|pattern| unruled(pattern));
    expect_no_fault(missing.map(|pattern| format!("the library may not touch {pattern}")));
    assert!(unruled("vst:{xx}:novelty:"));
}
