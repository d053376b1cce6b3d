//! What may be asked about events: two records of one shard, two receivers, three replicas.

use std::{ops::Range, time::Duration};

use proptest::{collection, option, prelude::*, sample::select};

use super::step::{MOST, REQUESTS, Step, span, wait};

/// One thing to do about events. Numbers choose from pools.
#[derive(Debug, Clone)]
pub(super) enum EventStep {
    Append { of: u8, request: u8 },
    Open { group: u8 },
    Close { group: u8 },
    Read { group: u8, consumer: u8, idle: Duration, count: u16, after: Option<usize> },
    Ack { group: u8, which: Vec<usize> },
    Trim { most: u16 },
    Lags,
    Backlog,
    History { limit: u16, before: Option<usize>, since: Option<Duration> },
    TrimHistory { age: Duration, most: u16 },
}

impl EventStep {
    /// What shows the change that it made.
    pub(super) fn shown_by(&self) -> Option<Self> {
        match self {
            Self::Append { .. } | Self::TrimHistory { .. } => {
                Some(Self::History { limit: 1000, before: None, since: None })
            }
            Self::Trim { .. } | Self::Close { .. } => Some(Self::Backlog),
            _ => None,
        }
    }
}

/// Steps at random, with somebody to tell from the start, mostly.
pub(super) fn event_sequence() -> impl Strategy<Value = Vec<Step>> {
    let told = (GROUPS, REQUESTS, REQUESTS).prop_flat_map(|(group, one, other)| {
        (read(group), ack(group)).prop_map(move |(read, ack)| {
            let append = |request| EventStep::Append { of: 0, request };
            [append(one), append(other), read, ack, EventStep::Trim { most: 100 }]
                .map(Step::Event)
                .to_vec()
        })
    });
    let taken_over = (GROUPS, REQUESTS).prop_flat_map(|(group, request)| {
        (read(group), wait(), read(group)).prop_map(move |(one, wait, other)| {
            let append = EventStep::Append { of: 1, request };
            vec![Step::Event(append), Step::Event(one), wait, Step::Event(other)]
        })
    });
    let story = prop_oneof![
        14 => step().prop_map(|step| vec![step]),
        2 => told,
        2 => taken_over,
    ];
    let open =
        option::weighted(0.9, GROUPS.prop_map(|group| Step::Event(EventStep::Open { group })));
    (open, collection::vec(story, 15..MOST)).prop_map(|(open, stories)| {
        open.into_iter().chain(stories.into_iter().flatten()).take(MOST).collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    let append = (0..2_u8, REQUESTS).prop_map(|(of, request)| EventStep::Append { of, request });
    let history = (select(&[1, 2, 1000][..]), option::of(0..4_usize), option::of(span(&AGE)))
        .prop_map(|(limit, before, since)| EventStep::History { limit, before, since });
    let event = prop_oneof![
        10 => append,
        2 => GROUPS.prop_map(|group| EventStep::Open { group }),
        1 => GROUPS.prop_map(|group| EventStep::Close { group }),
        8 => GROUPS.prop_flat_map(read),
        6 => GROUPS.prop_flat_map(ack),
        4 => select(&MOST_TRIMMED[..]).prop_map(|most| EventStep::Trim { most }),
        2 => Just(EventStep::Lags),
        2 => history,
        1 => (span(&AGE), select(&MOST_TRIMMED[..]))
            .prop_map(|(age, most)| EventStep::TrimHistory { age, most }),
    ];
    prop_oneof![
        30 => event.prop_map(Step::Event),
        6 => wait(),
        4 => (0..3_usize).prop_map(Step::Again),
    ]
}

fn read(group: u8) -> impl Strategy<Value = EventStep> {
    let after = option::weighted(0.2, 0..3_usize);
    (0..3_u8, span(&IDLE), select(&[1, 2, 100][..]), after).prop_map(
        move |(consumer, idle, count, after)| EventStep::Read {
            group,
            consumer,
            idle,
            count,
            after,
        },
    )
}

fn ack(group: u8) -> impl Strategy<Value = EventStep> {
    collection::vec(0..4_usize, 1..3).prop_map(move |which| EventStep::Ack { group, which })
}

const GROUPS: Range<u8> = 0..2;
const MOST_TRIMMED: [u16; 4] = [0, 1, 2, 100];
const IDLE: [u64; 2] = [10, 60];
const AGE: [u64; 3] = [3, 17, 300];
