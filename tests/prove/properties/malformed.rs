//! Whatever text, path or record comes: nothing panics, nothing large is allocated, and no name
//! leaves its place.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use vestibule::{
    Digest,
    pending::Namespace,
    pkce::OauthState,
    seal::{Binding, Seal},
    store::{
        ConnectionId, PendingId, Shard, TokenId,
        redis::{Prefix, RedisConfig},
    },
    token::Scope,
};

use super::{Progress, Verdict, verdict};
use crate::support::server::random;

/// The most that was allocated beyond what there was when it was last asked, in bytes. Where nobody
/// counts, 0.
pub type Peak = fn() -> usize;

/// Nothing that is read may cost more: serde reserves a MiB at the most, whatever length a body
/// claims, and the body itself comes on top.
pub const MOST: usize = (1 << 20) + (64 << 10);

/// Any spread will do, and the seed repeats it.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    pub fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    pub fn digest(&mut self) -> Digest {
        let bytes = [self.roll().to_le_bytes(), self.roll().to_le_bytes()].concat();
        Digest::from_bytes(&bytes).unwrap()
    }

    /// Changes, drops, doubles or adds something.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 if !bytes.is_empty() => bytes[at] = self.roll() as u8,
                2 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                3 if !bytes.is_empty() => drop(bytes.remove(at)),
                4 => {
                    let end = (at + self.below(20)).min(bytes.len());
                    let part = bytes[at.min(end)..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => {
                    let more: Vec<u8> = (0..self.below(8)).map(|_| self.roll() as u8).collect();
                    let at = at.min(bytes.len());
                    bytes.splice(at..at, more);
                }
            }
        }
    }
}

/// What a run of one target has found.
pub struct Run {
    count: u64,
    large: u64,
    peak: Peak,
    worst: usize,
}

impl Run {
    pub fn new(peak: Peak) -> Self {
        peak();
        Self { count: 0, large: 0, peak, worst: 0 }
    }

    pub fn one(&mut self, progress: &Progress) {
        let peak = (self.peak)();
        self.worst = self.worst.max(peak);
        self.large += u64::from(peak > MOST);
        self.count += 1;
        if self.count.is_multiple_of(1000) {
            progress(1000);
        }
    }

    pub fn verdict(self, figure: &str, broken: &[(&str, u64)]) -> Verdict {
        let mut broken = broken.to_vec();
        broken.push(("allocations of more than 1 MiB and the body", self.large));
        let worst = self.worst / 1024;
        verdict(format!("{figure}, at most {worst} KiB allocated for one"), &broken)
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Body {
    text: String,
    bytes: Vec<u8>,
    words: Vec<String>,
    map: BTreeMap<String, u64>,
    inner: Option<Box<Body>>,
}

/// Who decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoder {
    Vestibule,
    /// One that makes room for as much as it is told will come.
    Trusting,
}

/// MessagePack of all sorts, without a seal before it: what decodes is what somebody encoded.
pub fn decoding(decoder: Decoder, count: u64, peak: Peak, progress: &Progress) -> Verdict {
    let seed = random();
    let mut dice = Dice::new(seed);
    let seal = Seal::passthrough_for_development();
    let binding = Binding { purpose: "pkce", prefix: "vst", name: b"one" };
    let body = |inner| Body {
        text: "a text".to_owned(),
        bytes: vec![1, 2, 3],
        words: vec!["one".to_owned(), "two".to_owned()],
        map: BTreeMap::from([("three".to_owned(), 4)]),
        inner,
    };
    let whole = body(Some(Box::new(body(None))));
    let good = seal.seal_short(binding, Duration::from_secs(600), &whole).unwrap();
    let (mut decoded, mut run) = (0, Run::new(peak));
    for number in 0..count {
        let mut bytes = good.clone();
        match number % 4 {
            0 => dice.mutate(&mut bytes),
            // A length that nothing follows: of a map, an array, a text, bytes.
            1 => {
                let at = 10 + dice.below(bytes.len() - 10);
                let claims = [0xdf, 0xdd, 0xdb, 0xc6];
                let claim =
                    [&[claims[dice.below(4)]][..], &dice.roll().to_be_bytes()[..4]].concat();
                bytes.splice(at..at, claim);
            }
            // Deeper than anybody needs.
            2 => {
                bytes.truncate(10);
                let deep = [0x91, 0x81, 0xdc][dice.below(3)];
                bytes.extend(std::iter::repeat_n(deep, dice.below(60_000)));
            }
            _ => {
                bytes.truncate(10);
                bytes.extend((0..dice.below(300)).map(|_| dice.roll() as u8));
            }
        }
        match decoder {
            Decoder::Vestibule => {
                decoded += u64::from(seal.open_short::<Body>(binding, &bytes).is_ok());
            }
            Decoder::Trusting => {
                let claim = bytes.iter().position(|byte| *byte == 0xc6 || *byte == 0xdb);
                let length = claim.and_then(|at| bytes.get(at + 1..at + 5)?.try_into().ok());
                let length = u32::from_be_bytes(length.unwrap_or_default());
                drop(Vec::<u8>::with_capacity((length >> 6) as usize));
            }
        }
        run.one(progress);
    }
    let intact = seal.open_short::<Body>(binding, &good).is_ok_and(|found| found == whole);
    let figure = format!(
        "{count} altered, cut, deep and random bodies of which {decoded} still had a body's shape; \
         seed {seed}"
    );
    run.verdict(&figure, &[("intact bodies that do not decode", u64::from(!intact))])
}

/// Ids, prefixes, states and URLs: what is accepted is written as it was read.
pub fn texts(count: u64, peak: Peak, progress: &Progress) -> Verdict {
    let seed = random();
    let mut dice = Dice::new(seed);
    let good = [
        "c3ffffffffffffffffffffffffffffffff",
        "c3000102030405060708090a0b0c0d0ec3000102030405060708090a0b0c0d0e",
        "c3000102030405060708090a0b0c0d0e",
        "my-app-2",
        "redis://user:secret@127.0.0.1:6379/3",
        "redis-cluster://a:1,b:2",
        "redis-sentinel://:secret@a:1,b:2/service/1",
        "acme/team-1",
    ];
    fn back<T: FromStr + ToString>(text: &str) -> Option<String> {
        text.parse::<T>().ok().map(|read| read.to_string())
    }
    let (mut accepted, mut changed, mut run) = (0, 0, Run::new(peak));
    for _ in 0..count {
        let mut bytes = dice.one(&good).as_bytes().to_vec();
        dice.mutate(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        drop(OauthState::parse(&bytes));
        drop(Namespace::new(text.as_str()));
        drop(RedisConfig::new(&text));
        let read = [
            back::<ConnectionId>(&text),
            back::<PendingId>(&text),
            back::<TokenId>(&text),
            Digest::from_hex(&text).map(Digest::to_hex),
            Shard::from_hex(&text).map(|shard| shard.to_string()),
            Prefix::new(text.as_str()).ok().map(|prefix| prefix.to_string()),
        ];
        for read in read.into_iter().flatten() {
            accepted += 1;
            changed += u64::from(read != text);
        }
        run.one(progress);
    }
    let figure = format!(
        "{count} altered ids, digests, prefixes, states, namespaces and URLs, read as {accepted} \
         and written the same; seed {seed}"
    );
    run.verdict(&figure, &[("written otherwise", changed)])
}

/// Who matches paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matcher {
    Vestibule,
    /// One that decodes first and cleans up then, as some do.
    Lax,
}

/// Paths as a stranger would write them: what a route allows is one of the ways to write the paths
/// that it names, and nothing else.
pub fn paths(matcher: Matcher, count: u64, peak: Peak, progress: &Progress) -> Verdict {
    const BASE: &str = "/api/oauth/per-user";
    let seed = random();
    let mut dice = Dice::new(seed);
    let scope = Scope::mcp_auth(BASE);
    let segments = [
        "api",
        "oauth",
        "per-user",
        "flows",
        "flow-1",
        "flow-2",
        "start",
        "..",
        ".",
        "",
        "%2e%2e",
        "%2F",
        "%5c",
        "flow-1%00",
        "flow-1;a=b",
        "flow%2D1",
        "FLOW-1",
        "%252e",
        "flow-1?a=b",
        "é",
    ];
    let good = [
        "/api/oauth/per-user/flows/flow-1",
        "/api/oauth/per-user/flows/flow-1/start",
        "/api/oauth/per-user/flows/flow-1/authorize",
    ];
    let (mut allowed, mut wrong, mut run) = (0, Vec::new(), Run::new(peak));
    for number in 0..count {
        let path = match number % 3 {
            0 => {
                let mut bytes = dice.one(&good).as_bytes().to_vec();
                dice.mutate(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            }
            1 => {
                // One character in another form.
                let mut path = dice.one(&good).to_owned();
                let at = dice.below(path.len());
                let other = match dice.below(4) {
                    0 => format!("%{:02x}", path.as_bytes()[at]),
                    1 => format!("%25{:02X}", path.as_bytes()[at]),
                    2 => format!("{}/../{}", &path[at..=at], &path[at..=at]),
                    _ => path[at..=at].to_uppercase(),
                };
                path.replace_range(at..=at, &other);
                path
            }
            _ => {
                let count = dice.below(8);
                let few: Vec<_> = (0..count).map(|_| dice.one(&segments)).collect();
                format!("{}/{}", dice.one(&["", BASE, "/"]), few.join("/"))
            }
        };
        let method = dice.one(&["GET", "POST", "DELETE", "get", ""]);
        let allows = match matcher {
            Matcher::Vestibule => scope.allows(method, &path, "flow-1"),
            Matcher::Lax => lax(&path).is_some_and(|path| good.contains(&path.as_str())),
        };
        if allows {
            allowed += 1;
            if !strictly(&path, BASE) && wrong.len() < 20 {
                wrong.push(path);
            }
        }
        run.one(progress);
    }
    for path in &wrong {
        println!("allowed: {path:?}");
    }
    let intact = scope.allows("GET", good[0], "flow-1");
    let figure = format!(
        "{count} altered, encoded and mixed paths of which {allowed} were still one of the route's; \
         seed {seed}"
    );
    run.verdict(
        &figure,
        &[
            ("allowed that are not the route's", wrong.len() as u64),
            ("intact paths refused", u64::from(!intact)),
        ],
    )
}

/// Segment by segment: decoded once, each is a name of its own, and the flow is the token's.
fn strictly(path: &str, base: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let decode = |segment: &str| -> Option<String> {
        let mut bytes = Vec::new();
        let mut rest = segment.as_bytes();
        while let [first, tail @ ..] = rest {
            if *first == b'%' {
                let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &tail[2..];
            } else {
                bytes.push(*first);
                rest = tail;
            }
        }
        let text = String::from_utf8(bytes).ok()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
        (!text.is_empty() && text.chars().all(plain) && text != "." && text != "..").then_some(text)
    };
    let Some(segments) = path.strip_prefix('/') else { return false };
    let Some(segments) = segments.split('/').map(decode).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let base: Vec<_> = base[1..].split('/').collect();
    let Some(rest) =
        segments.strip_prefix(&*base.iter().map(ToString::to_string).collect::<Vec<_>>())
    else {
        return false;
    };
    rest.iter().any(|segment| segment == "flow-1") && rest.len() <= 3
}

fn lax(path: &str) -> Option<String> {
    let mut text = path.split('?').next()?.to_ascii_lowercase();
    for (from, to) in [("%25", "%"), ("%2e", "."), ("%2f", "/"), ("%2d", "-"), ("//", "/")] {
        text = text.replace(from, to);
    }
    let mut clean: Vec<&str> = Vec::new();
    for segment in text.split('/').skip(1) {
        match segment {
            ".." => drop(clean.pop()),
            "." => {}
            other => clean.push(other.split([';', '\0']).next()?),
        }
    }
    Some(format!("/{}", clean.join("/")))
}
