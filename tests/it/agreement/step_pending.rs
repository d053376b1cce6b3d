//! What may be asked of pendings. Two of the three namespaces share a shard.

use std::{ops::Range, time::Duration};

use proptest::{collection, option, prelude::*, sample::select};
use vestibule::store::Ending;

use super::step::{Step, span, wait};

/// One thing to do with a pending or a namespace of them. Numbers choose from pools.
#[derive(Debug, Clone)]
pub(super) enum PendingStep {
    Put {
        id: Id,
        request: u8,
        ttl: Duration,
        subject: Option<u8>,
        dedup: Option<u8>,
    },
    Replace {
        id: Id,
        request: u8,
        ttl: Duration,
        subject: Option<u8>,
        dedup: Option<u8>,
    },
    Read {
        id: Id,
    },
    Find {
        id: Id,
        dedup: u8,
    },
    Finish {
        id: Id,
        request: u8,
        how: Ending,
        subject: Option<u8>,
        longest: Duration,
    },
    Outcome {
        id: Id,
    },
    /// Page by page, to the end.
    List {
        namespace: u8,
        limit: u16,
    },
    /// What the last list had left behind its first page: meanwhile time has passed, or entries
    /// have come and gone.
    Resume {
        limit: u16,
    },
    Clear {
        namespace: u8,
        request: u8,
        limit: u16,
    },
    Note {
        id: Id,
        waiter: u8,
        life: Duration,
    },
    Waiters {
        id: Id,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Id {
    pub(super) namespace: u8,
    pub(super) number: u8,
}

impl PendingStep {
    /// What shows the change that this step made, if nothing else does.
    pub(super) fn shown_by(&self) -> Vec<Self> {
        match *self {
            Self::Put { id, .. } | Self::Replace { id, .. } | Self::Finish { id, .. } => {
                vec![Self::Read { id }, Self::Outcome { id }]
            }
            Self::Clear { namespace, .. } => vec![Self::List { namespace, limit: 100 }],
            Self::Note { id, .. } => vec![Self::Waiters { id }],
            _ => Vec::new(),
        }
    }

    /// What shows everything that there is.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let lists = NAMESPACES.map(|namespace| Self::List { namespace, limit: 2 });
        let ids =
            NAMESPACES.flat_map(|namespace| NUMBERS.map(move |n| Id { namespace, number: n }));
        lists.chain(ids.flat_map(|id| [Self::Read { id }, Self::Outcome { id }]))
    }
}

/// Steps at random, and stories of one pending, of a namespace, and of one that is read page by
/// page while it changes.
pub(super) fn pending_sequence() -> impl Strategy<Value = Vec<Step>> {
    let one = ids().prop_flat_map(|id| {
        let finish = || finish(Just(id));
        (put(Just(id)), option::of(wait()), finish(), option::of(wait()), finish())
            .prop_map(|(a, b, c, d, e)| [Some(a), b, Some(c), d, Some(e)])
            .prop_map(|steps| steps.into_iter().flatten().collect())
    });
    let cleared = NAMESPACES.prop_flat_map(|namespace| {
        (puts(namespace), clear(Just(namespace)), put(within(namespace)))
            .prop_map(|(puts, clear, late)| [puts, vec![clear, late, Step::Again(1)]].concat())
    });
    let paged = NAMESPACES.prop_flat_map(|namespace| {
        let list = (1..3_u16).prop_map(move |limit| PendingStep::List { namespace, limit });
        let change = prop_oneof![finish(within(namespace)), put(within(namespace))];
        let changes = collection::vec(change, 0..3);
        let change = prop_oneof![changes, wait().prop_map(|wait| vec![wait])];
        let rest = (change, resume());
        (puts(namespace), list, rest).prop_map(|(mut steps, list, (changes, resume))| {
            steps.push(Step::Pending(list));
            steps.extend(changes);
            steps.push(resume);
            steps
        })
    });
    let replaced = ids().prop_flat_map(|id| {
        let (same, other) = (Just(id), ids());
        let end = prop_oneof![finish(Just(id)), put(other), replace(same)];
        (put(Just(id)), option::of(wait()), replace(Just(id)), option::of(wait()), end)
            .prop_map(|(a, b, c, d, e)| [Some(a), b, Some(c), Some(Step::Again(1)), d, Some(e)])
            .prop_map(|steps| steps.into_iter().flatten().collect())
    });
    let awaited = ids().prop_flat_map(|id| {
        let waiters = Step::Pending(PendingStep::Waiters { id });
        (note(Just(id)), option::of(wait()), note(Just(id)), wait())
            .prop_map(move |(a, b, c, d)| [Some(a), b, Some(c), Some(d), Some(waiters.clone())])
            .prop_map(|steps| steps.into_iter().flatten().collect())
    });
    let story = prop_oneof![
        20 => step().prop_map(|step| vec![step]),
        1 => one,
        1 => cleared,
        1 => paged,
        1 => replaced,
        1 => awaited,
    ];
    collection::vec(story, 10..MOST)
        .prop_map(|stories| stories.into_iter().flatten().take(MOST).collect())
}

const MOST: usize = 40;

/// As in the other steps: ends and graces lie at least a second off the multiples of 7 s.
const TTL: [u64; 4] = [12, 61, 600, 600];
const LONGEST: [u64; 2] = [30, 299];
const LIFE: [u64; 2] = [9, 30];

fn step() -> impl Strategy<Value = Step> {
    let outcome = ids().prop_map(|id| PendingStep::Outcome { id });
    let read = ids().prop_map(|id| PendingStep::Read { id });
    let waiters = ids().prop_map(|id| PendingStep::Waiters { id });
    let find = (ids(), 0..2_u8).prop_map(|(id, dedup)| PendingStep::Find { id, dedup });
    let limit = select(&[1, 2, 100][..]);
    let list =
        (NAMESPACES, limit).prop_map(|(namespace, limit)| PendingStep::List { namespace, limit });
    prop_oneof![
        10 => put(ids()),
        4 => replace(ids()),
        8 => finish(ids()),
        3 => clear(NAMESPACES),
        1 => note(ids()),
        1 => prop_oneof![outcome, read, waiters].prop_map(Step::Pending),
        3 => list.prop_map(Step::Pending),
        2 => find.prop_map(Step::Pending),
        2 => resume(),
        8 => wait(),
        5 => (0..4_usize).prop_map(Step::Again),
    ]
}

fn puts(namespace: u8) -> impl Strategy<Value = Vec<Step>> {
    collection::vec(put(within(namespace)), 2..5)
}

fn put(ids: impl Strategy<Value = Id>) -> impl Strategy<Value = Step> {
    (ids, REQUESTS, span(&TTL), option::of(SUBJECTS), option::weighted(0.3, DEDUPS)).prop_map(
        |(id, request, ttl, subject, dedup)| {
            Step::Pending(PendingStep::Put { id, request, ttl, subject, dedup })
        },
    )
}

fn replace(ids: impl Strategy<Value = Id>) -> impl Strategy<Value = Step> {
    let parts = (ids, REQUESTS, span(&TTL), option::of(SUBJECTS), option::weighted(0.3, DEDUPS));
    parts.prop_map(|(id, request, ttl, subject, dedup)| {
        Step::Pending(PendingStep::Replace { id, request, ttl, subject, dedup })
    })
}

fn finish(ids: impl Strategy<Value = Id>) -> impl Strategy<Value = Step> {
    let how = select(&[Ending::Completed, Ending::Cancelled][..]);
    (ids, REQUESTS, how, option::of(SUBJECTS), span(&LONGEST)).prop_map(
        |(id, request, how, subject, longest)| {
            Step::Pending(PendingStep::Finish { id, request, how, subject, longest })
        },
    )
}

fn clear(namespaces: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (namespaces, REQUESTS, select(&[1, 1, 2, 50][..])).prop_map(|(namespace, request, limit)| {
        Step::Pending(PendingStep::Clear { namespace, request, limit })
    })
}

fn note(ids: impl Strategy<Value = Id>) -> impl Strategy<Value = Step> {
    (ids, WAITERS, span(&LIFE))
        .prop_map(|(id, waiter, life)| Step::Pending(PendingStep::Note { id, waiter, life }))
}

fn resume() -> impl Strategy<Value = Step> {
    select(&[1, 100][..]).prop_map(|limit| Step::Pending(PendingStep::Resume { limit }))
}

/// Of any namespace, most in the first.
fn ids() -> impl Strategy<Value = Id> {
    prop_oneof![2 => Just(0), 1 => NAMESPACES].prop_flat_map(within)
}

fn within(namespace: u8) -> impl Strategy<Value = Id> {
    NUMBERS.prop_map(move |number| Id { namespace, number })
}

const NAMESPACES: Range<u8> = 0..3;
const NUMBERS: Range<u8> = 0..4;
const REQUESTS: Range<u8> = 0..6;
const SUBJECTS: Range<u8> = 0..2;
const DEDUPS: Range<u8> = 0..2;
const WAITERS: Range<u8> = 0..2;
