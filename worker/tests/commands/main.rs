//! The command line as a person meets it: the real binary, on a Redis with something of everything.
#![allow(
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is a failed test"
)]

mod acl;
mod aside;
mod canary;
mod config;
mod doctor;
mod doing;
mod golden;
mod hostile;
mod json;
mod looking;
mod printed;
mod rotating;
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
    #[cfg(target_os = "linux")]
    pub mod clock;
    pub mod process;
    pub mod server;
    pub mod sign_in;
    pub mod stores;
}
mod top;
