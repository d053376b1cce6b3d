//! What the time of an answer tells of a token that somebody guesses.
//!
//! A lookup goes by a keyed digest of the whole text. So a guess that is right in all characters
//! but one takes as long as one that is right in none: nothing is compared character by character.
//! A hit takes longer, since it opens a seal; it also says yes. What has expired or was revoked once
//! was a token: whoever presents it had it.

use std::time::{Duration, Instant};

use redis::{AsyncCommands, aio::MultiplexedConnection};
use vestibule::token::{MintSpec, Minted, NotFound, TempTokens, TokenError};

use super::{
    Progress, Verdict,
    tokens::{get, replica},
    unwatched, verdict,
};
use crate::support::{
    server::{TestServer, random},
    stores::fresh_prefix,
};

/// What a text is; the order is that of [`KINDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hit,
    RandomMiss,
    NearMiss,
    Expired,
    Revoked,
    Dropped,
    Malformed,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Hit, "a hit"),
    (Kind::RandomMiss, "a random miss"),
    (Kind::NearMiss, "a miss by one character"),
    (Kind::Expired, "expired"),
    (Kind::Revoked, "revoked"),
    (Kind::Dropped, "dropped"),
    (Kind::Malformed, "malformed"),
];
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Of a text's 79 characters, the first of the unguessable ones; and the last whose bits all count.
const UNGUESSABLE: std::ops::Range<usize> = 36..78;
/// A second look, where the first was disturbed.
const LOOKS: usize = 2;

/// Texts of each kind are validated by turns in random order, one at a time. Between a random miss
/// and one by a single character, the medians may differ by `bound`, as a part of the former.
///
/// With `walks`, an answer also compares the text with a live one, as a search through a list would,
/// and takes a part of what a lookup takes on this machine for every character that agrees.
pub async fn of_answers(
    server: &TestServer,
    walks: bool,
    bound: f64,
    count: u64,
    progress: Progress,
) -> Verdict {
    let seed = random();
    let mut told = None;
    for _ in 0..LOOKS {
        let look = Scene::new(server, walks).await.look(count, &progress).await;
        let [_, random_miss, near_miss, ..] = look.medians;
        let apart = (near_miss - random_miss).abs() / random_miss;
        let figures: Vec<_> = KINDS
            .iter()
            .zip(look.medians)
            .map(|((_, name), median)| format!("{name} {median:.2} ({:+.2})", median - random_miss))
            .collect();
        let found = verdict(
            format!(
                "{count} of each kind, one at a time, in random order; p50 in µs, and the \
                 difference to a random miss: {}; a miss by one character is {:.2} % apart; seed \
                 {seed}",
                figures.join(", "),
                apart * 100.0
            ),
            &[
                ("wrong answers", look.wrong),
                ("times in which a near guess shows", u64::from(apart > bound)),
            ],
        );
        if found.is_ok() {
            return found;
        }
        told = Some(found);
    }
    told.expect("there was a look")
}

struct Look {
    /// µs.
    medians: [f64; KINDS.len()],
    wrong: u64,
}

/// A replica, a token of each kind, and the way behind it.
struct Scene {
    tokens: TempTokens,
    raw: MultiplexedConnection,
    /// The key of the one that has expired.
    expired: String,
    hit: String,
    texts: [String; KINDS.len()],
    /// For each character that agrees.
    walks: Option<Duration>,
}

/// So small a part of a lookup is the comparison of a character, where one walks.
const A_STEP: u32 = 200;

impl Scene {
    async fn new(server: &TestServer, walks: bool) -> Self {
        let prefix = fresh_prefix();
        let tokens = replica(&server.url(), &prefix).await;
        let mint = async |resource: &str| -> Minted {
            let spec = MintSpec::new("plain", resource, Duration::from_secs(600));
            tokens.mint(&spec).await.unwrap()
        };
        let text = |minted: &Minted| minted.token.secret().to_owned();
        let [hit, expired, revoked] = [mint("one").await, mint("one").await, mint("one").await];
        let dropped = mint("two").await;
        tokens.revoke_id(revoked.id).await.unwrap();
        assert_eq!(tokens.revoke_resource("plain", "two").await.unwrap(), 1);
        let id = expired.id;
        let expired_key = format!("{prefix}:{{{}}}:token:{}", id.shard(), id.digest());
        let hit = text(&hit);
        let texts = KINDS.map(|(kind, _)| match kind {
            Kind::Hit | Kind::RandomMiss | Kind::NearMiss => hit.clone(),
            Kind::Expired => text(&expired),
            Kind::Revoked => text(&revoked),
            Kind::Dropped => text(&dropped),
            Kind::Malformed => hit.to_uppercase(),
        });
        let raw = server.raw().await;
        let mut scene = Self { tokens, raw, expired: expired_key, hit, texts, walks: None };
        if walks {
            let usual = scene.look(50, &unwatched()).await.medians[Kind::RandomMiss as usize];
            scene.walks = Some(Duration::from_secs_f64(usual / 1e6) / A_STEP);
        }
        scene
    }

    async fn look(&mut self, count: u64, progress: &Progress) -> Look {
        let mut samples = KINDS.map(|_| Vec::with_capacity(count as usize));
        let (mut order, mut wrong) = ([0, 1, 2, 3, 4, 5, 6], 0);
        for round in 0..count {
            if round % 100 == 0 {
                // It stays in its last minute, in which it is told from one that is gone.
                let _: () = self.raw.pexpire(&self.expired, 60_000).await.unwrap();
                progress(100.min(count - round));
            }
            self.guess();
            for at in (1..order.len()).rev() {
                order.swap(at, (random() % (at as u64 + 1)) as usize);
            }
            for at in order {
                let started = Instant::now();
                let judged = get(&self.tokens, &self.texts[at]).await;
                if let Some(step) = self.walks {
                    self.walk(&self.texts[at], step);
                }
                samples[at].push(started.elapsed().as_secs_f64() * 1e6);
                let right = match KINDS[at].0 {
                    Kind::Hit => judged.is_ok(),
                    Kind::RandomMiss | Kind::NearMiss => is(judged, NotFound::Absent),
                    Kind::Expired => matches!(judged, Err(TokenError::Expired)),
                    Kind::Revoked => is(judged, NotFound::Revoked),
                    Kind::Dropped => is(judged, NotFound::Dropped),
                    Kind::Malformed => is(judged, NotFound::Malformed),
                };
                wrong += u64::from(!right);
            }
        }
        let medians = samples.map(|mut samples| {
            samples.sort_by(f64::total_cmp);
            samples[samples.len() / 2]
        });
        Look { medians, wrong }
    }

    /// Two other guesses, for the resource of the hit: one right in nothing else, one in all
    /// characters but one of the last eight.
    fn guess(&mut self) {
        let mut bytes = self.hit.clone().into_bytes();
        let at = UNGUESSABLE.end - 8 + (random() % 8) as usize;
        bytes[at] = other_than(bytes[at]);
        self.texts[Kind::NearMiss as usize] = String::from_utf8(bytes).unwrap();
        let mut bytes = self.hit.clone().into_bytes();
        for byte in &mut bytes[UNGUESSABLE] {
            *byte = other_than(*byte);
        }
        self.texts[Kind::RandomMiss as usize] = String::from_utf8(bytes).unwrap();
    }

    fn walk(&self, text: &str, step: Duration) {
        for (given, wanted) in text.bytes().zip(self.hit.bytes()) {
            if given != wanted {
                return;
            }
            let started = Instant::now();
            while started.elapsed() < step {}
        }
    }
}

fn other_than(byte: u8) -> u8 {
    loop {
        let other = ALPHABET[(random() % 64) as usize];
        if other != byte {
            return other;
        }
    }
}

fn is<T>(judged: Result<T, TokenError>, cause: NotFound) -> bool {
    matches!(judged, Err(TokenError::NotFound(found)) if found == cause)
}
