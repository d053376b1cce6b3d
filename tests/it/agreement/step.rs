//! What may be asked. The pools are small, so that names collide, requests come again, and two
//! attempts present the same refresh token.

use std::time::Duration;

use proptest::{collection, option, prelude::*, sample::select};
use vestibule::store::FailureKind;

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
    },
    Begin {
        id: u8,
        holder: u8,
        owner: Option<u8>,
        lease: Duration,
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
    },
    /// Over all shards; asked at the end.
    Backlog,
    Wait(Duration),
    /// The same as so many steps before, as a retry does it.
    Again(usize),
}

/// What a provider gave.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    pub(super) refresh_token: Option<u8>,
    pub(super) expires_in: Option<Duration>,
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

/// Mostly of a connection that is due, or too much would be about one that is not there.
pub(super) fn sequence() -> impl Strategy<Value = Vec<Step>> {
    let due = (REQUESTS, granted()).prop_map(|(request, granted)| {
        let owner = Step::Store { id: 0, request, owner: 0, connector: "github", granted };
        vec![owner, Step::Wait(Duration::from_secs(MOVES[0]))]
    });
    let rest = collection::vec(step(), 20..MOST);
    (option::weighted(0.9, due), rest).prop_map(|(due, mut rest)| {
        rest.splice(0..0, due.into_iter().flatten());
        rest
    })
}

/// The longest sequence.
const MOST: usize = 40;

/// What is added to the spans of the step at this place, so that no two ends fall together: their
/// order must not hang on a millisecond.
pub(super) fn apart(at: usize) -> Duration {
    Duration::from_millis(10 * at as u64)
}

/// Time moves by multiples of 7 s. All ends lie at least a second off these, with or without the
/// grace, so that the time that the test itself takes decides nothing.
const MOVES: [u64; 12] = [7, 7, 7, 7, 14, 14, 14, 14, 28, 28, 63, 665];
const TTL: [u64; 2] = [12, 600];
const LEASE: [u64; 2] = [12, 33];
const HIDE: [u64; 2] = [9, 30];
const NEXT: [u64; 4] = [3, 3, 3, 24];
const BACKOFF: [u64; 2] = [8, 15];
const ANSWERED: [u64; 3] = [0, 1, 3];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (NAMES, REQUESTS, span(&TTL))
            .prop_map(|(name, request, ttl)| Step::Put { name, request, ttl }),
        6 => (NAMES, REQUESTS).prop_map(|(name, request)| Step::Take { name, request }),
        2 => (ids(), REQUESTS, rarely(), rarely(), granted()).prop_map(
            |(id, request, stranger, elsewhere, granted)| Step::Store {
                id,
                request,
                // Each connection has its owner.
                owner: if stranger { 1 - id } else { id },
                connector: if elsewhere { "gitlab" } else { "github" },
                granted,
            }
        ),
        1 => ids().prop_map(|id| Step::Read { id }),
        4 => (REQUESTS, select(&[1, 1, 2, 100][..]), span(&HIDE))
            .prop_map(|(request, limit, hide)| Step::Claim { request, limit, hide }),
        2 => ids().prop_map(|id| Step::GiveBack { id }),
        12 => (ids(), HOLDERS, option::of(0..1_u8), rarely(), span(&LEASE)).prop_map(
            |(id, holder, named, stranger, lease)| {
                let owner = named.map(|_| if stranger { 1 - id } else { id });
                Step::Begin { id, holder, owner, lease }
            }
        ),
        5 => (ids(), HOLDERS, span(&LEASE))
            .prop_map(|(id, holder, lease)| Step::Renew { id, holder, lease }),
        8 => (attempted(), REQUESTS, span(&ANSWERED), granted()).prop_map(
            |(of, request, answered_ago, granted)| Step::Commit {
                of, request, answered_ago, granted,
            }
        ),
        6 => (attempted(), REQUESTS, select(&FAILURES[..]), span(&BACKOFF)).prop_map(
            |(of, request, kind, backoff)| Step::Fail { of, request, kind, backoff }
        ),
        14 => span(&MOVES).prop_map(Step::Wait),
        6 => (0..4_usize).prop_map(Step::Again),
    ]
}

const NAMES: std::ops::Range<u8> = 0..2;
const REQUESTS: std::ops::Range<u8> = 0..6;
const HOLDERS: std::ops::Range<u8> = 0..3;
const REFRESH_TOKENS: std::ops::Range<u8> = 0..3;
const FAILURES: [FailureKind; 4] = [
    FailureKind::Transient,
    FailureKind::Undecided,
    FailureKind::NeedsReauth,
    FailureKind::NeedsReauth,
];

/// Two connections, one of them with most of the life.
fn ids() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0_u8), 1 => Just(1)]
}

fn granted() -> impl Strategy<Value = Granted> {
    (
        option::weighted(0.95, REFRESH_TOKENS),
        option::of(Just(Duration::from_secs(3600))),
        option::weighted(0.95, span(&NEXT)),
    )
        .prop_map(|(refresh_token, expires_in, next_in)| Granted {
            refresh_token,
            expires_in,
            next_in,
        })
}

fn attempted() -> impl Strategy<Value = Attempted> {
    let back = prop_oneof![8 => Just(0_usize), 2 => Just(1), 1 => 2..5_usize];
    (back, rarely(), option::weighted(0.1, REFRESH_TOKENS)).prop_map(
        |(back, other_grant, other_token)| Attempted {
            which: Which::Back(back),
            other_grant,
            other_token,
        },
    )
}

fn span(seconds: &'static [u64]) -> impl Strategy<Value = Duration> {
    select(seconds).prop_map(Duration::from_secs)
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.08)
}
