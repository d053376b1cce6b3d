//! Key names: made in one file, and told in one document.

use std::collections::BTreeSet;

use super::{
    files::{File, expect_no_fault, library},
    rust::Rust,
};

pub const KEYSPACE: &str = "src/store/redis/keyspace.rs";
const DOCUMENT: &str = "docs/keyspace.md";

#[test]
fn keys_are_named_in_one_place() {
    let kinds = kinds(&patterns(&File::read(KEYSPACE)));
    assert!(kinds.contains("conn") && kinds.contains("meta"), "{kinds:?}");
    expect_no_fault(library().iter().flat_map(|file| literals(file, &kinds)));

    for text in [
        "fn f() { format!(\"{prefix}:{{{shard}}}:new:{id}\"); }",
        "const KEY: &str = \"vst:meta\";",
        "fn f() { key.push_str(\":conn:\"); }",
        "fn f() { key + \":meta\"; }",
    ] {
        let file = File::example("src/store/redis/living.rs", text);
        assert_eq!(literals(&file, &kinds).len(), 1, "{text}");
    }
    let harmless = "const URL: &str = \"redis-sentinel://host:port[,…]/service\";";
    assert!(literals(&File::example("src/store/redis/url.rs", harmless), &kinds).is_empty());
}

fn literals(file: &File, kinds: &BTreeSet<String>) -> Vec<String> {
    if file.path == KEYSPACE {
        return Vec::new();
    }
    let strings = Rust::read(&file.text).strings;
    let is_key = |text: &str| {
        let named = |kind: &String| {
            text.contains(&format!(":{kind}:")) || text.ends_with(&format!(":{kind}"))
        };
        text.contains(":{{")
            || text.contains("}}:")
            || text.starts_with("vst:")
            || kinds.iter().any(named)
    };
    // Who did something, where it was no person.
    let is_actor = |text: &str| text.starts_with("system:");
    let found = strings.iter().filter(|(_, text)| is_key(text) && !is_actor(text));
    found.map(|(line, text)| file.fault(*line, format!("a key name: {text}"))).collect()
}

#[test]
fn the_document_tells_every_key() {
    let keyspace = File::read(KEYSPACE);
    expect_no_fault(untold(&patterns(&keyspace), &File::read(DOCUMENT).text));
    expect_no_fault(unpinned(&keyspace));

    let bad = File::example(
        KEYSPACE,
        "fn due() { format!(\"{}:{{{}}}:due\", p, s); format!(\"{}:{{{}}}:lease:{}\", p, s, n); }\n\
         const GOLDEN: &str = \"vst:{0a}:due\";",
    );
    assert_eq!(untold(&patterns(&bad), "| `vst:{xx}:due` | ZSET |").len(), 0);
    assert_eq!(untold(&patterns(&bad), "| `vst:{xx}:due:<x>` | ZSET |").len(), 1);
    assert_eq!(untold(&patterns(&bad), "").len(), 1);
    assert_eq!(unpinned(&bad).len(), 1, "lease has no golden name");
}

/// Each golden name stands for a pattern: of `vst:{c3}:conn:c3ff…`, `vst:{xx}:conn:`.
pub fn patterns(keyspace: &File) -> BTreeSet<String> {
    let strings = Rust::read(&keyspace.text).strings.into_iter();
    let golden = strings.map(|(_, text)| text).filter(|text| text.starts_with("vst:"));
    golden.map(|name| pattern(&name)).collect()
}

fn pattern(name: &str) -> String {
    let mut parts: Vec<_> = name.split(':').collect();
    if parts.len() > 1 && parts[1].starts_with('{') {
        parts[1] = "{xx}";
    }
    if parts.len() > 3 {
        parts.truncate(3);
        parts.push("");
    }
    parts.join(":")
}

/// Of `vst:{xx}:conn:`, `conn`; of `vst:meta`, `meta`.
fn kinds(patterns: &BTreeSet<String>) -> BTreeSet<String> {
    patterns
        .iter()
        .filter_map(|pattern| pattern.trim_end_matches(':').rsplit(':').next())
        .map(str::to_owned)
        .collect()
}

/// A pattern is told as `vst:{xx}:due` or `vst:{xx}:conn:<id>`, in code quotes.
fn untold(patterns: &BTreeSet<String>, document: &str) -> Vec<String> {
    let told = |pattern: &str| {
        let closed = if pattern.ends_with(':') { "<" } else { "`" };
        document.contains(&format!("`{pattern}{closed}"))
    };
    let missing = patterns.iter().filter(|pattern| !told(pattern));
    missing.map(|pattern| format!("{DOCUMENT}: nothing about `{pattern}…`")).collect()
}

/// Every kind that a format string names has a golden name, or `patterns` would not see it.
fn unpinned(keyspace: &File) -> Vec<String> {
    let pinned = kinds(&patterns(keyspace));
    let mut faults = Vec::new();
    for (line, text) in Rust::read(&keyspace.text).strings {
        let Some((_, kind)) = text.split_once("{{{}}}:") else { continue };
        let kind = kind.split(':').next().unwrap_or_default();
        if !kind.starts_with('{') && !pinned.contains(kind) {
            faults.push(keyspace.fault(line, format!("no golden name pins `{kind}`")));
        }
    }
    faults
}
