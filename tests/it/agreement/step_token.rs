//! What may be asked of temp tokens. The first two of the three indexes are of one scope.

use std::{ops::Range, time::Duration};

use proptest::{collection, option, prelude::*, sample::select};

use super::step::{Step, span, wait};

/// One thing to do with a token, with an index of them, or with a scope. Numbers choose from pools.
#[derive(Debug, Clone)]
pub(super) enum TokenStep {
    Mint {
        id: Id,
        request: u8,
        ttl: Duration,
        receipt: Option<u8>,
    },
    /// By its id, or by the number that it has under the other pepper.
    Read {
        id: Id,
        older: Option<u8>,
    },
    Use {
        id: Id,
        request: u8,
        limit: u32,
    },
    Revoke {
        id: Id,
        request: u8,
    },
    Drop {
        index: u8,
        request: u8,
    },
    /// One page, or with no request all of them.
    DropScope {
        scope: u8,
        request: Option<u8>,
        limit: u16,
    },
    /// Page by page to the end. This number is revoked behind the first.
    List {
        index: u8,
        limit: u16,
        meanwhile: Option<u8>,
    },
    /// One page, or with no request all of them: then this one is minted behind the first.
    Trim {
        scope: u8,
        request: Option<u8>,
        age: Duration,
        limit: u16,
        meanwhile: Option<Id>,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Id {
    pub(super) index: u8,
    pub(super) number: u8,
}

/// The scope that an index belongs to.
pub(super) fn scope_of(index: u8) -> u8 {
    index / 2
}

impl TokenStep {
    /// What shows the change that this step made, if nothing else does.
    pub(super) fn shown_by(&self) -> Vec<Self> {
        let list = |index| Self::List { index, limit: 100, meanwhile: None };
        match *self {
            Self::Mint { id, .. } | Self::Use { id, .. } | Self::Revoke { id, .. } => {
                vec![Self::Read { id, older: None }]
            }
            Self::Drop { index, .. } => vec![list(index)],
            Self::DropScope { .. } | Self::Trim { .. } => INDEXES.map(list).collect(),
            _ => Vec::new(),
        }
    }

    /// What shows everything that there is.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let ids = || INDEXES.flat_map(|index| NUMBERS.map(move |number| Id { index, number }));
        let lists = INDEXES.map(|index| Self::List { index, limit: 2, meanwhile: None });
        let reads = ids().map(|id| Self::Read { id, older: None });
        let uses = ids().map(|id| Self::Use { id, request: 99, limit: 100 });
        let age = Duration::ZERO;
        let trims = SCOPES.map(move |scope| Self::Trim {
            scope,
            request: None,
            age,
            limit: 1,
            meanwhile: None,
        });
        lists.chain(reads).chain(uses).chain(trims)
    }
}

/// Steps at random, and stories of one token, of an index, and of a scope.
pub(super) fn token_sequence() -> impl Strategy<Value = Vec<Step>> {
    let used = ids().prop_flat_map(|id| {
        let uses = || collection::vec(use_(Just(id)), 1..4);
        (mint(Just(id)), uses(), option::of(wait()), uses())
            .prop_map(|(a, b, c, d)| [vec![a], b, c.into_iter().collect(), d].concat())
    });
    let revived = ids().prop_flat_map(|id| {
        let end = prop_oneof![2 => revoke(Just(id)), 1 => drop_(Just(id.index))];
        (mint(Just(id)), option::of(wait()), end, option::of(wait()))
            .prop_map(|(mint, a, end, b)| [Some(mint.clone()), a, Some(end), b, Some(mint)])
            .prop_map(|steps| steps.into_iter().flatten().collect())
    });
    let retried = (ids(), NUMBERS, REQUESTS).prop_flat_map(|(id, number, receipt)| {
        let one = mint_as(Just(id), Just(Some(receipt)));
        let again = mint_as(Just(Id { number, ..id }), Just(Some(receipt)));
        let end = option::of(prop_oneof![revoke(Just(id)), drop_(Just(id.index))]);
        (one, option::of(wait()), end, option::of(wait()), again)
            .prop_map(|(one, a, end, b, again)| [Some(one), a, end, b, Some(again)])
            .prop_map(|steps| steps.into_iter().flatten().collect())
    });
    let rotated = ids().prop_flat_map(|id| {
        let older = Some(id.number);
        let read = within(id.index).prop_map(move |id| Step::Token(TokenStep::Read { id, older }));
        (mint(Just(id)), option::of(wait()), collection::vec(read, 2))
            .prop_map(|(a, b, c)| [vec![a], b.into_iter().collect(), c].concat())
    });
    let dropped = INDEXES.prop_flat_map(|index| {
        (mints(index), drop_(Just(index)), mint(within(index)))
            .prop_map(|(mints, drop, late)| [mints, vec![drop, late, Step::Again(1)]].concat())
    });
    let trimmed = SCOPES.prop_flat_map(|scope| {
        let mints = select(if scope == 0 { &[0, 1][..] } else { &[2] }).prop_flat_map(mints);
        (mints, wait(), trim(Just(scope)))
            .prop_map(|(mints, wait, trim)| [mints, vec![wait, trim, Step::Again(0)]].concat())
    });
    let story = prop_oneof![
        20 => step().prop_map(|step| vec![step]),
        1 => used,
        3 => revived,
        2 => retried,
        1 => rotated,
        1 => dropped,
        1 => trimmed,
    ];
    collection::vec(story, 10..MOST)
        .prop_map(|stories| stories.into_iter().flatten().take(MOST).collect())
}

const MOST: usize = 40;

/// As in the other steps: ends, graces and ages lie at least a second off the multiples of 7 s.
const TTL: [u64; 4] = [12, 61, 600, 600];
const AGE: [u64; 3] = [0, 0, 31];
/// Later than any other end: it moves its index behind all others.
pub(super) const MEANWHILE: Duration = Duration::from_secs(1_203);

fn step() -> impl Strategy<Value = Step> {
    let number = option::weighted(0.3, NUMBERS);
    let read =
        (ids(), number.clone()).prop_map(|(id, older)| Step::Token(TokenStep::Read { id, older }));
    let list = (INDEXES, select(&[1, 2, 100][..]), number).prop_map(|(index, limit, meanwhile)| {
        Step::Token(TokenStep::List { index, limit, meanwhile })
    });
    prop_oneof![
        10 => mint(ids()),
        6 => use_(ids()),
        4 => revoke(ids()),
        3 => drop_(INDEXES),
        2 => drop_scope(),
        3 => trim(SCOPES),
        2 => read,
        3 => list,
        8 => wait(),
        5 => (0..4_usize).prop_map(Step::Again),
    ]
}

/// Several in one index, whoever mints them.
fn mints(index: u8) -> impl Strategy<Value = Vec<Step>> {
    collection::vec(mint(within(index)), 1..4)
}

fn mint(ids: impl Strategy<Value = Id>) -> impl Strategy<Value = Step> {
    mint_as(ids, option::weighted(0.2, REQUESTS))
}

fn mint_as(
    ids: impl Strategy<Value = Id>,
    receipts: impl Strategy<Value = Option<u8>>,
) -> impl Strategy<Value = Step> {
    (ids, REQUESTS, span(&TTL), receipts).prop_map(|(id, request, ttl, receipt)| {
        Step::Token(TokenStep::Mint { id, request, ttl, receipt })
    })
}

fn use_(ids: impl Strategy<Value = Id>) -> impl Strategy<Value = Step> {
    (ids, REQUESTS, 1..4_u32)
        .prop_map(|(id, request, limit)| Step::Token(TokenStep::Use { id, request, limit }))
}

fn revoke(ids: impl Strategy<Value = Id>) -> impl Strategy<Value = Step> {
    (ids, REQUESTS).prop_map(|(id, request)| Step::Token(TokenStep::Revoke { id, request }))
}

fn drop_(indexes: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (indexes, REQUESTS).prop_map(|(index, request)| Step::Token(TokenStep::Drop { index, request }))
}

fn drop_scope() -> impl Strategy<Value = Step> {
    (SCOPES, option::of(REQUESTS), select(&[1, 2][..])).prop_map(|(scope, request, limit)| {
        Step::Token(TokenStep::DropScope { scope, request, limit })
    })
}

fn trim(scopes: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (scopes, option::of(REQUESTS), span(&AGE), select(&[1, 2][..]), option::of(ids())).prop_map(
        |(scope, request, age, limit, meanwhile)| {
            Step::Token(TokenStep::Trim { scope, request, age, limit, meanwhile })
        },
    )
}

/// Of any index, most in the first.
fn ids() -> impl Strategy<Value = Id> {
    prop_oneof![2 => Just(0), 1 => INDEXES].prop_flat_map(within)
}

fn within(index: u8) -> impl Strategy<Value = Id> {
    NUMBERS.prop_map(move |number| Id { index, number })
}

const INDEXES: Range<u8> = 0..3;
const SCOPES: Range<u8> = 0..2;
const NUMBERS: Range<u8> = 0..4;
const REQUESTS: Range<u8> = 0..5;
