//! What is kept of events for no longer than it is of use: in an outbox until all have been told, in
//! a history for an age.

use std::time::Duration;

use async_trait::async_trait;

use super::{Shard, StoreError};

/// The part of the port that trims events. The rules and errors are [`Store`](super::Store)'s.
///
/// What is removed is the oldest, at most `most` at a time, which is 1 to [`TRIMMED_AT_ONCE`]: who is
/// told that it were fewer knows that no more is there. A retry whose reply was lost goes on, and
/// counts only what is left.
#[async_trait]
pub trait TrimStore {
    /// Removes what all groups have acknowledged from the outbox of a shard. Returns how many events
    /// went.
    async fn trim_outbox(&self, shard: Shard, most: u16) -> Result<u64, StoreError>;

    /// How many events [`trim_outbox`](Self::trim_outbox) would remove, however often it is called.
    async fn count_acknowledged(&self, shard: Shard) -> Result<u64, StoreError>;

    /// How many events of a shard each group has yet to acknowledge, by its name and in the order of
    /// names; nothing if there is no outbox.
    async fn outbox_lags(&self, shard: Shard) -> Result<Vec<(String, u64)>, StoreError>;

    /// Forgets what is older than `age` in the history of a shard. Returns how many events went.
    async fn trim_history(&self, shard: Shard, age: Duration, most: u16)
    -> Result<u64, StoreError>;

    /// How many events [`trim_history`](Self::trim_history) would forget, however often it is called.
    async fn count_history(&self, shard: Shard, age: Duration) -> Result<u64, StoreError>;
}

/// The most events that one call removes: it reads as many, and must not hold up a store.
pub const TRIMMED_AT_ONCE: u16 = 100;

pub(crate) fn at_once(most: u16) -> u16 {
    most.clamp(1, TRIMMED_AT_ONCE)
}
