//! `ls headers` and `ls orphans`.

use serde_json::json;
use vestibule::{
    inspect::{HeadersView, Inspector, Page},
    store::StoreError,
};

use super::{Shown, ls::listed, shown::table, when};

pub(super) fn headers(page: &Page<HeadersView>) -> Shown {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows = page.rows.iter().map(|row| {
        [
            row.id.clone(),
            text(&row.mode),
            text(&row.name),
            row.status.clone(),
            when::maybe(row.updated_at_ms, page.now_ms),
            text(&row.reason),
        ]
    });
    listed(page, table(["id", "mode", "client", "status", "changed", "why"], rows))
}

pub(super) async fn orphans(inspector: &Inspector, limit: u16) -> Result<Shown, StoreError> {
    let now_ms = inspector.now_ms().await?;
    let found = inspector.orphans(limit).await?;
    let rows = found
        .rows
        .iter()
        .map(|row| [row.id.clone(), row.kind.to_owned(), when::relative(row.since_ms, now_ms)]);
    let text = if found.rows.is_empty() {
        "Access was withdrawn from nothing that is kept.".to_owned()
    } else {
        format!("{}\n{} in all.", table(["id", "what", "since"], rows), found.count)
    };
    Ok(Shown::done(text, json!({ "rows": found.rows, "count": found.count, "now_ms": now_ms })))
}
