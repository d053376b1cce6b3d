//! When no journal can decide an attempt any more.

use std::time::Duration;

use crate::{
    connection::{Inner, Refreshed},
    digest::RequestId,
    store::ConnectionId,
};

impl Inner {
    /// So long after its beginning, and for as long as the store was away just now: nobody could replay
    /// then, and whoever has the answer may need as long as ever.
    pub(in crate::connection) fn settled(&self, lease: Duration) -> Duration {
        let usual = lease + self.config.journal_window;
        usual + self.foundation.store.was_away(usual)
    }

    /// An attempt that may still be decided. One that began after the outage waits no longer than usual.
    pub(in crate::connection) async fn undecided(
        &self,
        id: &ConnectionId,
        remaining: Duration,
        lease: Duration,
    ) -> Refreshed {
        let usual = lease + self.config.journal_window;
        if remaining > usual {
            let request = RequestId::random().digest();
            if let Err(error) = self.foundation.store.give_back(id, request, usual).await {
                tracing::debug!(connection = %id, %error, "it is looked at late");
            }
        }
        Refreshed::Undecided { remaining: remaining.min(usual) }
    }
}
