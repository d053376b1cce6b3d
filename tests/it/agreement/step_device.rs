//! What may be asked about turns at polling, for pendings that come and go.

use std::{ops::Range, time::Duration};

use proptest::{collection, option, prelude::*};
use vestibule::store::Ending;

use super::{
    step::{REQUESTS, Step, span, store, wait},
    step_lifecycle::LifecycleStep,
    step_pending::{Id, PendingStep},
};

/// One thing to do about the polling for a pending. Numbers choose from pools.
#[derive(Debug, Clone)]
pub(super) enum DeviceStep {
    Acquire { id: Id, holder: u8, lease: Duration, interval: Duration },
    Release { id: Id, holder: u8, next_in: Duration, interval: Duration, failures: u32 },
    HasStored { id: u8, request: u8 },
}

/// Steps at random, and stories of one pending: a turn that is released, asked for again by its
/// holder and by others; and one whose holder dies.
pub(super) fn device_sequence() -> impl Strategy<Value = Vec<Step>> {
    let turns = IDS.prop_flat_map(|id| {
        let holder = HOLDERS.prop_flat_map(move |holder| {
            (acquire(Just(id), Just(holder)), release(Just(id), Just(holder)))
        });
        let first = acquire(Just(id), HOLDERS);
        (first, wait(), holder, option::of(acquire(Just(id), HOLDERS)), any::<bool>(), wait())
            .prop_map(|(first, wait, (turn, release), between, again, later)| {
                let again = again.then_some(Step::Again(0));
                [Some(first), Some(wait), Some(turn), between, Some(release), again, Some(later)]
            })
            .prop_map(|steps| steps.into_iter().flatten().collect())
    });
    let died = IDS.prop_flat_map(|id| {
        let acquire = move || acquire(Just(id), HOLDERS);
        (acquire(), wait(), acquire(), wait(), acquire(), wait(), acquire())
            .prop_map(|(a, b, c, d, e, f, g)| vec![a, b, c, d, e, f, g])
    });
    let stored = (store(), delete(), store(), wait(), has_stored())
        .prop_map(|(a, b, c, d, e)| [Some(a), b, Some(c), Some(d), Some(e)])
        .prop_map(|steps| steps.into_iter().flatten().collect());
    let story = prop_oneof![
        12 => step().prop_map(|step| vec![step]),
        3 => turns,
        2 => died,
        1 => stored,
    ];
    (put(Just(0)), collection::vec(story, 8..MOST)).prop_map(|(put, stories)| {
        [put].into_iter().chain(stories.into_iter().flatten()).take(MOST).collect()
    })
}

const MOST: usize = 40;

fn step() -> impl Strategy<Value = Step> {
    let finish = (IDS, 0..6_u8).prop_map(|(id, request)| {
        let (how, subject, longest) = (Ending::Completed, None, Duration::from_secs(30));
        Step::Pending(PendingStep::Finish { id: pending(id), request, how, subject, longest })
    });
    let find = (IDS, 0..2_u8)
        .prop_map(|(number, dedup)| PendingStep::Find { id: pending(number), dedup })
        .prop_map(Step::Pending);
    prop_oneof![
        3 => put(IDS),
        1 => finish,
        2 => find,
        8 => acquire(IDS, HOLDERS),
        5 => release(IDS, HOLDERS),
        6 => wait(),
        4 => (0..3_usize).prop_map(Step::Again),
    ]
}

fn put(ids: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (ids, 0..6_u8, span(&TTL), option::of(0..2_u8)).prop_map(|(id, request, ttl, dedup)| {
        Step::Pending(PendingStep::Put { id: pending(id), request, ttl, subject: None, dedup })
    })
}

fn acquire(
    ids: impl Strategy<Value = u8>,
    holders: impl Strategy<Value = u8>,
) -> impl Strategy<Value = Step> {
    (ids, holders, span(&LEASE), span(&INTERVAL)).prop_map(|(id, holder, lease, interval)| {
        Step::Device(DeviceStep::Acquire { id: pending(id), holder, lease, interval })
    })
}

fn release(
    ids: impl Strategy<Value = u8>,
    holders: impl Strategy<Value = u8>,
) -> impl Strategy<Value = Step> {
    (ids, holders, span(&NEXT), span(&INTERVAL), 0..3_u32).prop_map(
        |(id, holder, next_in, interval, failures)| {
            let id = pending(id);
            Step::Device(DeviceStep::Release { id, holder, next_in, interval, failures })
        },
    )
}

fn has_stored() -> impl Strategy<Value = Step> {
    let (id, request) = (0..2_u8, REQUESTS);
    (id, request).prop_map(|(id, request)| Step::Device(DeviceStep::HasStored { id, request }))
}

fn delete() -> impl Strategy<Value = Option<Step>> {
    let delete = (0..2_u8, REQUESTS).prop_map(|(id, request)| LifecycleStep::Delete {
        id,
        request,
        owner: id,
    });
    option::of(delete.prop_map(Step::Lifecycle))
}

fn pending(number: u8) -> Id {
    Id { namespace: 0, number }
}

const IDS: Range<u8> = 0..2;
const HOLDERS: Range<u8> = 0..3;
/// Whole, and lease and interval together, all lie at least a second off the multiples of 7 s.
const TTL: [u64; 3] = [61, 600, 600];
const LEASE: [u64; 2] = [12, 33];
const INTERVAL: [u64; 4] = [5, 10, 10, 400];
const NEXT: [u64; 4] = [3, 9, 24, 480];
