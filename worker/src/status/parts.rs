//! The parts of the page: one function each. Whatever comes from Redis is escaped by the template.

use maud::{Markup, html};
use vestibule::inspect::{EventView, Snapshot};

use super::troubles;
use crate::commands::when::{detail, long, relative, utc, utc_seconds};

/// Overdue for so long, somebody should know; and for so long, no worker takes it.
const LATE_MS: u64 = 60_000;
const LOST_MS: u64 = 5 * 60_000;

/// A table that is a list of cards on a phone. Of each column its head and class.
pub(super) fn table(head: &[(&str, &str)], rows: impl Iterator<Item = Vec<Markup>>) -> Markup {
    html! {
        table {
            thead { tr { @for (name, class) in head { th scope="col" class=(class) { (name) } } } }
            tbody {
                @for row in rows {
                    tr {
                        @for ((name, class), cell) in head.iter().zip(row) {
                            @let none = if cell.0.is_empty() { "none" } else { class };
                            td data-name=(name) class=(none) { div { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// A time in words, and exactly for who points at it.
pub(super) fn since(at_ms: Option<u64>, now_ms: u64) -> Markup {
    html! {
        @if let Some(at_ms) = at_ms {
            time datetime=(utc(at_ms)) title=(utc(at_ms)) {
                (relative(at_ms, now_ms))
            }
        }
    }
}

/// `15:04:05`.
pub(super) fn clock(at_ms: u64) -> String {
    let text = utc_seconds(at_ms);
    text.get(11..19).map_or_else(|| text.clone(), str::to_owned)
}

fn more(shown: usize, count: u64, command: &str) -> Markup {
    html! {
        @if count > shown as u64 {
            p class="dim" { "And " (count - shown as u64) " more: " code { (command) } }
        }
    }
}

pub(super) fn tiles(seen: &Snapshot, now_ms: u64) -> Markup {
    let late_ms = seen.oldest_due_ms.map_or(0, |at| now_ms.saturating_sub(at));
    let late = match late_ms {
        0..LATE_MS => "",
        LATE_MS..LOST_MS => "warn",
        _ => "bad",
    };
    let oldest =
        if seen.overdue == 0 { "on time".to_owned() } else { format!("for {}", long(late_ms)) };
    let needs: u64 =
        seen.census.troubles.iter().filter(|it| troubles::needs(it)).map(|it| it.count).sum();
    let needs = needs + seen.census.others;
    let active = seen.census.connections.get("active").copied().unwrap_or(0);
    let of = |count: u64, class| if count > 0 { class } else { "" };
    let tile = |name: &str, value: u64, note: &str, class: &str| {
        html! { li class=(class) { span { (name) } b { (value) } small { (note) } } }
    };
    html! {
        ul class="tiles" {
            (tile("Overdue", seen.overdue, &oldest, late))
            (tile("Scheduled", seen.due.count, "to be refreshed", ""))
            (tile("Stuck", needs, "credentials", of(needs, "bad")))
            (tile("Failing", seen.census.failing, "are retried", of(seen.census.failing, "warn")))
            (tile("Active", active, "connections", ""))
            (tile("Exchanges", seen.leases.count, "run now", ""))
            (tile("Paused", seen.paused.len() as u64, "connectors", of(seen.paused.len() as u64, "bad")))
            (tile("Orphans", seen.orphans.count, "kept for a while", ""))
        }
    }
}

pub(super) fn due(seen: &Snapshot, now_ms: u64) -> Markup {
    let rows = seen.due.rows.iter().take(12);
    let shown = rows.len();
    let rows = rows.map(|row| {
        let is_late = row.due_at_ms < now_ms.saturating_sub(LATE_MS);
        vec![
            html! {
                @if is_late { span class="pill warn" { (since(Some(row.due_at_ms), now_ms)) } }
                @else { (since(Some(row.due_at_ms), now_ms)) }
            },
            html! { (row.connector) @if row.status != "active" { " " small { (row.status) } } },
            html! {
                @if row.attempts > 0 {
                    (row.attempts) @if let Some(error) = &row.last_error { " · " (error) }
                }
            },
            html! { span class="id" { (row.id) } },
        ]
    });
    html! {
        section {
            h2 { "Due" small { (seen.due.count) " on the index, " (seen.overdue) " due now" } }
            @if shown == 0 { p class="empty" { "Nothing is scheduled." } }
            @else {
                (table(&[("due", "nowrap"), ("of", ""), ("failures", ""), ("connection", "")], rows))
                (more(shown, seen.due.count, "vestibule-worker ls due"))
            }
        }
    }
}

pub(super) fn held(seen: &Snapshot, now_ms: u64) -> Markup {
    let polls = seen.walk.iter().flat_map(|walk| &walk.polls.rows);
    let polls = polls.map(|row| (row, "poll for a device code".to_owned()));
    let exchanges =
        seen.leases.rows.iter().map(|row| (row, format!("exchange at {}", row.connector)));
    let all: Vec<_> = exchanges.chain(polls).collect();
    let count = seen.leases.count + seen.walk.as_ref().map_or(0, |walk| walk.polls.count);
    let shown = all.len();
    let rows = all.into_iter().map(|(row, what)| {
        vec![
            html! { strong { (row.by) } },
            html! { (what) },
            since(Some(row.ends_at_ms), now_ms),
            html! { span class="id" { (row.id) } },
        ]
    });
    html! {
        section {
            h2 { "Who holds what" small { (count) } }
            @if shown == 0 { p class="empty" { "Nobody holds anything." } }
            @else {
                (table(&[("who", ""), ("what", ""), ("ends", "nowrap"), ("id", "")], rows))
                (more(shown, count, "vestibule-worker ls leases"))
            }
        }
    }
}

pub(super) fn waiting(seen: &Snapshot, now_ms: u64) -> Markup {
    let rows = seen.walk.iter().flat_map(|walk| &walk.waiters.rows);
    let count = seen.walk.as_ref().map_or(0, |walk| walk.waiters.count);
    let shown = rows.clone().count();
    let rows = rows.map(|row| {
        vec![
            html! { strong { (row.by) } },
            since(Some(row.until_ms), now_ms),
            html! { span class="id" { (row.pending) } },
        ]
    });
    html! {
        section {
            h2 { "Who waits" small { (count) } }
            @match &seen.walk {
                None => p class="empty" { "This user of Redis may not look." },
                Some(_) if shown == 0 => p class="empty" { "Nobody waits for a pending." },
                Some(_) => {
                    (table(&[("who", ""), ("known until", "nowrap"), ("pending", "")], rows))
                    (more(shown, count, "vestibule-worker ls pendings"))
                }
            }
        }
    }
}

pub(super) fn orphans(seen: &Snapshot, now_ms: u64) -> Markup {
    let rows = seen.orphans.rows.iter().take(8);
    let shown = rows.len();
    let rows = rows.map(|row| {
        vec![
            html! { (row.kind) },
            since(Some(row.since_ms), now_ms),
            html! { span class="id" { (row.id) } },
        ]
    });
    html! {
        section {
            h2 { "Orphans" small { (seen.orphans.count) } }
            @if shown == 0 { p class="empty" { "Access was withdrawn from nothing that is kept." } }
            @else {
                (table(&[("what", ""), ("since", "nowrap"), ("id", "")], rows))
                (more(shown, seen.orphans.count, "vestibule-worker ls orphans"))
            }
        }
    }
}

pub(super) fn events(seen: &Snapshot, now_ms: u64) -> Markup {
    let rows = seen.events.iter().map(|event| {
        vec![
            since(Some(event.at_ms), now_ms),
            html! { span class=(event_class(event)) { (event.kind.replace('_', " ")) } },
            html! { (event.name) @if !event.host.is_empty() { " " small { (event.host) } } },
            html! { (detail(&event.detail)) },
            html! { (event.actor) },
            html! { span class="id" { (event.subject_id) } },
        ]
    });
    let head = [("when", "nowrap"), ("what", ""), ("of", ""), ("more", ""), ("by", ""), ("id", "")];
    html! {
        section {
            h2 {
                "What happened last"
                @if seen.undelivered > 0 { small { (seen.undelivered) " wait for delivery" } }
            }
            @if seen.events.is_empty() { p class="empty" { "Nothing is on record." } }
            @else { (table(&head, rows)) }
        }
    }
}

fn event_class(event: &EventView) -> &'static str {
    match event.kind.as_str() {
        "needs_reauth"
        | "connector_paused"
        | "refresh_failed_revoked"
        | "refresh_rotation_persistence_failed"
        | "damaged" => "pill bad",
        "refresh_failed_transient" | "replay_refused" | "orphaned" => "pill warn",
        "recovered" | "connector_resumed" | "reactivated" | "connect_completed" => "pill ok",
        _ => "pill",
    }
}
