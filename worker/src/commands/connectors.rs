//! `ls connectors`.

use serde_json::json;
use vestibule::inspect::{ConnectorView, Inspector};

use super::{Context, Shown, shown::table, when};
use crate::config::load_slugs;

/// Those of the file are listed whatever they do; without a file it is those that anything is kept of.
pub(super) async fn run(inspector: &Inspector, context: &Context<'_>) -> anyhow::Result<Shown> {
    let now_ms = inspector.now_ms().await?;
    let mut found = inspector.connectors().await?;
    for slug in load_slugs(&context.connect)? {
        // Of the others nothing is kept.
        if !found.iter().any(|row| row.slug == slug) {
            found.push(ConnectorView::idle(slug));
        }
    }
    found.sort_by(|one, other| one.slug.cmp(&other.slug));
    let rows = found.iter().map(|row| {
        let paused = match (row.paused, row.until_ms) {
            (true, Some(until)) if until > now_ms => when::relative(until, now_ms),
            (true, _) => "until one call succeeds".to_owned(),
            (false, _) => "–".to_owned(),
        };
        let reason = row.reason.clone().unwrap_or_default();
        let times = row.times.map(|times| times.to_string()).unwrap_or_default();
        [row.slug.clone(), paused, times, reason, row.places.to_string()]
    });
    let text = if found.is_empty() {
        "No connector has a cap in use, or is paused; --config names the file that lists the others."
            .to_owned()
    } else {
        table(["connector", "paused until", "times", "why", "places in use"], rows)
    };
    Ok(Shown::done(text, json!({ "rows": found, "now_ms": now_ms })))
}
