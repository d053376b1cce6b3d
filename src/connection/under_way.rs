//! What this process knows of each connector: how its exchanges go.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::ConnectionId;

/// An exchange that takes longer is slow; so many of them are enough for one connector.
const SLOW: Duration = Duration::from_secs(2);
const MOST_SLOW: usize = 8;
/// One credential may be of a form that its provider does not accept; so many in a row, with no
/// success between them, are the connector's fault.
const MISFITS: usize = 3;

/// By slug. A std Mutex, never held across an await.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    entered: u64,
    /// The exchanges under way, and since when.
    under_way: BTreeMap<u64, Instant>,
    /// Whose refreshes were of no acceptable form, since the last success.
    misfits: BTreeSet<ConnectionId>,
}

impl UnderWay {
    /// Whether so many of its exchanges are slow that the others wait.
    pub(super) fn is_slow(&self, slug: &str) -> bool {
        let known = self.lock();
        let Some(known) = known.get(slug) else { return false };
        known.under_way.values().filter(|since| since.elapsed() >= SLOW).count() >= MOST_SLOW
    }

    /// Until what this gives is dropped.
    pub(super) fn enter<'a>(&'a self, slug: &'a str) -> Entered<'a> {
        let mut known = self.lock();
        let known = known.entry(slug.to_owned()).or_default();
        known.entered += 1;
        known.under_way.insert(known.entered, Instant::now());
        Entered { under_way: self, slug, number: known.entered }
    }

    /// Whether it was one too many.
    pub(super) fn misfit(&self, slug: &str, id: &ConnectionId) -> bool {
        let mut known = self.lock();
        let misfits = &mut known.entry(slug.to_owned()).or_default().misfits;
        if misfits.len() < MISFITS {
            misfits.insert(id.clone());
        }
        misfits.len() >= MISFITS
    }

    pub(super) fn fits(&self, slug: &str) {
        if let Some(known) = self.lock().get_mut(slug) {
            known.misfits.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An exchange that is under way.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    under_way: &'a UnderWay,
    slug: &'a str,
    number: u64,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(known) = self.under_way.lock().get_mut(self.slug) {
            known.under_way.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_slow_exchanges_are_enough_for_one_connector() {
        let under_way = UnderWay::default();
        let mut entered: Vec<_> = (0..20).map(|_| under_way.enter("slow")).collect();
        assert!(!under_way.is_slow("slow"), "they have only begun");
        tokio::time::advance(SLOW).await;
        assert!(under_way.is_slow("slow") && !under_way.is_slow("other"));
        entered.truncate(7);
        assert!(!under_way.is_slow("slow"), "seven are not too many");
    }

    #[test]
    fn three_credentials_in_a_row_are_the_connectors_fault() {
        let under_way = UnderWay::default();
        let ids = ["00", "01", "02"].map(|byte| byte.repeat(17).parse::<ConnectionId>().unwrap());
        for _ in 0..5 {
            assert!(!under_way.misfit("demo", &ids[0]), "one credential is its own fault");
        }
        assert!(!under_way.misfit("demo", &ids[1]));
        under_way.fits("demo");
        assert!(!under_way.misfit("demo", &ids[0]));
        assert!(!under_way.misfit("demo", &ids[1]));
        assert!(under_way.misfit("demo", &ids[2]));
        assert!(!under_way.misfit("other", &ids[2]));
    }
}
