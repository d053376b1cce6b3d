//! All credentials for a client: listed, and marked.

use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};

use super::{HeaderCredentials, HeadersError, Inner, Status};
use crate::{
    digest::{Digest, RequestId},
    store::{HeadersId, HeadersPlace, HeadersRow, MarkHeaders, Shard},
};

/// How many shards are asked at a time, at the most.
const AT_ONCE: usize = 16;
/// How many are asked first, before it is known how much they hold.
const AT_FIRST: usize = 4;
/// How many one call marks: a fraction of a millisecond of Redis's time.
const PAGE: u16 = 50;

/// A page of a client's credentials, without their headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CredentialPage {
    /// The credentials.
    pub credentials: Vec<HeadersRow>,
    /// Those whose records cannot be read: they are left as they are, and hide no others.
    pub damaged: Vec<HeadersId>,
    /// Where the next page begins; `None` if this is the last. A page may be short, or even empty,
    /// and not be the last.
    pub next: Option<CredentialCursor>,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialCursor {
    shard: Shard,
    after: Option<HeadersPlace>,
}

impl HeaderCredentials {
    /// Lists all credentials for a client, up to 100 at a time, whatever their status: every one that
    /// stays at least once, until a page has no `next`. With a status, only those that stand there;
    /// it is the page that is read that is limited.
    ///
    /// This asks all 256 shards, several at a time, and is not atomic.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotAvailable`].
    pub async fn list(
        &self,
        client: &str,
        status: Option<Status>,
        cursor: Option<CredentialCursor>,
        limit: u16,
    ) -> Result<CredentialPage, HeadersError> {
        let digest = self.inner.client(client);
        let limit = limit.clamp(1, 100);
        let (from, mut after) = cursor.map_or((Shard::new(0), None), |at| (at.shard, at.after));
        let mut shards = Shard::all().filter(|shard| *shard >= from);
        let mut page = CredentialPage::default();
        let (mut room, mut wide) = (usize::from(limit), AT_FIRST);
        while page.next.is_none() {
            let some = shards.by_ref().take(wide).map(|shard| {
                let (after, store) = (after.take(), &self.inner.foundation.store);
                async move { (shard, store.list_headers(shard, digest, after, limit).await) }
            });
            let listed = join_all(some).await;
            if listed.is_empty() {
                break;
            }
            let (asked, before) = (listed.len(), room);
            for (shard, listed) in listed {
                let listed = listed?;
                let found = listed.rows.len() + listed.damaged.len();
                if found > room {
                    page.next = Some(CredentialCursor { shard, after: None });
                    break;
                }
                room -= found;
                page.credentials.extend(listed.rows);
                page.damaged.extend(listed.damaged);
                if let Some(after) = listed.next {
                    page.next = Some(CredentialCursor { shard, after: Some(after) });
                    break;
                }
            }
            wide = likely(asked, before - room, room);
        }
        page.credentials.retain(|row| status.is_none_or(|status| row.status == status));
        Ok(page)
    }

    /// Marks all credentials for a client as needing an update: what the client wants has changed,
    /// and each owner must submit anew. Orphans stay orphans, and will need an update when access is
    /// back. Returns how many are marked now that were not.
    ///
    /// `reason` is a word for people; other characters than `a-z`, `0-9`, `_` and `-` are dropped.
    ///
    /// This asks all 256 shards, a page at a time. Each page is atomic, the whole is not: what is
    /// stored meanwhile may stay active. Change the client first, then mark.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotAvailable`]: what was marked before it stays marked; call again.
    pub async fn mark_needs_update(&self, client: &str, reason: &str) -> Result<u64, HeadersError> {
        let (digest, reason) = (self.inner.client(client), word(reason));
        let count = stream::iter(Shard::all())
            .map(|shard| self.inner.mark_shard(shard, digest, &reason))
            .buffer_unordered(AT_ONCE)
            .try_fold(0, async |sum, count| Ok(sum + count))
            .await?;
        tracing::info!(count, reason, "header credentials of a client need an update");
        Ok(count)
    }
}

impl Inner {
    async fn mark_shard(
        &self,
        shard: Shard,
        client: Digest,
        reason: &str,
    ) -> Result<u64, HeadersError> {
        let (mut sum, mut after) = (0, None);
        loop {
            // Each page is a request of its own.
            let request = RequestId::random().digest();
            let mark = MarkHeaders { shard, client, request, reason, after, limit: PAGE };
            let marked = self.foundation.store.mark_headers(mark).await?;
            sum += marked.count;
            after = marked.next;
            if after.is_none() {
                return Ok(sum);
            }
        }
    }
}

/// How many shards are likely to fill what room there is, where so many held so much. What does not
/// fit is read for nothing.
fn likely(asked: usize, found: usize, room: usize) -> usize {
    (room * asked).checked_div(found).unwrap_or(AT_ONCE).clamp(1, AT_ONCE)
}

/// What is kept of a reason.
pub(super) fn word(reason: &str) -> String {
    let fits = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c);
    reason.chars().map(|c| c.to_ascii_lowercase()).filter(fits).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_asked_as_are_likely_to_fill_the_page() {
        assert_eq!(likely(4, 0, 100), 16, "nothing so far: as many as may be");
        assert_eq!(likely(4, 156, 0), 1, "full: is there one more");
        assert_eq!(likely(16, 1, 99), 16);
        assert_eq!(likely(4, 40, 60), 6);
    }
}
