//! What an owner may ask of connections that are stored, refreshed, revoked and deleted.

use std::ops::Range;

use proptest::{collection, prelude::*, sample::select};

use super::step::{REQUESTS, Step, begin, commit, exists, fail, rarely, retry, store, wait};

/// One thing to ask as an owner. Numbers choose from pools.
#[derive(Debug, Clone)]
pub(super) enum LifecycleStep {
    Create {
        id: u8,
        request: u8,
        owner: u8,
        connector: &'static str,
    },
    Get {
        id: u8,
        owner: u8,
    },
    /// All pages.
    List {
        owner: u8,
        limit: u16,
    },
    Revoke {
        id: u8,
        request: u8,
        owner: u8,
    },
    Delete {
        id: u8,
        request: u8,
        owner: u8,
    },
}

impl LifecycleStep {
    /// Whose state it may change; of a list, any that its owner has.
    pub(super) fn id(&self) -> u8 {
        match *self {
            Self::Create { id, .. }
            | Self::Get { id, .. }
            | Self::Revoke { id, .. }
            | Self::Delete { id, .. } => id,
            Self::List { owner, .. } => owner,
        }
    }
}

/// Steps at random; and exchanges with a revocation or a deletion in them, before what was in
/// flight arrives, and retries of all that.
pub(super) fn lifecycle_sequence() -> impl Strategy<Value = Vec<Step>> {
    let end = || prop_oneof![2 => revoke(), 2 => delete(), 1 => store()];
    let arrives = || prop_oneof![2 => commit(), 1 => fail(), 1 => retry()];
    let again = || (0..4_usize).prop_map(Step::Again);
    let in_flight = (wait(), begin(), end(), arrives(), end(), arrives())
        .prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f]);
    let late = (store(), end(), end(), again(), store(), again())
        .prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f]);
    let story = prop_oneof![
        14 => step().prop_map(|step| vec![step]),
        3 => in_flight,
        3 => late,
    ];
    (exists(0), exists(1), collection::vec(story, 6..LONGEST)).prop_map(|(one, other, rest)| {
        [one, other].into_iter().chain(rest.into_iter().flatten()).take(LONGEST).collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => create(),
        1 => (IDS, IDS).prop_map(|(id, owner)| LifecycleStep::Get { id, owner }).prop_map(Step::Lifecycle),
        2 => (OWNERS, select(&[1_u16, 2, 100][..]))
            .prop_map(|(owner, limit)| Step::Lifecycle(LifecycleStep::List { owner, limit })),
        4 => revoke(),
        4 => delete(),
        3 => store(),
        3 => begin(),
        3 => commit(),
        1 => fail(),
        3 => wait(),
        5 => (0..4_usize).prop_map(Step::Again),
    ]
}

fn create() -> impl Strategy<Value = Step> {
    (IDS, REQUESTS, rarely(), rarely()).prop_map(|(id, request, stranger, elsewhere)| {
        let connector = if elsewhere { "gitlab" } else { "github" };
        let owner = owner_of(id, stranger);
        Step::Lifecycle(LifecycleStep::Create { id, request, owner, connector })
    })
}

pub(super) fn revoke() -> impl Strategy<Value = Step> {
    (IDS, REQUESTS, rarely()).prop_map(|(id, request, stranger)| {
        let owner = owner_of(id, stranger);
        Step::Lifecycle(LifecycleStep::Revoke { id, request, owner })
    })
}

pub(super) fn delete() -> impl Strategy<Value = Step> {
    (IDS, REQUESTS, rarely()).prop_map(|(id, request, stranger)| {
        let owner = owner_of(id, stranger);
        Step::Lifecycle(LifecycleStep::Delete { id, request, owner })
    })
}

/// The first owner has all but one of them, so that there are pages.
pub(super) fn owner_of(id: u8, stranger: bool) -> u8 {
    let owner = u8::from(id == 1);
    if stranger { 1 - owner } else { owner }
}

const IDS: Range<u8> = 0..4;
const OWNERS: Range<u8> = 0..2;
/// The longest sequence: each step is shown by three others.
const LONGEST: usize = 40;
