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
mod canary;
mod connection;
mod device;
mod docs;
mod faults;
mod lineage;
mod pending;
mod pkce;
mod giving_up;
mod http_callback;
mod http_token;
mod lineage;
mod model;
mod namespace;
mod pending;
mod pkce;
mod journal;
mod lease_profiles;
mod prove_pendings;
mod prove_small;
mod support;
mod support_works;
mod tidy;
mod topology;

#[path = "../prove/properties/mod.rs"]
mod token;
mod token_routes;
mod properties;
