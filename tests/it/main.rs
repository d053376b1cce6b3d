//! The integration tests: one binary, on a Redis of its own.
#![allow(
    unreachable_pub,
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is a failed test, and tests may read clocks and spawn"
)]

mod agreement;
mod bad_input;
mod cache;
mod canary;
mod confirmed;
mod connection;
mod connectors;
mod cookbook;
mod device;
mod docs;
mod due_rules;
mod events;
mod examples;
mod faults;
mod giving_up;
mod headers;
mod http_callback;
mod http_token;
mod journal;
mod lease_profiles;
mod lifecycle;
mod limits;
mod lineage;
mod metrics;
mod mix_up;
mod model;
mod namespace;
mod outbox;
mod pending;
mod pkce;
mod prove_headers;
mod prove_pendings;
mod prove_refreshes;
mod prove_rotation;
mod prove_small;
mod prove_store;
mod prove_sweeps;
mod prove_tokens;
mod provider_answers;
mod reauthorising;
mod rights;
mod sign_in;
mod support;
mod support_works;
mod sweeps;
mod tidy;
mod token;
mod token_routes;
mod topology;
mod traces;
mod vending;

#[path = "../prove/properties/mod.rs"]
mod properties;
