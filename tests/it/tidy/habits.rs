//! Sizes, words, and what the default build must not contain.

use std::{collections::BTreeSet, process::Command};

use super::{
    files::{File, all_rust, expect_no_fault, library, root, under},
    rust::Rust,
};

/// Without its unit tests, a source file that is longer asks to be split.
const MOST_LINES: usize = 300;
/// With them; also for a file of tests.
const MOST_LINES_WITH_TESTS: usize = 500;

#[test]
fn no_file_is_too_long() {
    expect_no_fault(all_rust().iter().filter_map(too_long));

    let lines = |path, n: usize| too_long(&File::example(path, &"x;\n".repeat(n)));
    assert_eq!(lines("src/x.rs", MOST_LINES), None);
    assert!(lines("src/x.rs", MOST_LINES + 1).is_some());
    assert!(lines("worker/src/x.rs", MOST_LINES + 1).is_some());
    assert_eq!(lines("tests/it/x.rs", MOST_LINES + 1), None);
    assert!(lines("tests/it/x.rs", MOST_LINES_WITH_TESTS + 1).is_some());
    let tested = format!("x;\n#[cfg(test)]\nmod tests {{\n{}}}\n", "x;\n".repeat(MOST_LINES));
    assert_eq!(too_long(&File::example("src/x.rs", &tested)), None);
}

fn too_long(file: &File) -> Option<String> {
    let total = file.text.lines().count();
    // The part before the unit tests.
    let own = file.text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default().lines().count();
    let is_source = file.is_below(&["src/", "worker/src/"]);
    (total > MOST_LINES_WITH_TESTS || is_source && own > MOST_LINES)
        .then(|| file.fault(1, format!("{own} lines before its tests, {total} with them")))
}

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    expect_no_fault(all_rust().iter().flat_map(unfinished));

    for text in [
        "fn f() { todo!() }",
        "fn f() { unimplemented!(\"later\") }",
        "fn f() { dbg!(x); }",
        "#[test]\n#[ignore = \"slow\"]\nfn t() {}",
    ] {
        assert_eq!(unfinished(&File::example("tests/it/x.rs", text)).len(), 1, "{text}");
    }
    let told = "// todo!() says what is missing\nconst X: &str = \"#[ignore]\";";
    assert!(unfinished(&File::example("src/x.rs", told)).is_empty());
}

fn unfinished(file: &File) -> Vec<String> {
    let code = Rust::read(&file.text).code;
    let found = ["todo!", "unimplemented!", "dbg!", "#[ignore"].into_iter();
    found
        .filter_map(|word| Some((word, code.find(word)?)))
        .map(|(word, at)| file.fault(1 + code[..at].matches('\n').count(), word))
        .collect()
}

#[test]
fn the_library_prints_nothing() {
    expect_no_fault(library().iter().flat_map(prints));

    let bad = File::example("src/x.rs", "fn f() { eprintln!(\"here\"); }");
    assert!(prints(&bad).is_some());
    let test = "fn f() {}\n#[cfg(test)]\nmod tests { fn t() { println!(); } }";
    assert!(prints(&File::example("src/x.rs", test)).is_none());
}

fn prints(file: &File) -> Option<String> {
    let rust = Rust::read(&file.text);
    let code = rust.production();
    let found = ["print!", "println!"].iter().any(|call| code.contains(call));
    found.then(|| file.fault(1, "it prints, where only events and metrics may tell"))
}

#[test]
fn metrics_are_named_in_one_list() {
    expect_no_fault(under("src", "rs").iter().flat_map(names_a_metric));
    expect_no_fault(under("worker/src", "rs").iter().flat_map(names_a_metric));

    let own = "fn f() { counter!(\"vestibule_own_total\").increment(1); }";
    assert_eq!(names_a_metric(&File::example("worker/src/x.rs", own)).len(), 1);
    let told = "/// Watch `vestibule_vends_total`.\nfn f() { metric::VENDS.of(&[\"warm\"]); }";
    assert!(names_a_metric(&File::example("src/x.rs", told)).is_empty());
}

fn names_a_metric(file: &File) -> Vec<String> {
    if file.is_below(&["src/metric/"]) {
        return Vec::new();
    }
    let strings = Rust::read(&file.text).strings;
    let found = strings.iter().filter(|(_, text)| text.starts_with("vestibule_"));
    found.map(|(line, text)| file.fault(*line, format!("{text} is not for here"))).collect()
}

#[test]
fn the_document_tells_every_span() {
    let document = File::read("docs/traces.md").text;
    let told: BTreeSet<_> = spans(document.split('`')).collect();
    let files = library();
    let strings: Vec<_> = files.iter().flat_map(|file| Rust::read(&file.text).strings).collect();
    let made: BTreeSet<_> = spans(strings.iter().map(|(_, text)| text.as_str())).collect();
    assert_eq!(told, made, "docs/traces.md, and what the library makes");
    assert!(made.len() > 10, "{made:?}");
}

/// Names of spans and of their attributes.
fn spans<'a>(words: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '.' || c == '_';
    words.filter(move |word| word.starts_with("vestibule.") && word.chars().all(is_name))
}

#[test]
fn no_module_is_named_for_nothing() {
    expect_no_fault(all_rust().iter().filter_map(nameless));

    assert!(nameless(&File::example("src/store/util.rs", "")).is_some());
    assert!(nameless(&File::example("worker/src/common/mod.rs", "")).is_some());
    assert!(nameless(&File::example("src/store/shard.rs", "")).is_none());
}

fn nameless(file: &File) -> Option<String> {
    const NAMES: &[&str] =
        &["common", "util", "utils", "helper", "helpers", "types", "models", "misc", "x"];
    let mut parts = file.path.trim_end_matches(".rs").split('/');
    parts
        .any(|part| NAMES.contains(&part))
        .then(|| file.fault(1, "a module is named for what is in it"))
}

#[test]
fn the_default_build_has_no_http_in_it() {
    let tree = Command::new(option_env!("CARGO").unwrap_or("cargo"))
        .args(["tree", "--offline", "--locked", "-e", "normal", "-p", "vestibule"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo can be started");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("cargo prints UTF-8");
    assert!(tree.contains("redis v"), "{tree}");
    expect_no_fault(http_crates(&tree));

    assert_eq!(http_crates("redis v1.8.1\nhyper-util v0.1.20\nhttparse v1\n").len(), 1);
}

fn http_crates(tree: &str) -> Vec<String> {
    const STACK: &[&str] = &[
        "http",
        "http-body",
        "hyper",
        "hyper-util",
        "h2",
        "axum",
        "axum-core",
        "reqwest",
        "tower",
    ];
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let found = names.filter(|name| STACK.contains(name));
    found.map(|name| format!("Cargo.toml: the default features bring `{name}`")).collect()
}
