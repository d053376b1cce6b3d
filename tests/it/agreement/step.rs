//! What may be asked. The pools are small, so that names collide, requests come again, and two
//! attempts present the same refresh token.

use std::{ops::Range, time::Duration};

use proptest::{collection, option, prelude::*, sample::select};
use vestibule::store::FailureKind;

use super::{
    step_access::AccessStep, step_device::DeviceStep, step_event::EventStep,
    step_headers::HeadersStep, step_lifecycle::LifecycleStep, step_limit::LimitStep,
    step_pending::PendingStep, step_token::TokenStep,
};

/// One thing to do. Numbers choose from pools.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Put {
        name: u8,
        request: u8,
        ttl: Duration,
    },
    Take {
        name: u8,
        request: u8,
    },
    Store {
        id: u8,
        request: u8,
        owner: u8,
        connector: &'static str,
        granted: Granted,
        /// No end is known by this.
        known_end: Option<u64>,
    },
    Read {
        id: u8,
    },
    Claim {
        request: u8,
        limit: u16,
        hide: Duration,
    },
    GiveBack {
        id: u8,
        wait: Duration,
    },
    Begin {
        id: u8,
        holder: u8,
        owner: Option<u8>,
        lease: Duration,
        settled: Duration,
        lifetime: Option<Duration>,
    },
    Renew {
        id: u8,
        holder: u8,
        lease: Duration,
    },
    Commit {
        of: Attempted,
        request: u8,
        answered_ago: Duration,
        granted: Granted,
    },
    Fail {
        of: Attempted,
        request: u8,
        kind: FailureKind,
        backoff: Duration,
        horizon: Option<Duration>,
    },
    Retry {
        id: u8,
        request: u8,
    },
    /// Seals a secret anew as it is read, or as it has never been.
    Reseal {
        id: u8,
        part: u8,
        stale: bool,
    },
    Pending(PendingStep),
    Device(DeviceStep),
    Limit(LimitStep),
    Token(TokenStep),
    Lifecycle(LifecycleStep),
    Access(AccessStep),
    Headers(HeadersStep),
    Event(EventStep),
    /// Over all shards; asked at the end.
    Backlog,
    /// What which key sealed; asked at the end.
    Sealed,
    Wait(Duration),
    /// The same as so many steps before, as a retry does it.
    Again(usize),
}

/// What a provider gave.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    pub(super) refresh_token: Option<u8>,
    pub(super) expires_in: Option<Duration>,
    pub(super) refresh_expires_in: Option<Duration>,
    pub(super) next_in: Option<Duration>,
}

/// Which attempt is decided, and what is claimed of it that is not true.
#[derive(Debug, Clone)]
pub(super) struct Attempted {
    pub(super) which: Which,
    pub(super) other_grant: bool,
    pub(super) other_token: Option<u8>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    /// The last, the one before it, and so on.
    Back(usize),
    /// As a retry keeps it.
    Number(usize),
}

/// Steps at random, and some stories, since what takes several verbs to come about rarely does by
/// chance. Mostly of a connection that exists.
pub(super) fn sequence() -> impl Strategy<Value = Vec<Step>> {
    let story = prop_oneof![
        30 => step().prop_map(|step| vec![step]),
        1 => (put(), take(), take()).prop_map(|(a, b, c)| vec![a, b, c]),
        1 => (claim(), give_back(), claim()).prop_map(|(a, b, c)| vec![a, b, c]),
        1 => (wait(), begin(), renew(), wait(), begin())
            .prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e]),
        1 => (wait(), begin(), store(), wait(), begin())
            .prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e]),
        1 => (wait(), begin(), fail(), wait(), begin())
            .prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e]),
        1 => (wait(), begin(), wait(), begin(), commit(), commit())
            .prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f]),
    ];
    let stored = (option::weighted(0.9, exists(0)), option::weighted(0.7, exists(1)));
    (stored, collection::vec(story, 15..MOST)).prop_map(|((one, other), rest)| {
        one.into_iter().chain(other).chain(rest.into_iter().flatten()).take(MOST).collect()
    })
}

/// A connection that exists.
pub(super) fn exists(id: u8) -> impl Strategy<Value = Step> {
    granted().prop_map(move |granted| Step::Store {
        id,
        request: 0,
        owner: id,
        connector: "github",
        granted,
        known_end: None,
    })
}

/// The longest sequence.
pub(super) const MOST: usize = 40;

/// What is added to the spans of the step at this place, so that no two ends fall together: their
/// order must not hang on a millisecond.
pub(super) fn apart(at: usize) -> Duration {
    Duration::from_millis(10 * at as u64)
}

/// Time moves by multiples of 7 s. All ends lie at least a second off these, with or without the
/// grace, so that the time that the test itself takes decides nothing.
const MOVES: [u64; 12] = [7, 7, 7, 7, 14, 14, 14, 14, 28, 28, 63, 665];
const TTL: [u64; 2] = [12, 600];
pub(super) const LEASE: [u64; 2] = [12, 33];
const SETTLED: [u64; 3] = [0, 0, 60];
const HIDE: [u64; 2] = [9, 30];
const GIVEN_BACK: [u64; 3] = [0, 0, 17];
const ACCESS: [u64; 4] = [5, 3600, 3600, 3600];
const REFRESH: [u64; 2] = [10, 600];
const LIFETIME: [u64; 2] = [17, 600];
const NEXT: [u64; 4] = [3, 3, 3, 24];
const BACKOFF: [u64; 2] = [8, 15];
const HORIZON: [u64; 2] = [1, 32];
const ANSWERED: [u64; 3] = [0, 1, 3];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => put(),
        6 => take(),
        2 => store(),
        1 => ids().prop_map(|id| Step::Read { id }),
        4 => claim(),
        2 => give_back(),
        12 => begin(),
        5 => renew(),
        8 => commit(),
        6 => fail(),
        2 => retry(),
        12 => wait(),
        6 => (0..4_usize).prop_map(Step::Again),
    ]
}

fn put() -> impl Strategy<Value = Step> {
    (NAMES, REQUESTS, span(&TTL)).prop_map(|(name, request, ttl)| Step::Put { name, request, ttl })
}

fn take() -> impl Strategy<Value = Step> {
    (NAMES, REQUESTS).prop_map(|(name, request)| Step::Take { name, request })
}

pub(super) fn store() -> impl Strategy<Value = Step> {
    (ids(), REQUESTS, rarely(), rarely(), granted(), rarely()).prop_map(
        |(id, request, stranger, elsewhere, granted, late)| {
            // Each connection has its owner.
            let owner = if stranger { 1 - id } else { id };
            let connector = if elsewhere { "gitlab" } else { "github" };
            let known_end = late.then_some(1);
            Step::Store { id, request, owner, connector, granted, known_end }
        },
    )
}

fn claim() -> impl Strategy<Value = Step> {
    (REQUESTS, select(&[1, 1, 2, 100][..]), span(&HIDE))
        .prop_map(|(request, limit, hide)| Step::Claim { request, limit, hide })
}

fn give_back() -> impl Strategy<Value = Step> {
    (ids(), span(&GIVEN_BACK)).prop_map(|(id, wait)| Step::GiveBack { id, wait })
}

pub(super) fn begin() -> impl Strategy<Value = Step> {
    let lifetime = option::weighted(0.1, span(&LIFETIME));
    (ids(), HOLDERS, any::<bool>(), rarely(), span(&LEASE), span(&SETTLED), lifetime).prop_map(
        |(id, holder, worker, stranger, lease, settled, lifetime)| {
            let owner = (!worker).then_some(if stranger { 1 - id } else { id });
            Step::Begin { id, holder, owner, lease, settled, lifetime }
        },
    )
}

pub(super) fn renew() -> impl Strategy<Value = Step> {
    (ids(), HOLDERS, span(&LEASE)).prop_map(|(id, holder, lease)| Step::Renew { id, holder, lease })
}

pub(super) fn commit() -> impl Strategy<Value = Step> {
    (attempted(), REQUESTS, span(&ANSWERED), granted()).prop_map(
        |(of, request, answered_ago, granted)| Step::Commit { of, request, answered_ago, granted },
    )
}

pub(super) fn fail() -> impl Strategy<Value = Step> {
    let horizon = option::weighted(0.5, span(&HORIZON));
    (attempted(), REQUESTS, select(&FAILURES[..]), span(&BACKOFF), horizon).prop_map(
        |(of, request, kind, backoff, horizon)| Step::Fail { of, request, kind, backoff, horizon },
    )
}

pub(super) fn retry() -> impl Strategy<Value = Step> {
    (ids(), REQUESTS).prop_map(|(id, request)| Step::Retry { id, request })
}

pub(super) fn wait() -> impl Strategy<Value = Step> {
    span(&MOVES).prop_map(Step::Wait)
}

pub(super) fn granted() -> impl Strategy<Value = Granted> {
    (
        option::weighted(0.95, REFRESH_TOKENS),
        option::of(span(&ACCESS)),
        option::weighted(0.2, span(&REFRESH)),
        option::weighted(0.9, span(&NEXT)),
    )
        .prop_map(|(refresh_token, expires_in, refresh_expires_in, next_in)| Granted {
            refresh_token,
            expires_in,
            refresh_expires_in,
            next_in,
        })
}

pub(super) fn attempted() -> impl Strategy<Value = Attempted> {
    let back = prop_oneof![8 => Just(0_usize), 2 => Just(1), 1 => 2..5_usize];
    (back, rarely(), option::weighted(0.1, REFRESH_TOKENS)).prop_map(
        |(back, other_grant, other_token)| Attempted {
            which: Which::Back(back),
            other_grant,
            other_token,
        },
    )
}

/// Two connections, one of them with most of the life.
fn ids() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0_u8), 1 => Just(1)]
}

pub(super) fn span(seconds: &'static [u64]) -> impl Strategy<Value = Duration> {
    select(seconds).prop_map(Duration::from_secs)
}

pub(super) fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.08)
}

const NAMES: Range<u8> = 0..2;
pub(super) const REQUESTS: Range<u8> = 0..6;
pub(super) const HOLDERS: Range<u8> = 0..3;
const REFRESH_TOKENS: Range<u8> = 0..3;
pub(super) const FAILURES: [FailureKind; 4] =
    [FailureKind::Transient, FailureKind::Undecided, FailureKind::NeedsReauth, FailureKind::Host];
