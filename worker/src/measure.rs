//! What the loops around sweeps measure, and what keeps it for the scrapes.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::sleep;
use vestibule::metric::{self, Kind};

/// With the buckets that each histogram wants; without them it would be a summary, which cannot be
/// added up over replicas.
pub(crate) fn recorder() -> anyhow::Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new();
    for metric in metric::ALL.iter().filter(|metric| metric.kind() == Kind::Histogram) {
        let name = Matcher::Full(metric.name().to_owned());
        builder = builder.set_buckets_for_metric(name, metric.buckets())?;
    }
    let handle = builder.install_recorder().context("metrics")?;
    metric::describe();
    Ok(handle)
}

/// Drains what was recorded into the buckets, which a scrape alone would do too seldom.
pub(crate) async fn upkeep(metrics: &PrometheusHandle) -> Infallible {
    loop {
        sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
    }
}

/// So often a pass of this sweep is begun.
pub(crate) fn cadence(sweep: &'static str, every: Duration) {
    metric::SWEEP_INTERVAL.of(&[sweep]).set(every);
}

/// A pass that took so long, what it did, and whether it met no error.
pub(crate) fn pass(
    sweep: &'static str,
    took: Duration,
    outcomes: &[(&'static str, u64)],
    succeeded: bool,
) {
    metric::SWEEP_SECONDS.of(&[sweep]).record(took);
    for (outcome, count) in outcomes {
        metric::SWEPT.of(&[sweep, outcome]).increment(*count);
    }
    if succeeded {
        #[expect(
            clippy::disallowed_methods,
            reason = "whoever scrapes compares it with their own clock; nothing here is decided by it"
        )]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metric::SWEEP_LAST_SUCCESS.of(&[sweep]).set(now);
    }
}
