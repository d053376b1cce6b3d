//! What the tests stand on: real servers, a proxy that breaks connections, and child processes.
//!
//! Shared by the integration tests and by `tests/prove`; each uses a part of it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is a failed test, and every binary uses only a part of this"
)]

pub mod ageing;
pub mod certified;
pub mod children;
#[cfg(target_os = "linux")]
pub mod clock;
pub mod cluster;
pub mod contents;
pub mod exposition;
pub mod logs;
pub mod pair;
pub mod process;
pub mod provider;
pub mod proxy;
pub mod replicas;
pub mod results;
pub mod roles;
pub mod sentinel;
pub mod server;
pub mod side;
pub mod sign_in;
pub mod stopwatch;
pub mod stores;
pub mod tls;
pub mod verbs;
