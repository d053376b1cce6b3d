//! What is printed, compared with what was looked at once: `golden/*.txt`. With `UPDATE_GOLDEN=1` in
//! the environment they are written anew; look at the difference.

use std::{fs, path::PathBuf};

use vestibule::{Keys, inspect::Names};

use super::scene::{CANARY, Ids, Scene};

/// Where they are.
pub(crate) fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/commands/golden")
}

/// Compares, with ids, times and addresses replaced by words.
pub(crate) fn expect(name: &str, printed: &str, scene: &Scene, ids: &Ids) {
    let shown = normal(printed, scene, ids);
    let path = dir().join(format!("{name}.txt"));
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
    for (key, name) in ring(scene) {
        text = text.replace(&key, &name);
    }
    let owner = Names::new(scene.keys.naming.clone()).owner(CANARY).to_hex();
    text = text.replace(&owner, "<owner>").replace(&owner[..8], "<owner>");
    text = text.replace(&scene.provider.issuer(), "<issuer>");
    text = text.replace(scene.redis.rsplit(['/', '@']).next().unwrap(), "<redis>");
    text = text.replace(&scene.prefix, "vst");
    text = text.replace(&scene.dir.path().display().to_string(), "<dir>");
    text = text.replace("less than 1 s", "# s").replace("within 1 s", "in # s");
    text = text.replace("just now", "# s ago");
    let text = times(&named(&text));
    let mut lines: Vec<String> = text.lines().map(|line| varying(narrow(line))).collect();
    sort(&mut lines);
    lines.join("\n") + "\n"
}

/// The keys that the ring began with, then others as they stand in the file.
fn ring(scene: &Scene) -> Vec<(String, String)> {
    let file = fs::read_to_string(scene.path("keys.toml")).unwrap_or_default();
    let now = Keys::from_toml(&file).map(|keys| keys.ring.key_ids().collect()).unwrap_or_default();
    let mut all: Vec<_> = scene.keys.ring.key_ids().collect();
    let new: Vec<_> = Vec::into_iter(now).filter(|key| !all.contains(key)).collect();
    all.extend(new);
    all.iter().zip(1..).map(|(key, n)| (key.to_string(), format!("<key {n}>"))).collect()
}

/// Rows that begin with an id come in the order of those, which are random.
fn sort(lines: &mut [String]) {
    let mut at = 0;
    while let Some(head) = lines[at..].iter().position(|line| line.starts_with('═')) {
        let first = at + head + 1;
        let rows = lines[first..].iter().position(|line| line.starts_with('─')).unwrap_or(0);
        if first > 1 && lines[first - 2].starts_with("id ") {
            lines[first..first + rows].sort();
        }
        at = first;
    }
}

/// What is another thing in each run, between what stands before it and behind it.
const VARYING: [(&str, &str, &str); 7] = [
    ("ok version: ", "", "<server>"),
    ("ok scripts: ", " are loaded", "<some> of <all>"),
    ("ok clock: ", " this machine's", "# ms beside"),
    ("Vestibule ", " UTC", "<time>"),
    ("which answers in ", " ms", "#"),
    ("\"id\": \"", "-<ms>", "{xx}"),
    ("-<ms>-", "\"", "#"),
];

fn varying(mut line: String) -> String {
    for (before, behind, name) in VARYING {
        let Some(from) = line.find(before).map(|at| at + before.len()) else { continue };
        let to =
            if behind.is_empty() { Some(line.len() - from) } else { line[from..].find(behind) };
        if let Some(to) = to {
            line.replace_range(from..from + to, name);
        }
    }
    line
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

/// `37 min` is `# min`.
fn times(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        let unit = words[at].trim_end_matches(|c: char| !c.is_ascii_alphabetic());
        let unit = unit.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        if ["s", "min", "h", "days", "ms", "MB", "keys"].contains(&unit) {
            let before = words[at - 1].trim_end_matches(|c: char| c.is_ascii_digit());
            let is_number = before.len() < words[at - 1].len();
            if is_number && (before.is_empty() || before.ends_with(['(', '"', '\n'])) {
                words[at - 1] = format!("{before}#");
            }
        }
    }
    words.join(" ")
}

/// A date is `<time>`; so are digests and milliseconds known by their looks, whatever they stand beside.
fn named(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let word = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let all = |is: fn(&u8) -> bool| rest.as_bytes()[..word].iter().all(is);
        let (len, name) = match word {
            _ if date(rest).is_some() => (date(rest).unwrap(), "<time>"),
            0 => (first.len_utf8(), ""),
            13 if all(u8::is_ascii_digit) => (13, "<ms>"),
            32 if rest.bytes().take(32).all(is_hex) => (32, "<digest>"),
            _ => (word, ""),
        };
        shown += if name.is_empty() { &rest[..len] } else { name };
        rest = &rest[len..];
    }
    shown
}

/// How long the date is that this begins with.
fn date(text: &str) -> Option<usize> {
    const SHAPE: &str = "0000-00-00T00:00:00";
    let fits = |(b, shape): (u8, u8)| if shape == b'0' { b.is_ascii_digit() } else { b == shape };
    let is_date = text.len() > SHAPE.len() && text.bytes().zip(SHAPE.bytes()).all(fits);
    is_date.then(|| text.find('Z')).flatten().map(|end| end + 1)
}
