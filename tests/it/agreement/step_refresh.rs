//! The life of one connection under refreshes that overlap, fail and are given up: what takes many
//! verbs to come about.

use std::time::Duration;

use proptest::{collection, option, prelude::*, sample::select};
use vestibule::store::FailureKind;

use super::step::{
    Attempted, FAILURES, Granted, HOLDERS, LEASE, MOST, REQUESTS, Step, Which, begin, commit,
    exists, fail, renew, retry, span, store, wait,
};

pub(super) fn refresh_sequence() -> impl Strategy<Value = Vec<Step>> {
    let story = prop_oneof![
        8 => prop_oneof![wait(), begin(), renew(), commit(), fail(), retry()].prop_map(|s| vec![s]),
        3 => siblings(),
        2 => given_up(),
        2 => ended(),
        1 => store().prop_map(|store| vec![store]),
        2 => reseal(Just(0)).prop_map(|reseal| vec![reseal, Step::Sealed]),
    ];
    (exists(0), collection::vec(story, 4..12)).prop_map(|(stored, stories)| {
        [stored].into_iter().chain(stories.into_iter().flatten()).take(MOST).collect()
    })
}

/// Overlapping attempts at one connection, and what the provider says of the next: how siblings come
/// about, and how they are used up.
fn siblings() -> impl Strategy<Value = Vec<Step>> {
    let attempt = || {
        (HOLDERS, span(&LEASE)).prop_map(|(holder, lease)| {
            let settled = Duration::ZERO;
            let begin = Step::Begin { id: 0, holder, owner: None, lease, settled, lifetime: None };
            vec![Step::Wait(Duration::from_secs(35)), begin]
        })
    };
    let refused = || {
        (attempt(), HOLDERS).prop_map(|(begun, request)| {
            begun.into_iter().chain([failed(request, FailureKind::NeedsReauth, None)]).collect()
        })
    };
    let answer = || commit().prop_map(|commit| vec![commit]);
    let overlap = collection::vec(attempt(), 2..4);
    let rest = prop_oneof![2 => answer(), 1 => attempt(), 2 => refused()];
    (overlap, collection::vec(answer(), 2..4), collection::vec(rest, 2..6)).prop_map(
        |(begun, answers, rest)| begun.into_iter().chain(answers).chain(rest).flatten().collect(),
    )
}

/// Failures until nobody tries any more, and a retry by hand.
fn given_up() -> impl Strategy<Value = Vec<Step>> {
    let kind = select(&FAILURES[..]);
    (begin(), kind, REQUESTS, option::of(Just(Duration::from_secs(1))), retry(), retry()).prop_map(
        |(begin, kind, request, horizon, one, two)| {
            let wait = || Step::Wait(Duration::from_secs(35));
            let first = failed(request, FailureKind::Transient, None);
            let last = failed(request + 1, kind, horizon);
            vec![wait(), begin.clone(), first, wait(), begin, last, one, two]
        },
    )
}

/// A grant whose end comes before that of its access token, or after it; the answers to what was
/// begun before, and a sign-in.
fn ended() -> impl Strategy<Value = Vec<Step>> {
    let granted = (option::weighted(0.7, 0..3_u8), option::of(span(&[5, 17])), span(&[10, 24]));
    let signed_in = (REQUESTS, granted).prop_map(|(request, (refresh_token, access, refresh))| {
        let granted = Granted {
            refresh_token,
            expires_in: access,
            refresh_expires_in: Some(refresh),
            next_in: Some(Duration::from_secs(3)),
        };
        Step::Store {
            id: 0,
            request: request + 6,
            owner: 0,
            connector: "github",
            granted,
            known_end: None,
        }
    });
    (signed_in, begin(), wait(), begin(), begin(), commit(), store()).prop_map(
        |(signed_in, early, wait, late, again, commit, store)| {
            let soon = Step::Wait(Duration::from_secs(7));
            vec![signed_in, soon, early, wait, late, again, commit, store]
        },
    )
}

/// Of what is held, and of what is not.
pub(super) fn reseal(id: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (id, 0..3_u8, prop::bool::weighted(0.2)).prop_map(|(id, part, stale)| Step::Reseal {
        id,
        part,
        stale,
    })
}

/// A fail of the last attempt, as it was.
fn failed(request: u8, kind: FailureKind, horizon: Option<Duration>) -> Step {
    let of = Attempted { which: Which::Back(0), other_grant: false, other_token: None };
    Step::Fail { of, request, kind, backoff: Duration::from_secs(8), horizon }
}
