//! Seals anew what another key than the newest has sealed, so that an old key can be taken away.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::turns::{self, Budget, Duty, Room, Swept};
use crate::{
    Vestibule,
    resealing::{Fault, reseal},
    store::{Class, Resealed, SealedPage, Shard, StoreError, SweepName},
};

/// So many are listed at once.
const PAGE: u16 = 100;
/// So many are sealed anew at a time.
const AT_ONCE: usize = 16;

/// The sweep of secrets that another key than the newest has sealed: credentials, their siblings, and
/// header credentials.
///
/// Each is opened, sealed under the key that seals now, and put back unless it has changed meanwhile:
/// then whoever stored the other one has sealed that. Nothing else of the record changes, and nobody
/// waits for it. What does not open, because it is damaged or its key is not there, is left as it is,
/// named in the log and counted as [left](Swept::left); it holds up nothing.
///
/// Replicas whose rings differ in which key is first would seal each other's work anew without end:
/// a new key goes in front only once all of them have it. [`Vestibule::key_usage`] tells when an old
/// one is not needed any more.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reseal {
    /// What one pass may do.
    pub budget: Budget,
}

impl Reseal {
    /// One pass.
    pub async fn pass(&self, vestibule: &Vestibule, stop: &CancellationToken) -> Swept {
        turns::pass(vestibule, &Resealing { vestibule }, &self.budget, stop).await
    }
}

struct Resealing<'a> {
    vestibule: &'a Vestibule,
}

#[async_trait]
impl Duty for Resealing<'_> {
    const NAME: SweepName = SweepName::Reseal;

    /// The cursor is how many in front cannot be sealed anew.
    async fn shard(
        &self,
        shard: Shard,
        cursor: &str,
        room: &mut Room<'_>,
    ) -> Result<Option<String>, StoreError> {
        let foundation = self.vestibule.foundation();
        let (store, not_by) = (&foundation.store, foundation.seal.sealed_by().number());
        if room.dry_run {
            let counts = store.count_sealed(shard).await?;
            let behind = counts.iter().filter(|(by, _)| *by != not_by);
            room.swept.found += behind.map(|(_, count)| count).sum::<u64>();
            return Ok(None);
        }
        let mut skip = turns::skipped(cursor) as u64;
        loop {
            if room.is_over() {
                return Ok(Some(skip.to_string()));
            }
            let limit = u16::try_from(room.left()).map_or(PAGE, |left| left.min(PAGE));
            let listed = store.list_sealed(SealedPage { shard, not_by, skip, limit }).await?;
            let is_last = listed.len() < usize::from(limit);
            let mut resealed = stream::iter(listed)
                .map(async |record| (reseal(foundation, &record.name).await, record.name))
                .buffer_unordered(AT_ONCE);
            while let Some((outcome, name)) = resealed.next().await {
                room.swept.found += 1;
                match outcome {
                    Ok(Resealed::Resealed) => room.swept.done += 1,
                    Ok(Resealed::Changed | Resealed::Absent) => room.swept.changed += 1,
                    Err(fault) => {
                        skip += 1;
                        match &fault {
                            Fault::Store(error) if error.class() != Class::Corrupt => {
                                room.swept.errors += 1;
                            }
                            _ => room.swept.left += 1,
                        }
                        tracing::warn!(%shard, %name, error = %fault, "a secret is not sealed anew");
                    }
                }
            }
            if is_last {
                return Ok(None);
            }
        }
    }
}
