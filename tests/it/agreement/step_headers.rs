//! What may be asked of header credentials and their flows. Two of the three bindings are of one
//! client; the last is a session's.

use std::{ops::Range, time::Duration};

use proptest::{collection, option, prelude::*, sample::select};

use super::step::{MOST, Step, span, wait};

/// One thing to do. Numbers choose from pools; a flow or a credential is of the request that made it.
#[derive(Debug, Clone)]
pub(super) enum HeadersStep {
    Upsert {
        binding: u8,
        request: u8,
        flow: Option<(u8, u8)>,
    },
    Get {
        binding: u8,
    },
    Remove {
        binding: u8,
        of: u8,
        request: u8,
        retention: Option<Duration>,
    },
    Mark {
        binding: u8,
        request: u8,
    },
    /// All pages.
    List {
        binding: u8,
        limit: u16,
    },
    /// What is of a binding, or the one that a request made and no other.
    Withdraw {
        binding: u8,
        only: Option<u8>,
        request: u8,
    },
    Restore {
        binding: u8,
        only: Option<u8>,
        request: u8,
    },
    Find {
        binding: u8,
        of: u8,
    },
    Initiate {
        binding: u8,
        request: u8,
        ttl: Duration,
        extends: bool,
    },
    Claim {
        binding: u8,
        flow: u8,
        request: u8,
        lease: Duration,
    },
    Release {
        binding: u8,
        flow: u8,
        request: u8,
    },
    Cancel {
        binding: u8,
        flow: u8,
        request: u8,
    },
    Flow {
        binding: u8,
        flow: u8,
    },
    /// Seals headers anew as they are read, or as they have never been.
    Reseal {
        binding: u8,
        of: u8,
        stale: bool,
    },
}

impl HeadersStep {
    /// What shows the change that it made.
    pub(super) fn shown_by(&self) -> Vec<Self> {
        let all = |binding| vec![Self::Get { binding }, Self::List { binding, limit: 1 }];
        match *self {
            Self::Upsert { binding, flow: Some((flow, _)), .. } => {
                [all(binding), vec![Self::Flow { binding, flow }]].concat()
            }
            Self::Upsert { binding, request: of, .. } => {
                [all(binding), vec![Self::Find { binding, of }]].concat()
            }
            Self::Remove { binding, .. }
            | Self::Withdraw { binding, .. }
            | Self::Reseal { binding, .. }
            | Self::Restore { binding, .. } => all(binding),
            Self::Mark { .. } => BINDINGS.map(|binding| Self::Get { binding }).collect(),
            Self::Initiate { binding, .. } => {
                REQUESTS.map(|flow| Self::Flow { binding, flow }).collect()
            }
            Self::Claim { binding, flow, .. } | Self::Cancel { binding, flow, .. } => {
                vec![Self::Flow { binding, flow }]
            }
            _ => Vec::new(),
        }
    }
}

/// Steps at random; and lives of a credential, with what is retried in them, and submissions.
pub(super) fn headers_sequence() -> impl Strategy<Value = Vec<Step>> {
    let again = || (0..4_usize).prop_map(Step::Again);
    let life = BINDINGS.prop_flat_map(move |of| {
        let end = prop_oneof![
            3 => remove(Just(of)),
            2 => restore(Just(of)),
            1 => upsert(Just(of)),
        ];
        let turn = prop_oneof![3 => withdraw(Just(of)), 1 => mark(Just(of))];
        let late = prop_oneof![2 => again(), 1 => upsert(Just(of))];
        let marked = option::weighted(0.3, mark(Just(of)));
        (upsert(Just(of)), marked, turn, option::of(wait()), end, again(), late)
            .prop_map(|(a, b, c, d, e, f, g)| [Some(a), b, Some(c), d, Some(e), Some(f), Some(g)])
            .prop_map(|steps| steps.into_iter().flatten().collect::<Vec<_>>())
    });
    let submitted = (BINDINGS, REQUESTS).prop_flat_map(move |(binding, flow)| {
        let asked = HeadersStep::Initiate {
            binding,
            request: flow,
            ttl: Duration::from_secs(37),
            extends: true,
        };
        let between = prop_oneof![
            3 => initiate(Just(binding)),
            2 => wait(),
            2 => claim(Just(binding), Just(flow)),
            1 => cancel(Just(binding), Just(flow)),
            1 => release(Just(binding), Just(flow)),
        ];
        let submits = (REQUESTS, REQUESTS).prop_map(move |(request, claim)| {
            Step::Headers(HeadersStep::Upsert { binding, request, flow: Some((flow, claim)) })
        });
        (claim(Just(binding), Just(flow)), between, submits, again())
            .prop_map(move |(a, b, c, d)| vec![Step::Headers(asked.clone()), a, b, c, d])
    });
    let story = prop_oneof![
        10 => step().prop_map(|step| vec![step]),
        4 => life,
        4 => submitted,
    ];
    collection::vec(story, 6..MOST)
        .prop_map(|steps| steps.into_iter().flatten().take(MOST).collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => upsert(BINDINGS),
        1 => BINDINGS.prop_map(|binding| Step::Headers(HeadersStep::Get { binding })),
        3 => remove(BINDINGS),
        3 => mark(BINDINGS),
        1 => (BINDINGS, limits()).prop_map(|(binding, limit)| {
            Step::Headers(HeadersStep::List { binding, limit })
        }),
        4 => withdraw(BINDINGS),
        3 => restore(BINDINGS),
        2 => (BINDINGS, REQUESTS)
            .prop_map(|(binding, of)| Step::Headers(HeadersStep::Find { binding, of })),
        4 => initiate(BINDINGS),
        3 => claim(BINDINGS, REQUESTS),
        1 => release(BINDINGS, REQUESTS),
        2 => cancel(BINDINGS, REQUESTS),
        2 => (BINDINGS, REQUESTS, prop::bool::weighted(0.2)).prop_map(|(binding, of, stale)| {
            Step::Headers(HeadersStep::Reseal { binding, of, stale })
        }),
        3 => wait(),
        4 => (0..4_usize).prop_map(Step::Again),
    ]
}

fn upsert(of: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (of, REQUESTS).prop_map(|(binding, request)| {
        Step::Headers(HeadersStep::Upsert { binding, request, flow: None })
    })
}

fn remove(of: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    let retention = option::weighted(0.6, span(&RETENTION));
    (of, REQUESTS, REQUESTS, retention).prop_map(|(binding, of, request, retention)| {
        Step::Headers(HeadersStep::Remove { binding, of, request, retention })
    })
}

fn mark(of: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (of, REQUESTS)
        .prop_map(|(binding, request)| Step::Headers(HeadersStep::Mark { binding, request }))
}

fn withdraw(of: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (of, only(), REQUESTS).prop_map(|(binding, only, request)| {
        Step::Headers(HeadersStep::Withdraw { binding, only, request })
    })
}

fn restore(of: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (of, only(), REQUESTS).prop_map(|(binding, only, request)| {
        Step::Headers(HeadersStep::Restore { binding, only, request })
    })
}

fn only() -> impl Strategy<Value = Option<u8>> {
    option::weighted(0.3, REQUESTS)
}

fn initiate(of: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    (of, REQUESTS, span(&TTL), prop::bool::weighted(0.8)).prop_map(
        |(binding, request, ttl, extends)| {
            Step::Headers(HeadersStep::Initiate { binding, request, ttl, extends })
        },
    )
}

fn claim(
    of: impl Strategy<Value = u8>,
    flow: impl Strategy<Value = u8>,
) -> impl Strategy<Value = Step> {
    (of, flow, REQUESTS, span(&LEASE)).prop_map(|(binding, flow, request, lease)| {
        Step::Headers(HeadersStep::Claim { binding, flow, request, lease })
    })
}

fn release(
    of: impl Strategy<Value = u8>,
    flow: impl Strategy<Value = u8>,
) -> impl Strategy<Value = Step> {
    (of, flow, REQUESTS).prop_map(|(binding, flow, request)| {
        Step::Headers(HeadersStep::Release { binding, flow, request })
    })
}

fn cancel(
    of: impl Strategy<Value = u8>,
    flow: impl Strategy<Value = u8>,
) -> impl Strategy<Value = Step> {
    (of, flow, REQUESTS).prop_map(|(binding, flow, request)| {
        Step::Headers(HeadersStep::Cancel { binding, flow, request })
    })
}

const BINDINGS: Range<u8> = 0..3;
const REQUESTS: Range<u8> = 0..3;
/// As the others: off the multiples of 7 s that time moves by; so are the differences of the lives.
const RETENTION: [u64; 3] = [1, 20, 32];
const TTL: [u64; 3] = [12, 37, 599];
const LEASE: [u64; 2] = [12, 33];

fn limits() -> impl Strategy<Value = u16> {
    select(&[1_u16, 50][..])
}
