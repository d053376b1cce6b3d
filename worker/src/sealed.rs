//! How much each key has sealed, as gauges: when an old key's is 0 it can be retired.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::timeout;
use vestibule::{Vestibule, metric, seal::KeyId};

/// It asks all shards; one that hangs must not hold up a sweep.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The gauges `vestibule_sealed_records`, by key: one for each that is or was in this process's ring,
/// and `unknown` for all others together.
#[derive(Debug, Default)]
pub struct SealedGauges {
    told: Mutex<BTreeMap<KeyId, u64>>,
}

impl SealedGauges {
    /// Counts, and tells.
    pub async fn count(&self, vestibule: &Vestibule) {
        let usage = match timeout(ANSWER_WITHIN, vestibule.key_usage()).await {
            Ok(Ok(usage)) => usage,
            Ok(Err(error)) => {
                tracing::warn!(%error, "what each key has sealed is not counted");
                return;
            }
            Err(_) => {
                tracing::warn!("what each key has sealed is not counted in time");
                return;
            }
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // A key that left the ring is told of to the end: its gauge must not stay where it was.
        for key in usage.ring() {
            told.insert(*key, 0);
        }
        for (key, count) in &mut *told {
            *count = usage.secrets(*key);
            gauge(key.to_string(), *count);
        }
        let unknown = usage.unknown().filter(|(key, _)| !told.contains_key(key));
        gauge("unknown".to_owned(), unknown.map(|(_, count)| count).sum());
        if let Err(error) = usage.check() {
            tracing::error!(%error, "secrets do not open here");
        }
    }
}

fn gauge(key: String, count: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge of records may round")]
    metric::SEALED_RECORDS.named(key, &[]).set(count as f64);
}
