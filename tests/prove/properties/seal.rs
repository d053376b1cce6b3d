//! Whatever bytes come, nothing opens that should not, and nothing panics.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vestibule::{
    Keys,
    seal::{Binding, Seal},
};

use super::{
    Progress, Verdict,
    malformed::{MOST, Peak},
    verdict,
};
use crate::support::server::random;

#[derive(Serialize, Deserialize)]
struct Body {
    text: String,
}

/// Truncated, altered, moved, swapped and random bodies.
pub fn hostile_bodies(count: u64, peak: Peak, progress: &Progress) -> Verdict {
    let seed = random();
    let mut rng = seed | 1;
    let mut next = move || {
        // xorshift: any spread will do, and the seed repeats it.
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        rng
    };
    let seal = Seal::new(Keys::random().ring);
    let foreign = Seal::new(Keys::random().ring);
    let binding = |name| Binding { purpose: "pkce", prefix: "vst", name };
    let (elsewhere, otherwise) = ("vst2", "pending");
    let life = Duration::from_secs(600);
    let body = Body { text: "a body".to_owned() };
    let good = seal.seal_short(binding(b"one"), life, &body).unwrap();
    let other = foreign.seal_short(binding(b"one"), life, &body).unwrap();
    let neighbour = seal.seal_short(binding(b"two"), life, &body).unwrap();
    let (mut opened, mut large, mut worst) = (0, 0, 0);
    peak();
    for number in 0..count {
        let mut bytes = good.clone();
        let mut at = binding(b"one");
        match number % 8 {
            0 => bytes.truncate(next() as usize % bytes.len()),
            1 => {
                let byte = next() as usize % bytes.len();
                bytes[byte] ^= 1 << (next() % 8);
            }
            2 => at.name = b"two",
            4 => at.purpose = otherwise,
            5 => at.prefix = elsewhere,
            6 => bytes.clone_from(&neighbour),
            3 => bytes.clone_from(&other),
            _ => {
                bytes = (0..next() % 200).map(|_| next() as u8).collect();
                if let Some(first) = bytes.first_mut() {
                    *first %= 3; // the versions that are looked at more closely
                }
            }
        }
        opened += u64::from(seal.open_short::<Body>(at, &bytes).is_ok());
        let peak = peak();
        worst = worst.max(peak);
        large += u64::from(peak > MOST);
        if number % 1000 == 999 {
            progress(1000);
        }
    }
    let intact = seal.open_short::<Body>(binding(b"one"), &good).is_ok_and(|b| b.text == body.text);
    verdict(
        format!(
            "{count} truncated, altered, foreign and random bodies, moved to another record, purpose \
             and prefix, none opened, at most {} KiB allocated for one; seed {seed}",
            worst / 1024
        ),
        &[
            ("opened", opened),
            ("allocations of more than 1 MiB", large),
            ("intact bodies that do not open", u64::from(!intact)),
        ],
    )
}
