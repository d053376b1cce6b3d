//! What every feature stands on: a store, a seal, and the key that names things.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    digest::{Digest, NamingKey, Peppers},
    metric,
    seal::Seal,
    store::{NewEvent, Shard, Store},
};

/// So long an event that comes with no change may hold up its verb.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// Shared by all features of one process.
#[derive(Debug)]
pub(crate) struct Foundation {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) seal: Seal,
    pub(crate) naming: NamingKey,
    pub(crate) peppers: Peppers,
}

impl Foundation {
    /// Tells an event that comes with no change of a record. What it tells of has happened, so a
    /// failure is only counted; with the same request it is told once.
    pub(crate) async fn tell(&self, shard: Shard, event: NewEvent<'_>, request: Digest) {
        let told = timeout(TOLD_WITHIN, self.store.append_event(shard, event, request)).await;
        let error = match told {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "not in time".to_owned(),
        };
        let kind = event.kind.as_str();
        metric::UNTOLD.of(&[kind]).increment(1);
        tracing::debug!(event = kind, error, "an event is not told");
    }
}
