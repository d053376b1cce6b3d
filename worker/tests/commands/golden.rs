//! What is printed, compared with what was looked at once: `golden/*.txt`. With `UPDATE_GOLDEN=1` in
//! the environment they are written anew; look at the difference.

use std::{fs, path::PathBuf};

use super::scene::{Ids, Scene};

/// Compares, with ids, times and addresses replaced by words.
pub(crate) fn expect(name: &str, printed: &str, scene: &Scene, ids: &Ids) {
    let shown = normal(printed, scene, ids);
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/commands/golden/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &shown).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, golden, "{name}: see {}", path.display());
}

fn normal(printed: &str, scene: &Scene, ids: &Ids) -> String {
    let mut text = printed.to_owned();
    for (id, name) in ids.named() {
        text = text.replace(&id, name);
    }
    text = text.replace(&scene.provider.issuer(), "<issuer>");
    text = text.replace(&format!("{}:", scene.prefix), "vst:");
    text = text.replace(&scene.dir.path().display().to_string(), "<dir>");
    text = text.replace("less than 1 s", "# s");
    let text = times(&text);
    // Rows come in the order of ids, which are random; and columns are as wide as those.
    let mut lines: Vec<String> = text.lines().map(narrow).collect();
    let first = lines.iter().position(|line| line.starts_with('═')).map_or(0, |at| at + 1);
    let last = lines.iter().rposition(|line| line.starts_with('─')).unwrap_or(first);
    if last > first {
        lines[first..last].sort();
    }
    lines.join("\n") + "\n"
}

/// Columns with one space between, rules of one length; a shard is any.
fn narrow(line: &str) -> String {
    let line = line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let line = match line.chars().next() {
        Some(rule @ ('─' | '═')) => rule.to_string(),
        _ => line,
    };
    let mut parts = line.split('{');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_at_checked(2) {
            Some((hex, rest))
                if rest.starts_with('}') && hex.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                out += "{xx";
                out += rest;
            }
            _ => {
                out.push('{');
                out += part;
            }
        }
    }
    out
}

/// `37 min` is `# min`, and a date is `<time>`.
fn times(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        let unit = words[at].trim_end_matches(|c: char| !c.is_ascii_alphabetic());
        let unit = unit.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        if ["s", "min", "h", "days", "ms", "MB", "keys"].contains(&unit) {
            let number = words[at - 1].trim_start_matches('(').to_owned();
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
                words[at - 1] = words[at - 1].replace(&number, "#");
            }
        }
    }
    let text = words.join(" ");
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(|word| {
            let is_date = word.len() >= 20 && word.starts_with("20") && word.ends_with('Z');
            let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            match word.len() {
                _ if is_date => "<time>",
                32 if word.bytes().all(is_hex) => "<digest>",
                _ => word,
            }
        });
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}
