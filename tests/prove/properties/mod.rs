//! What is promised, as functions of a size: the full size is `make prove`, a small one is part of
//! `make test`.
//!
//! A property returns its figure in words, or what it found instead.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is a failed property, and every binary uses a part of this"
)]

pub mod callers;
pub mod connections;
pub mod crashes;
pub mod deliveries;
pub mod devices;
pub mod failover;
pub mod fleet;
pub mod headers;
pub mod journal;
pub mod key_names;
pub mod limits;
pub mod live;
pub mod malformed;
pub mod migration;
pub mod model;
pub mod overload;
pub mod partial;
pub mod pendings;
pub mod pkce;
pub mod poison;
pub mod records;
pub mod refusals;
pub mod rotation;
pub mod seal;
pub mod store;
pub mod sweeps;
#[cfg(target_os = "linux")]
pub mod token_clocks;
pub mod token_timing;
pub mod tokens;

use std::sync::Arc;

/// A figure, or what was found instead of it.
pub type Verdict = Result<String, String>;

/// Told how much of the size is done.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// Nobody watches.
pub fn unwatched() -> Progress {
    Arc::new(|_| {})
}

/// `Ok(figure)` if nothing is in `broken`.
pub fn verdict(figure: String, broken: &[(&str, u64)]) -> Verdict {
    let found: Vec<_> = broken.iter().filter(|(_, count)| *count > 0).collect();
    if found.is_empty() {
        return Ok(figure);
    }
    let found: Vec<_> = found.iter().map(|(what, count)| format!("{count} {what}")).collect();
    Err(format!("{}; {figure}", found.join(", ")))
}
