//! `docs/results.md`: what the last full runs found, a section each.

use std::{fs, path::Path};

/// Replaces one section.
pub fn write_section(name: &str, body: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/results.md");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->\n"));
    let section = format!("{open}{body}{close}");
    let text = match (text.find(&open), text.find(&close)) {
        (Some(from), Some(to)) => {
            format!("{}{section}{}", &text[..from], &text[to + close.len()..])
        }
        _ => format!("{text}\n{section}"),
    };
    fs::write(&path, text).expect("docs/results.md can be written");
}
