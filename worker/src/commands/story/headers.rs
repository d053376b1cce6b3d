//! Of a header credential.

use std::time::Duration;

use vestibule::inspect::HeadersView;

use super::{super::when::relative, Story, kept};

pub(in super::super) fn headers(
    row: &HeadersView,
    retention: Option<Duration>,
    now_ms: u64,
) -> Story {
    let mut story = Story::default();
    let since =
        row.status_at_ms.map(|at| format!(", {}", relative(at, now_ms))).unwrap_or_default();
    let reason = row.reason.as_deref().unwrap_or("no reason is on record");
    let what = match (row.name.as_deref(), row.mode.as_deref()) {
        (Some(name), Some(mode)) => format!("These headers for {name} (mode {mode})"),
        (None, Some(mode)) => format!("These headers (mode {mode})"),
        _ => "These headers".to_owned(),
    };
    match row.status.as_str() {
        "active" => story.state.push(format!("{what} are in use.")),
        "needs_update" => {
            story.state.push(format!("{what} are not accepted any more{since}: {reason}."));
            story.next.push("They are not used until others are submitted.".to_owned());
            story.todo.push("Send whose they are through the form again.".to_owned());
        }
        "orphaned" => {
            story.state.push(format!(
                "Access to what {} are for was withdrawn{since}: {reason}.",
                lower(&what)
            ));
            story.next.push(format!(
                "They are not used, and {}; given back before, they are {} again.",
                kept(retention),
                row.was.as_deref().unwrap_or("what they were")
            ));
        }
        "deleted" => {
            let at = row.deleted_at_ms.map_or("a moment ago".to_owned(), |at| relative(at, now_ms));
            story.state.push(format!("These headers were removed, {at}."));
            story.next.push("Redis forgets the receipts a minute after.".to_owned());
        }
        _ => {
            story.state.push(
                "The record is damaged: it lacks what every header credential has. Every verb leaves \
                 it as it is."
                    .to_owned(),
            );
            story.todo.push(format!("See who wrote it: `redis-cli HGETALL '{}'`.", row.key));
        }
    }
    if let (Some(at), Some(ver)) = (row.created_at_ms, row.ver) {
        story.history.push(format!(
            "The first were stored {}; these are number {ver}.",
            relative(at, now_ms)
        ));
    }
    story
}

fn lower(what: &str) -> String {
    what.replacen("These", "these", 1)
}
