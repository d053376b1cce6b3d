//! The life of one connection under refreshes that overlap, fail and are given up: what takes many
//! verbs to come about.

use std::time::Duration;

use proptest::{collection, option, prelude::*, sample::select};
use vestibule::store::FailureKind;

use super::step::{
    Attempted, FAILURES, HOLDERS, LEASE, MOST, REQUESTS, Step, Which, begin, commit, exists, fail,
    renew, retry, span, store, wait,
};

pub(super) fn refresh_sequence() -> impl Strategy<Value = Vec<Step>> {
    let story = prop_oneof![
        8 => prop_oneof![wait(), begin(), renew(), commit(), fail(), retry()].prop_map(|s| vec![s]),
        3 => siblings(),
        2 => given_up(),
        1 => store().prop_map(|store| vec![store]),
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
            let begin = Step::Begin { id: 0, holder, owner: None, lease, settled };
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

/// A fail of the last attempt, as it was.
fn failed(request: u8, kind: FailureKind, horizon: Option<Duration>) -> Step {
    let of = Attempted { which: Which::Back(0), other_grant: false, other_token: None };
    Step::Fail { of, request, kind, backoff: Duration::from_secs(8), horizon }
}
