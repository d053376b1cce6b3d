//! Takes what has expired off the indexes of temp tokens.

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::turns::{self, Budget, Duty, Room, Swept};
use crate::{
    Vestibule,
    store::{Shard, StoreError, SweepName},
    token::TempTokens,
};

/// The sweep of expired tokens.
///
/// Nothing needs it. Every record expires by itself, and every index with its longest member; each
/// put and mint takes a few that are past off the index that it writes to. What this brings is that
/// the index of a long-lived link does not keep those of short-lived ones for as long, and that what
/// expired is counted. Pendings need none: their indexes live as long as their namespace is in use,
/// and every put trims them.
#[derive(Debug, Clone)]
pub struct Expired {
    /// Whose scopes are swept.
    pub tokens: TempTokens,
    /// What has ended at least so long ago is taken off. Default a minute: until then *expired* is
    /// told from *never was*.
    pub age: Duration,
    /// What one pass may do.
    pub budget: Budget,
}

impl Expired {
    /// With the defaults.
    #[must_use]
    pub fn new(tokens: TempTokens) -> Self {
        Self { tokens, age: crate::store::GRACE, budget: Budget::default() }
    }

    /// One pass.
    pub async fn pass(&self, vestibule: &Vestibule, stop: &CancellationToken) -> Swept {
        turns::pass(vestibule, self, &self.budget, stop).await
    }
}

#[async_trait]
impl Duty for Expired {
    const NAME: SweepName = SweepName::Expired;

    /// The cursor is the scope that is not done.
    async fn shard(
        &self,
        shard: Shard,
        cursor: &str,
        room: &mut Room<'_>,
    ) -> Result<Option<String>, StoreError> {
        if room.dry_run {
            for scope in self.tokens.scopes().names() {
                room.swept.found += self.tokens.count_ended(&scope, shard, self.age).await?;
            }
            return Ok(None);
        }
        for scope in self.tokens.scopes().names().into_iter().filter(|scope| **scope >= *cursor) {
            let mut page = None;
            loop {
                if room.is_over() {
                    return Ok(Some(scope));
                }
                let trimmed = self.tokens.trim_page(&scope, shard, self.age, page).await?;
                room.swept.found += trimmed.tokens;
                room.swept.done += trimmed.tokens;
                page = trimmed.next;
                if page.is_none() {
                    break;
                }
            }
        }
        Ok(None)
    }
}
