//! `docs/results.md`: what the last full runs found, a section each.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/results.md")
}

fn marks(name: &str) -> (String, String) {
    (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->\n"))
}

/// What a section has.
#[allow(dead_code, reason = "the benches replace theirs as a whole")]
pub fn section(name: &str) -> Option<String> {
    let text = fs::read_to_string(path()).ok()?;
    let (open, close) = marks(name);
    let (_, rest) = text.split_once(&open)?;
    Some(rest.split_once(&close)?.0.to_owned())
}

/// Replaces one section.
pub fn write_section(name: &str, body: &str) {
    let path = path();
    let text = fs::read_to_string(&path).unwrap_or_default();
    let (open, close) = marks(name);
    let section = format!("{open}{body}{close}");
    let text = match (text.find(&open), text.find(&close)) {
        (Some(from), Some(to)) => {
            format!("{}{section}{}", &text[..from], &text[to + close.len()..])
        }
        _ => format!("{text}\n{section}"),
    };
    fs::write(&path, text).expect("docs/results.md can be written");
}
