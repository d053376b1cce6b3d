//! Reads Rust just well enough to tell code from comments and strings, and to find paths.

use super::files::File;

/// A source text taken apart; line numbers stay what they were.
#[derive(Debug, Default)]
pub struct Rust {
    /// Without comments and without what is in literals.
    pub code: String,
    /// The string literals, as they are written, and their lines.
    pub strings: Vec<(usize, String)>,
}

/// A path as `a::b::C`, with its line.
pub type Named = (usize, String);

impl Rust {
    pub fn read(text: &str) -> Self {
        let mut rust = Self::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (len, quote) = match first {
                '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), None),
                '/' if rest.starts_with("/*") => (block_comment(rest), None),
                '"' => string(rest, 1, "\"", true),
                'r' if !ends_in_word(&rust.code) => raw_string(rest),
                '\'' => (character(rest), None),
                _ => (0, None),
            };
            if len == 0 {
                rust.code.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            if let Some(inside) = quote {
                rust.strings.push((1 + rust.code.matches('\n').count(), inside.to_owned()));
                rust.code.push_str("\"\"");
            }
            rust.code.extend(rest[..len].matches('\n'));
            rest = &rest[len..];
        }
        rust
    }

    /// The part before the unit tests.
    pub fn production(&self) -> &str {
        self.code.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default()
    }

    /// Every path of more than one segment, with the trees of `use` written out. A path that starts
    /// with `::` loses that. One that starts at `self` or `super` starts at `crate` instead.
    pub fn paths(&self, file: &File) -> Vec<Named> {
        let tokens = tokens(&self.code);
        let mut found = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let (line, token) = tokens[at];
            let before = found.len();
            if token == "use" {
                at = use_tree(&tokens, at + 1, "", &mut found);
            } else if is_word(token) {
                let mut path = token.to_owned();
                while tokens.get(at + 1).is_some_and(|next| next.1 == "::")
                    && tokens.get(at + 2).is_some_and(|next| is_word(next.1))
                {
                    path = format!("{path}::{}", tokens[at + 2].1);
                    at += 2;
                }
                if path.contains("::") {
                    found.push((line, path));
                }
                at += 1;
            } else {
                at += 1;
            }
            for (_, path) in &mut found[before..] {
                *path = from_the_root(path, &module_of(&file.path));
            }
        }
        found
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of a literal that opens with `open` bytes, and what is inside.
fn string<'a>(text: &'a str, open: usize, close: &str, escapes: bool) -> (usize, Option<&'a str>) {
    let mut at = open;
    while at < text.len() && !text[at..].starts_with(close) {
        let skip = if escapes && text[at..].starts_with('\\') { 1 } else { 0 };
        at += skip;
        at += text[at..].chars().next().map_or(0, char::len_utf8);
    }
    let inside = &text[open.min(text.len())..at.min(text.len())];
    ((at + close.len()).min(text.len()), Some(inside))
}

fn raw_string(text: &str) -> (usize, Option<&str>) {
    let hashes = text[1..].bytes().take_while(|b| *b == b'#').count();
    if text[1 + hashes..].starts_with('"') {
        string(text, 2 + hashes, &format!("\"{}", "#".repeat(hashes)), false)
    } else {
        (0, None)
    }
}

/// The length of a character literal; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |end| end + 4),
        Some(_) => match chars.next() {
            Some((end, '\'')) => end + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// If an `r` here is the end of a word, as in `for"`; `br"` opens a string all the same.
fn ends_in_word(code: &str) -> bool {
    let mut before = code.chars().rev();
    match before.next() {
        Some('b' | 'c') => before.next().is_some_and(is_word_char),
        Some(other) => is_word_char(other),
        None => false,
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::`, and single other characters.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut line, mut rest) = (1, code);
    while let Some(first) = rest.chars().next() {
        let len = if is_word_char(first) {
            rest.find(|c| !is_word_char(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        line += usize::from(first == '\n');
        if !first.is_whitespace() {
            found.push((line, &rest[..len]));
        }
        rest = &rest[len..];
    }
    found
}

/// Writes out one tree from `at` on; returns where it ends.
fn use_tree(
    tokens: &[(usize, &str)],
    mut at: usize,
    prefix: &str,
    found: &mut Vec<Named>,
) -> usize {
    let mut path = prefix.to_owned();
    let mut last = 0;
    while let Some((line, token)) = tokens.get(at).copied() {
        match token {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.1 != "}") {
                    at = use_tree(tokens, at, &path, found);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.1 == ","));
                }
                return at + 1;
            }
            "}" | "," | ";" => break,
            "as" => at += 1, // and over the new name
            "::" => {}
            "self" if !path.is_empty() => {}
            word => {
                let joint = if path.is_empty() { "" } else { "::" };
                path = format!("{path}{joint}{word}");
            }
        }
        last = line;
        at += 1;
    }
    found.push((last, path));
    at
}

/// `src/store/redis/mod.rs` is `crate::store::redis`.
fn module_of(path: &str) -> String {
    let inside = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let inside = inside.trim_end_matches("/mod").trim_end_matches("lib");
    format!("crate/{inside}").trim_end_matches('/').replace('/', "::")
}

fn from_the_root(path: &str, module: &str) -> String {
    let (mut path, mut module) = (path, module.to_owned());
    let mut relative = false;
    loop {
        if let Some(rest) = path.strip_prefix("self::") {
            path = rest;
        } else if let Some(rest) = path.strip_prefix("super::") {
            module.truncate(module.rfind("::").unwrap_or(module.len()));
            path = rest;
        } else {
            break;
        }
        relative = true;
    }
    if relative { format!("{module}::{path}") } else { path.to_owned() }
}

#[test]
fn comments_and_literals_are_not_code() {
    let rust = Rust::read(
        "// redis::a\nlet x = \"redis::b \\\" {\"; /* redis::c /* d */ */ 'l: for _ in ['\"', '\\''] {}\n\
         br#\"raw \" one\"#; /// doc\nfn f<'a>() {}\n",
    );
    assert_eq!(rust.code, "\nlet x = \"\";  'l: for _ in [, ] {}\nb\"\"; \nfn f<'a>() {}\n");
    let strings = [(2, "redis::b \\\" {".to_owned()), (3, "raw \" one".to_owned())];
    assert_eq!(rust.strings, strings);
}

#[test]
fn paths_are_written_out() {
    let file = File::example(
        "src/store/redis/link.rs",
        "use crate::{seal, store::{self, Class as C, redis::Url}};\nuse super::fault::{Fault, *};\n\
         use redis;\nfn f() -> ::redis::RedisResult<tokio::time::Instant> { self::g(Vec::<a::B>::new()) }",
    );
    let paths: Vec<_> = Rust::read(&file.text).paths(&file).into_iter().map(|p| p.1).collect();
    let expected = [
        "crate::seal",
        "crate::store",
        "crate::store::Class",
        "crate::store::redis::Url",
        "crate::store::redis::fault::Fault",
        "crate::store::redis::fault::*",
        "redis",
        "redis::RedisResult",
        "tokio::time::Instant",
        "crate::store::redis::link::g",
        "a::B",
    ];
    assert_eq!(paths, expected);
}
