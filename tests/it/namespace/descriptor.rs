//! What a namespace is, and a path that any file system takes.

use std::{collections::BTreeSet, path::Path};

use proptest::{prelude::*, test_runner::TestCaseError};
use vestibule::pending::{Namespace, NamespaceKind};

fn path_of(name: &str) -> String {
    let path = Namespace::new(name).unwrap().descriptor().path;
    path.to_str().unwrap().replace(std::path::MAIN_SEPARATOR, "/")
}

/// P-8, P-10: paths are for files that outlive a release: they never change.
#[test]
fn paths_are_what_they_always_were() {
    let digest = "0fa3c1d2e4b5968778695a4b3c2d1e0f";
    for (name, kind, path) in [
        ("default", NamespaceKind::Default, "default".to_owned()),
        ("email-", NamespaceKind::Email, format!("email/0f/a3/{digest}")),
        ("subject-", NamespaceKind::Subject, format!("subject/0f/a3/{digest}")),
        ("unverified-", NamespaceKind::Unverified, format!("unverified/0f/a3/{digest}")),
        ("token-", NamespaceKind::Token, format!("token/0f/a3/{digest}")),
        (
            "alice@example.com",
            NamespaceKind::Named,
            "named/b4/33/b433353e425086aac7d0c00d48e5bbd3".to_owned(),
        ),
        (
            "../../etc/passwd",
            NamespaceKind::Named,
            "named/86/bb/86bba550fdb1f8831f251a0817680062".to_owned(),
        ),
    ] {
        let name = if name.ends_with('-') { format!("{name}{digest}") } else { name.to_owned() };
        let descriptor = Namespace::new(&name).unwrap().descriptor();
        assert_eq!((descriptor.kind, path_of(&name)), (kind, path), "{name}");
        assert_eq!(descriptor.name, name);
        assert_eq!(descriptor.is_default(), kind == NamespaceKind::Default);
    }
}

/// P-10: a name that comes from a file or a request is checked as any other.
#[test]
fn a_name_that_is_read_is_checked() {
    let read = |name: &str| serde_json::from_value::<Namespace>(name.into());
    for good in ["a", &"x".repeat(512)] {
        let namespace = read(good).unwrap();
        assert_eq!(namespace, Namespace::new(good).unwrap());
        assert_eq!(serde_json::to_value(&namespace).unwrap(), *good);
    }
    for bad in ["", &"x".repeat(513)] {
        let error = read(bad).unwrap_err().to_string();
        assert!(error.contains("1 to 512 bytes"), "{error}");
    }
}

/// Only the exact form is a provider's; what resembles it is a name like any other.
#[test]
fn what_only_looks_made_is_named() {
    let digest = "0fa3c1d2e4b5968778695a4b3c2d1e0f";
    for name in [
        "email-".to_owned(),
        format!("email-{}", digest.to_uppercase()),
        format!("email-{digest}0"),
        format!("email-{digest}/.."),
        format!("named-{digest}"),
        format!("default-{digest}"),
        format!("Email-{digest}"),
        format!("email{digest}"),
        "DEFAULT".to_owned(),
        "default ".to_owned(),
    ] {
        let descriptor = Namespace::new(&name).unwrap().descriptor();
        assert_eq!(descriptor.kind, NamespaceKind::Named, "{name}");
    }
}

/// Whatever a file system takes amiss in a name, the paths stay apart, even where case counts for
/// nothing.
#[test]
fn hostile_names_have_paths_of_their_own() {
    let long = "x".repeat(512);
    let names = [
        ".",
        "..",
        "../a",
        "/",
        "//",
        "a/b",
        "a\\b",
        "a\0b",
        "\0",
        "con",
        "CON",
        "nul.txt",
        "aux",
        "a",
        "A",
        "a.",
        "a ",
        " a",
        "ä",
        "a\u{308}",
        "-rf",
        "~",
        "$HOME",
        "*",
        "C:",
        "a:b",
        "named",
        "email",
        "\n",
        "default/",
        &long,
        &long[1..],
    ];
    let paths: BTreeSet<_> = names.iter().map(|name| path_of(name).to_lowercase()).collect();
    assert_eq!(paths.len(), names.len());
    for name in names {
        safe(Path::new(&path_of(name))).unwrap();
    }
}

proptest! {
    /// Any name: parts of `[a-z0-9-]`, at most 64 characters each, always the same.
    #[test]
    fn any_name_has_a_safe_path(name in "(?s).{1,128}", other in "(?s).{1,128}") {
        let path = path_of(&name);
        safe(Path::new(&path))?;
        prop_assert_eq!(&path, &path_of(&name));
        prop_assert!(name == other || path != path_of(&other));
    }
}

fn safe(path: &Path) -> Result<(), TestCaseError> {
    prop_assert!(path.is_relative());
    for part in path.to_str().unwrap().split('/') {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        prop_assert!((1..=64).contains(&part.len()) && part.chars().all(plain), "{part}");
        prop_assert!(!part.starts_with('-'));
    }
    Ok(())
}

/// The name may be an address: neither `Debug` shows it.
#[test]
fn debug_shows_no_name() {
    let namespace = Namespace::new("alice@example.com").unwrap();
    let shown = format!("{namespace:?} {:?}", namespace.descriptor());
    assert!(!shown.contains("alice") && shown.contains("Named"), "{shown}");
}
