//! The worker as an operator meets it: real processes, real signals, a real Redis and provider.
#![allow(
    unreachable_pub,
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is a failed test"
)]

mod confirming;
mod draining;
mod life;
mod once;
mod private_ca;
mod reloading;
mod replaying;
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "shared by the worker's tests; each uses a part of it"
)]
#[path = "../scene/mod.rs"]
mod scene;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the library's tests, which use all of it"
)]
#[path = "../../../tests/it/support"]
mod support {
    pub mod ageing;
    pub mod certified;
    pub mod process;
    pub mod server;
    pub mod sign_in;
    pub mod stores;
}
mod scopes;
mod telling;
mod traces;
