//! Tokens that ended a sign-in: stored by whoever learns of it, once.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{DeviceError, DeviceOutcome, Inner};
use crate::{
    connection::{ConnectionError, MayPass, Obtained},
    store::{GRACE, PendingId},
};

/// So long after its end a sign-in may still be stored. What begins then is over well within the
/// [`GRACE`], for which the receipt of a connection that was deleted meanwhile tells what is late.
pub(super) const STORABLE: Duration = Duration::from_secs(40);
/// How soon it is tried again.
const RETRY: Duration = Duration::from_millis(200);

impl Inner {
    /// Stores what this sign-in was granted, unless somebody has; tries until `deadline`.
    pub(super) async fn keep(
        &self,
        id: PendingId,
        obtained: &Obtained,
        at_ms: u64,
        deadline: Instant,
    ) -> Result<DeviceOutcome, DeviceError> {
        loop {
            let kept = self.keep_now(&id.to_string(), obtained, at_ms).await;
            let late = Instant::now() >= deadline;
            match kept {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) if late => return Ok(DeviceOutcome::TimedOut),
                Err(error) if !elsewhere(&error) => {
                    tracing::error!(pending = %id, %error, "what was granted cannot be stored");
                    return Ok(DeviceOutcome::Lost);
                }
                Err(error) if late => return Err(error.into()),
                Err(error) => tracing::debug!(pending = %id, %error, "trying again to store"),
                Ok(None) => {}
            }
            sleep(RETRY).await;
        }
    }

    /// `None` if it is too late to store it, and too early to say that nobody has.
    async fn keep_now(
        &self,
        sign_in: &str,
        obtained: &Obtained,
        at_ms: u64,
    ) -> Result<Option<DeviceOutcome>, ConnectionError> {
        let place = obtained.place()?;
        if self.connections.has_stored(sign_in, &place).await? {
            return Ok(Some(DeviceOutcome::Connected(place)));
        }
        let age = Duration::from_millis(self.foundation.store.now_ms().saturating_sub(at_ms));
        if age < STORABLE {
            self.connections.store_obtained(sign_in, obtained, age).await?;
            return Ok(Some(DeviceOutcome::Connected(place)));
        }
        Ok((age > GRACE).then_some(DeviceOutcome::Lost))
    }
}

/// Whether a later try, or another replica, may do better.
fn elsewhere(error: &ConnectionError) -> bool {
    error.may_pass() || matches!(error, ConnectionError::UnknownConnector { .. })
}
