//! Waiting for a sign-in to end, and what its end means to whoever waited.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    DeviceError, DeviceFlow, DeviceOutcome, Inner,
    flow::{self, Learnt, Told},
};
use crate::{
    connection::MayPass,
    pending::{PendingError, Waited},
    store::PendingId,
};

impl Inner {
    pub(super) async fn wait(
        inner: &Arc<Self>,
        owner: &str,
        id: PendingId,
        deadline: Instant,
    ) -> Result<DeviceOutcome, DeviceError> {
        let seen = match inner.flow(id, deadline).await? {
            Seen::Live(flow) if flow.owner != owner => return Ok(DeviceOutcome::Unknown),
            Seen::Foreign => return Ok(DeviceOutcome::Unknown),
            Seen::Live(flow) => Some(flow),
            Seen::Ended => None,
        };
        let was_mine = seen.is_some();
        let left = deadline.saturating_duration_since(Instant::now());
        let mut waiting = pin!(inner.pendings.wait::<Told>(id, left));
        let polling = async {
            if let Some(flow) = seen {
                Inner::take_part(inner, id, flow).await;
            }
        };
        let waited = tokio::select! {
            biased;
            waited = &mut waiting => waited,
            () = polling => waiting.await,
        };
        let waited = match waited {
            // Not how a sign-in by device code ends.
            Err(PendingError::Shape { .. }) => Waited::Unknown,
            waited => waited?,
        };
        match flow::learnt(waited, owner, was_mine) {
            Learnt::Outcome(outcome) => Ok(outcome),
            Learnt::Granted { obtained, at_ms } => inner.keep(id, &obtained, at_ms, deadline).await,
        }
    }

    async fn flow(&self, id: PendingId, deadline: Instant) -> Result<Seen, PendingError> {
        loop {
            match self.pendings.get(id).await {
                Ok(Some(pending)) => return Ok(Seen::Live(Arc::new(pending.data))),
                Ok(None) => return Ok(Seen::Ended),
                Err(PendingError::Shape { .. }) => return Ok(Seen::Foreign),
                Err(error) if error.may_pass() && Instant::now() < deadline => {
                    tracing::debug!(pending = %id, %error, "it cannot be read to be polled for");
                    sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A pending, as it is seen before it is waited for.
enum Seen {
    Live(Arc<DeviceFlow>),
    /// It ended, or never was.
    Ended,
    /// Another kind's.
    Foreign,
}
