//! Access that is withdrawn and given back, with exchanges in flight; orphans that are reaped; and
//! turns at sweeping.

use std::{ops::Range, time::Duration};

use proptest::{collection, option, prelude::*};

use super::{
    step::{REQUESTS, Step, begin, commit, exists, fail, rarely, retry, span, store, wait},
    step_lifecycle::{delete, owner_of, revoke},
};

/// One thing to ask. Numbers choose from pools.
#[derive(Debug, Clone)]
pub(super) enum AccessStep {
    Withdraw {
        id: u8,
        request: u8,
        owner: u8,
    },
    Restore {
        id: u8,
        request: u8,
        owner: u8,
    },
    Reap {
        id: u8,
        request: u8,
        owner: u8,
        retention: Duration,
    },
    /// All of them that are so old, and how many.
    Orphans {
        retention: Duration,
    },
    BeginTurn {
        request: u8,
        lease: Duration,
        not_within: Duration,
    },
    EndTurn {
        request: u8,
        cursor: Option<u8>,
    },
}

impl AccessStep {
    /// Whose state it may change.
    pub(super) fn id(&self) -> Option<u8> {
        match *self {
            Self::Withdraw { id, .. } | Self::Restore { id, .. } | Self::Reap { id, .. } => {
                Some(id)
            }
            _ => None,
        }
    }
}

pub(super) fn access_sequence() -> impl Strategy<Value = Vec<Step>> {
    let again = || (0..4_usize).prop_map(Step::Again);
    let arrives = || prop_oneof![3 => commit(), 1 => fail(), 1 => retry()];
    let other = || prop_oneof![2 => restore(), 1 => store(), 1 => revoke(), 1 => delete()];
    let in_flight = (wait(), begin(), withdraw(), arrives(), other(), arrives(), begin())
        .prop_map(|(a, b, c, d, e, f, g)| vec![a, b, c, d, e, f, g]);
    let reaped = (withdraw(), wait(), again(), reap(), orphans(), again(), store(), again())
        .prop_map(|(a, b, c, d, e, f, g, h)| vec![a, b, c, d, e, f, g, h]);
    let late = (withdraw(), restore(), again(), withdraw(), again(), restore(), again())
        .prop_map(|(a, b, c, d, e, f, g)| vec![a, b, c, d, e, f, g]);
    let turns = (begin_turn(), begin_turn(), end_turn(), again(), begin_turn(), wait())
        .prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f]);
    let story = prop_oneof![
        12 => step().prop_map(|step| vec![step]),
        3 => in_flight,
        3 => reaped,
        2 => late,
        3 => turns,
    ];
    (exists(0), exists(1), collection::vec(story, 6..LONGEST)).prop_map(|(one, other, rest)| {
        [one, other].into_iter().chain(rest.into_iter().flatten()).take(LONGEST).collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => withdraw(),
        4 => restore(),
        3 => reap(),
        2 => orphans(),
        2 => store(),
        1 => revoke(),
        1 => delete(),
        3 => begin(),
        3 => commit(),
        1 => fail(),
        2 => begin_turn(),
        2 => end_turn(),
        4 => wait(),
        5 => (0..4_usize).prop_map(Step::Again),
    ]
}

fn withdraw() -> impl Strategy<Value = Step> {
    (IDS, REQUESTS, rarely()).prop_map(|(id, request, stranger)| {
        let owner = owner_of(id, stranger);
        Step::Access(AccessStep::Withdraw { id, request, owner })
    })
}

fn restore() -> impl Strategy<Value = Step> {
    (IDS, REQUESTS, rarely()).prop_map(|(id, request, stranger)| {
        let owner = owner_of(id, stranger);
        Step::Access(AccessStep::Restore { id, request, owner })
    })
}

fn reap() -> impl Strategy<Value = Step> {
    (IDS, REQUESTS, rarely(), span(&RETENTION)).prop_map(|(id, request, stranger, retention)| {
        let owner = owner_of(id, stranger);
        Step::Access(AccessStep::Reap { id, request, owner, retention })
    })
}

fn orphans() -> impl Strategy<Value = Step> {
    span(&RETENTION).prop_map(|retention| Step::Access(AccessStep::Orphans { retention }))
}

fn begin_turn() -> impl Strategy<Value = Step> {
    (REQUESTS, span(&LEASES), span(&WITHIN)).prop_map(|(request, lease, not_within)| {
        Step::Access(AccessStep::BeginTurn { request, lease, not_within })
    })
}

fn end_turn() -> impl Strategy<Value = Step> {
    (REQUESTS, option::weighted(0.4, 0..3_u8))
        .prop_map(|(request, cursor)| Step::Access(AccessStep::EndTurn { request, cursor }))
}

/// Time moves by multiples of 7 s.
const RETENTION: [u64; 4] = [0, 0, 5, 24];
const LEASES: [u64; 2] = [10, 33];
const WITHIN: [u64; 3] = [0, 12, 40];
const IDS: Range<u8> = 0..3;
/// The longest sequence: each step is shown by three others.
const LONGEST: usize = 40;
