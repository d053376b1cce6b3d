//! What is looked for, and in which disguises.

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};

/// A value that exists nowhere else in the world.
#[derive(Clone)]
pub struct Canary {
    pub name: String,
    pub bytes: Vec<u8>,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whoever has it can do something with it: it must be nowhere.
    Secret,
    /// It says who somebody is, or what for: Redis, logs and metrics must not have it. A host may
    /// print it.
    Personal,
}

impl Canary {
    pub fn new(kind: Kind, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), bytes: bytes.into(), kind }
    }

    /// A fresh text with the name in it.
    pub fn fresh(kind: Kind, name: &str) -> Self {
        let random = vestibule::pkce::OauthState::random();
        Self::new(kind, name, format!("canary-{name}-{}", random.secret()))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    /// All the ways in which it could be written: each with its name.
    pub fn forms(&self) -> Vec<(String, String)> {
        let mut forms = vec![
            ("raw".to_owned(), text_of(&self.bytes)),
            ("escaped".to_owned(), escaped(&self.bytes)),
            ("hex".to_owned(), hex(&self.bytes)),
            ("HEX".to_owned(), hex(&self.bytes).to_uppercase()),
        ];
        for at in 0..3 {
            let standard = aligned(&self.bytes, at, Base64Unpadded::encode_string);
            let url = aligned(&self.bytes, at, Base64UrlUnpadded::encode_string);
            forms.push((format!("base64+{at}"), standard));
            forms.push((format!("base64url+{at}"), url));
        }
        forms
    }
}

/// Somewhere that something could have been written.
pub struct Place {
    pub name: String,
    pub text: String,
}

impl Place {
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        Self { name: name.into(), text: text_of(bytes) }
    }

    /// Where a host's own `{:?}` goes, rather than the library.
    fn is_the_hosts(&self) -> bool {
        self.name == "Debug"
    }
}

/// Every canary that is in a place where it must not be.
pub fn hits(places: &[Place], canaries: &[Canary]) -> Vec<String> {
    let mut hits = Vec::new();
    for canary in canaries {
        let forms = canary.forms();
        for place in places {
            if canary.kind == Kind::Personal && place.is_the_hosts() {
                continue;
            }
            for (form, text) in &forms {
                if let Some(at) = place.text.find(text) {
                    let around = place.text[..at].chars().rev().take(60).collect::<Vec<_>>();
                    let before: String = around.into_iter().rev().collect();
                    let (name, place) = (&canary.name, &place.name);
                    hits.push(format!("{name} ({form}) in {place}, behind {before:?}"));
                }
            }
        }
    }
    hits
}

/// Each byte as one character: a search in this is a search in the bytes.
fn text_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// As MONITOR and the crash log write it.
fn escaped(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        7 => "\\a".to_owned(),
        8 => "\\b".to_owned(),
        b'"' | b'\\' => format!("\\{}", char::from(*byte)),
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(one).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What base64 makes of it wherever it stands in a longer text: without the digits at both ends
/// that other bytes have a part in.
fn aligned(bytes: &[u8], at: usize, encode: fn(&[u8]) -> String) -> String {
    let text = encode(&[&[0; 2][..at], bytes].concat());
    let end = (at + bytes.len()) * 8 / 6;
    text[(at * 8).div_ceil(6)..end].to_owned()
}

#[test]
fn base64_is_found_wherever_it_stands() {
    let canary = Canary::fresh(Kind::Secret, "x");
    for before in ["", "a", "ab", "abc", "abcd"] {
        for after in ["", "z", "yz"] {
            let text = format!("{before}{}{after}", canary.text());
            let place =
                Place::new("here", Base64Unpadded::encode_string(text.as_bytes()).as_bytes());
            assert!(!hits(&[place], std::slice::from_ref(&canary)).is_empty(), "{before} {after}");
        }
    }
    let other = Place::new("here", Canary::fresh(Kind::Secret, "x").text().as_bytes());
    assert!(hits(&[other], &[canary]).is_empty());
}
