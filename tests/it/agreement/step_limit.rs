//! What may be asked about caps and pauses of two providers.

use std::{num::NonZero, ops::Range, time::Duration};

use proptest::{collection, prelude::*, sample::select};
use vestibule::store::Caps;

use super::step::{HOLDERS, LEASE, MOST, REQUESTS, Step, span, wait};

/// One thing to do about a provider. Numbers choose from pools.
#[derive(Debug, Clone)]
pub(super) enum LimitStep {
    Reserve { of: u8, holder: u8, lease: Duration, caps: Caps, in_line: bool },
    Release { of: u8, holder: u8, caps: Caps, made: bool },
    Pause { of: u8, request: u8, first: Duration },
    Resume { of: u8, request: u8 },
    Read { of: u8 },
}

impl LimitStep {
    /// What shows the change that it made.
    pub(super) fn shown_by(&self) -> Option<Self> {
        match *self {
            Self::Pause { of, .. } | Self::Resume { of, .. } => Some(Self::Read { of }),
            _ => None,
        }
    }
}

/// Steps at random, and stories of a pause: one that is over, is asked after, and ends or does not.
pub(super) fn limit_sequence() -> impl Strategy<Value = Vec<Step>> {
    let paused = (OF, REQUESTS).prop_flat_map(|(of, request)| {
        let reserve = move || reserve(Just(of));
        (
            pause(Just(of)),
            Just(wait_for(35)),
            reserve(),
            reserve(),
            wait(),
            pause(Just(of)),
            reserve(),
        )
            .prop_map(move |(a, b, c, d, e, f, g)| {
                let resume = Step::Limit(LimitStep::Resume { of, request });
                vec![a, b, c, d, e, f, g, resume, Step::Again(0)]
            })
    });
    let story = prop_oneof![
        14 => step().prop_map(|step| vec![step]),
        1 => paused,
    ];
    collection::vec(story, 15..MOST)
        .prop_map(|stories| stories.into_iter().flatten().take(MOST).collect())
}

fn step() -> impl Strategy<Value = Step> {
    let release = (OF, HOLDERS, caps(), any::<bool>()).prop_map(|(of, holder, caps, made)| {
        Step::Limit(LimitStep::Release { of, holder, caps, made })
    });
    let resume =
        (OF, REQUESTS).prop_map(|(of, request)| Step::Limit(LimitStep::Resume { of, request }));
    prop_oneof![
        12 => reserve(OF),
        6 => release,
        2 => pause(OF),
        2 => resume,
        6 => wait(),
        4 => (0..3_usize).prop_map(Step::Again),
    ]
}

fn reserve(of: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (of, HOLDERS, span(&LEASE), caps(), any::<bool>()).prop_map(
        |(of, holder, lease, caps, in_line)| {
            Step::Limit(LimitStep::Reserve { of, holder, lease, caps, in_line })
        },
    )
}

fn pause(of: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (of, REQUESTS, span(&FIRST))
        .prop_map(|(of, request, first)| Step::Limit(LimitStep::Pause { of, request, first }))
}

/// One call in 24 s; two at once, and then one each 13 s; places; all of it; nothing.
fn caps() -> impl Strategy<Value = Caps> {
    let rate = |calls, seconds| Some((NonZero::new(calls).unwrap(), Duration::from_secs(seconds)));
    let (slow, bursts) = (rate(1, 24), rate(20, 247));
    select(vec![
        Caps { rate: slow, at_once: None },
        Caps { rate: bursts, at_once: None },
        Caps { rate: None, at_once: NonZero::new(1) },
        Caps { rate: None, at_once: NonZero::new(2) },
        Caps { rate: bursts, at_once: NonZero::new(2) },
        Caps::default(),
    ])
}

fn wait_for(seconds: u64) -> Step {
    Step::Wait(Duration::from_secs(seconds))
}

const OF: Range<u8> = 0..2;
/// These, and twice these, lie at least a second off the multiples of 7 s.
const FIRST: [u64; 2] = [31, 33];
