//! What a record's fields mean, in sentences. Pure: from what the inspector read, and the time.

mod connection;
mod headers;
mod one_shot;

use std::time::Duration;

use serde::Serialize;
use vestibule::inspect::{ConnectorView, EventView};

pub(super) use self::{
    connection::connection,
    headers::headers,
    one_shot::{pending, state, token},
};
use super::when::{self, long, relative};
use crate::config::SweepSettings;

/// What is told of one record.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Story {
    /// Where it stands.
    pub(super) state: Vec<String>,
    /// What is known of how it came there.
    pub(super) history: Vec<String>,
    /// What happens next if nobody does anything.
    pub(super) next: Vec<String>,
    /// What to do, if there is anything.
    pub(super) todo: Vec<String>,
}

impl Story {
    /// A paragraph each.
    pub(super) fn text(&self) -> String {
        let parts = [
            ("Now", &self.state),
            ("Before", &self.history),
            ("Next", &self.next),
            ("To do", &self.todo),
        ];
        let told = parts.into_iter().filter(|(_, sentences)| !sentences.is_empty());
        told.map(|(head, sentences)| format!("{head}: {}", sentences.join(" ")))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// What its history has of it, the newest last.
pub(super) fn events(events: &[EventView], now_ms: u64) -> Option<String> {
    let told = events.iter().map(|event| {
        let EventView { kind, actor, detail, at_ms, .. } = event;
        let by = if actor.is_empty() { String::new() } else { format!(" by {actor}") };
        // Where it stands among others is of no use to people.
        let words: Vec<_> = detail.split(' ').filter(|word| !word.starts_with("after=")).collect();
        let words = when::detail(&words.join(" "));
        let more = if words.is_empty() { String::new() } else { format!(" ({words})") };
        format!("{} {}{by}{more}", kind.replace('_', " "), relative(*at_ms, now_ms))
    });
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| format!("On record, the newest last: {}.", told.join("; ")))
}

/// How long an orphan stays, as far as the configuration file is there to say so.
fn kept(retention: Option<Duration>) -> String {
    let days = |kept: Duration| long(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
    match retention {
        Some(Duration::ZERO) => "kept for ever, since the retention is zero".to_owned(),
        Some(kept) => format!("deleted once the retention of {} is over", days(kept)),
        None => format!(
            "deleted once the retention is over ({}, unless the worker's file says otherwise)",
            days(SweepSettings::default().orphan_retention)
        ),
    }
}

/// Of a connector.
pub(super) fn connector(row: &ConnectorView, now_ms: u64) -> Story {
    let mut story = Story::default();
    let slug = &row.slug;
    if row.paused {
        story.state.push(paused(row));
        if let Some(since) = row.since_ms {
            let times = row.times.unwrap_or(1);
            story.history.push(format!(
                "It was first paused {}; this is pause number {times} in a row.",
                relative(since, now_ms)
            ));
        }
        story.next.push(when_paused_ends(row, now_ms));
        story.todo.push(format!(
            "Mend what the provider refuses (client id, secret, its registration there), then \
             `vestibule-worker resume {slug}`."
        ));
    } else {
        story.state.push(format!("Connector {slug} is not paused."));
    }
    if row.places > 0 {
        story.state.push(format!("{} calls of it are under way.", row.places));
    }
    if let Some(until) = row.line_until_ms {
        story.next.push(format!(
            "It is at a cap: whoever asks for a place now is told to come {}.",
            relative(until, now_ms)
        ));
    }
    story
}

fn paused(row: &ConnectorView) -> String {
    let reason = row.reason.as_deref().unwrap_or("it is not known why");
    format!(
        "Connector {} is paused, since its provider does not accept the host: {reason}.",
        row.slug
    )
}

fn when_paused_ends(row: &ConnectorView, now_ms: u64) -> String {
    match row.until_ms.filter(|until| *until > now_ms) {
        Some(until) => format!(
            "Nobody asks its provider for another {}; then one refresh does, and what comes of it \
             decides.",
            long(until - now_ms)
        ),
        None => "The pause is over: the next refresh asks its provider, and what comes of it \
                 decides."
            .to_owned(),
    }
}
