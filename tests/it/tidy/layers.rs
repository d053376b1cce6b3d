//! Who may name whom. Arrows point down only; see `docs/architecture.md`.

use super::{
    files::{File, expect_no_fault, library},
    rust::Rust,
};

/// What each module of the library may name besides itself and [`GROUND`].
const MAY_NAME: &[(&str, &[&str])] = &[
    ("digest", &[]),
    ("secret", &[]),
    ("wall_clock", &[]),
    ("metric", &[]),
    ("trace", &[]),
    ("http_client", &[]),
    // The port and the sealing never see each other: the features join them.
    ("store", &[]),
    ("seal", &[]),
    ("keys", &["seal"]),
    ("foundation", &["store", "seal"]),
    ("cache", &["store"]),
    ("operator", &["foundation", "store"]),
    ("pending", &["foundation", "store", "seal"]),
    ("token", &["foundation", "store", "seal"]),
    ("pkce", &["foundation", "store", "seal"]),
    ("headers", &["foundation", "cache", "store", "seal", "pending", "token"]),
    ("connection", &["foundation", "cache", "store", "seal", "pkce", "http_client"]),
    ("device", &["foundation", "store", "seal", "pending", "connection"]),
    ("event", &["foundation", "store", "http_client"]),
    // The edge: nothing below knows that there is HTTP.
    ("http", &["store", "pending", "token"]),
    ("resealing", &["foundation", "store", "seal", "headers", "connection"]),
    (
        "sweep",
        &["store", "pending", "token", "pkce", "headers", "connection", "event", "resealing"],
    ),
    ("builder", &["store", "seal"]),
    // What a host holds. The sweep stands beside it.
    (
        "vestibule",
        &[
            "builder",
            "foundation",
            "keys",
            "operator",
            "store",
            "seal",
            "pending",
            "token",
            "pkce",
            "headers",
            "connection",
            "device",
            "event",
        ],
    ),
];

/// What everybody may name; `*` is what unit tests import of a module at the crate's root.
const GROUND: &[&str] = &["digest", "secret", "wall_clock", "metric", "trace", "*"];

/// The crates that only some files may name. A path that begins with `redis` is the crate: our own
/// module of that name is always reached through `store`, `self` or `super`.
const CRATES: &[(&str, &[&str])] = &[
    ("redis", &["src/store/redis/"]),
    ("deadpool", &["src/store/redis/"]),
    ("deadpool_redis", &["src/store/redis/"]),
    ("xsalsa20poly1305", &["src/seal/", "src/digest.rs"]),
    ("blake3", &["src/seal/", "src/digest.rs"]),
    // What is counted is in one list.
    ("metrics", &["src/metric/"]),
    ("opentelemetry", &["src/trace/"]),
    ("tracing_opentelemetry", &["src/trace/"]),
    ("oauth2", &["src/connection/http_exchange.rs"]),
    (
        "reqwest",
        &[
            "src/connection/http_exchange.rs",
            "src/connection/http_wire.rs",
            "src/event/webhook.rs",
            "src/http_client.rs",
        ],
    ),
    ("jsonwebtoken", &["src/pending/claims/"]),
];

/// Where tasks are started, and how many: each is an exchange, or the end of a flow with all that goes
/// with it, which outlives its caller.
const SPAWNS: &[(&str, usize)] = &[
    // The files of a journal: a sync blocks.
    ("src/connection/journal/directory.rs", 1),
    ("src/connection/outlasting.rs", 1),
    ("src/connection/refresh.rs", 1),
    ("src/connection/sign_in.rs", 1),
    ("src/connection/vend.rs", 1),
    ("src/device/poll.rs", 1),
    ("src/headers/mod.rs", 1),
    ("src/store/redis/notify.rs", 1),
    ("src/store/redis/session.rs", 1),
];

#[test]
fn arrows_point_down_only() {
    expect_no_fault(library().iter().flat_map(arrows));

    for (path, text) in [
        ("src/store/mod.rs", "use crate::{digest::Digest, seal::KeyRing};"),
        ("src/seal/envelope.rs", "fn f(_: super::super::store::Shard) {}"),
        ("src/pkce/mod.rs", "use crate::connection::Connection;"),
        ("src/connection/vend.rs", "fn f() { crate::sweep::pass() }"),
        ("src/digest.rs", "use super::store;"),
        ("src/novelty.rs", "use crate::store::Store;"),
    ] {
        assert_eq!(arrows(&File::example(path, text)).len(), 1, "{path}");
    }
    for (path, text) in [
        ("src/lib.rs", "pub mod sweep; pub use sweep::Sweep; use crate::sweep::X;"),
        ("src/connection/mod.rs", "use crate::{RequestId, pkce::Pkce, seal, store::Store};"),
    ] {
        assert!(arrows(&File::example(path, text)).is_empty(), "{path}");
    }
}

fn arrows(file: &File) -> Vec<String> {
    let inside = file.path.trim_start_matches("src/");
    let from = inside.split(['/', '.']).next().unwrap_or_default();
    if from == "lib" {
        return Vec::new();
    }
    let allowed = MAY_NAME.iter().find(|row| row.0 == from).map(|row| row.1);
    let Some(allowed) = allowed else {
        return vec![file.fault(1, format!("MAY_NAME does not say what `{from}` may name"))];
    };
    let mut faults = Vec::new();
    for (line, path) in Rust::read(&file.text).paths(file) {
        let Some(rest) = path.strip_prefix("crate::") else { continue };
        let to = rest.split("::").next().unwrap_or_default();
        // A type at the crate's root is public, so everybody's.
        let free = to == from || GROUND.contains(&to) || to.starts_with(char::is_uppercase);
        if !free && !allowed.contains(&to) {
            faults.push(file.fault(line, format!("`{from}` may not name `{to}`: {path}")));
        }
    }
    faults
}

#[test]
fn crates_stay_where_they_can_be_exchanged() {
    expect_no_fault(library().iter().flat_map(crates));

    for (path, text) in [
        ("src/pkce/mod.rs", "use redis::cmd;"),
        ("src/store/mod.rs", "fn f() { ::redis::cmd(); }"),
        ("src/store/memory/mod.rs", "use {std::fmt, deadpool_redis::Pool};"),
        ("src/token/mod.rs", "fn f() { blake3::hash(b\"\"); }"),
        ("src/store/one_shot.rs", "type X = Option<xsalsa20poly1305::Nonce>;"),
        ("src/event/delivery.rs", "fn f() { metrics::counter!(\"x\").increment(1); }"),
    ] {
        assert_eq!(crates(&File::example(path, text)).len(), 1, "{path}");
    }
    let own = "pub mod redis; use self::redis::RedisStore; use crate::store::{redis::Prefix};";
    assert!(crates(&File::example("src/store/mod.rs", own)).is_empty());
}

fn crates(file: &File) -> Vec<String> {
    let mut faults = Vec::new();
    for (line, path) in Rust::read(&file.text).paths(file) {
        let head = path.split("::").next().unwrap_or_default();
        if CRATES.iter().any(|(name, places)| *name == head && !file.is_below(places)) {
            faults.push(file.fault(line, format!("`{head}` is not for here: {path}")));
        }
    }
    faults
}

#[test]
fn the_library_reads_no_environment_and_no_clock_and_installs_nothing() {
    expect_no_fault(library().iter().flat_map(surroundings));

    for text in [
        "use std::{env, fs};",
        "fn f() { std::env::var(\"X\"); }",
        "use std::time::{Duration, SystemTime};",
        "fn f() { jiff::Timestamp::now(); }",
        "use tracing_subscriber::fmt;",
        "fn f() { metrics::set_global_recorder(x); }",
    ] {
        assert_eq!(surroundings(&File::example("src/x.rs", text)).len(), 1, "{text}");
    }
    let site = File::example("src/wall_clock.rs", "use std::time::SystemTime;");
    assert!(surroundings(&site).is_empty());
}

fn surroundings(file: &File) -> Vec<String> {
    let mut faults = Vec::new();
    for (line, path) in Rust::read(&file.text).paths(file) {
        let reads_clock = path.contains("SystemTime")
            || ["Timestamp::now", "Zoned::now", "Utc::now"].iter().any(|now| path.ends_with(now));
        let what = if path.starts_with("std::env") || path.starts_with("env::") {
            "only the worker's config reads the environment"
        } else if reads_clock && file.path != "src/wall_clock.rs" {
            "only src/wall_clock.rs reads the wall clock"
        } else if path.starts_with("tracing_subscriber") || path.contains("set_global_") {
            "recorders and subscribers are the host's to install"
        } else {
            continue;
        };
        faults.push(file.fault(line, format!("{what}: {path}")));
    }
    faults
}

#[test]
fn the_library_spawns_where_it_says() {
    expect_no_fault(library().iter().flat_map(|file| spawns(file, SPAWNS)));

    let one = File::example("src/x.rs", "fn f() { tokio::spawn(g()); }");
    assert!(spawns(&one, &[]).is_some());
    assert!(spawns(&one, &[("src/x.rs", 1)]).is_none());
    assert!(spawns(&one, &[("src/x.rs", 2)]).is_some(), "a site that is gone leaves the list");
    let set = File::example("src/x.rs", "fn f() { set.spawn(g()); task::spawn_blocking(h); }");
    assert!(spawns(&set, &[("src/x.rs", 1)]).is_some());
    let tests = File::example("src/x.rs", "\n#[cfg(test)]\nmod tests { fn f() { spawn(g()) } }");
    assert!(spawns(&tests, &[]).is_none());
}

fn spawns(file: &File, allowed: &[(&str, usize)]) -> Option<String> {
    let rust = Rust::read(&file.text);
    let code = rust.production();
    let found = ["spawn(", "spawn_blocking(", "spawn_local(", "spawn_on("]
        .iter()
        .flat_map(|call| code.match_indices(call))
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .count();
    let listed = allowed.iter().find(|row| row.0 == file.path).map_or(0, |row| row.1);
    (found != listed)
        .then(|| file.fault(1, format!("starts {found} tasks, where SPAWNS says {listed}")))
}
