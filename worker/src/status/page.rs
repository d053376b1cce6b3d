//! The page as a whole.

use base64ct::{Base64, Encoding};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use vestibule::inspect::Snapshot;

use super::{About, Seen, engine, parts, troubles};
use crate::{
    commands::when::{long, utc_seconds},
    sweeper::Passed,
};

const STYLE: &str = include_str!("style.css");

/// The one style that a browser may apply, as its policy names it.
pub(super) fn style_digest() -> String {
    format!("sha256-{}", Base64::encode_string(&Sha256::digest(STYLE)))
}

/// What is on it.
pub(super) struct Page<'a> {
    pub(super) about: &'a About,
    /// Whether the worker is ready, and since when.
    pub(super) ready: (bool, Instant),
    pub(super) pass: Option<(Passed, Instant)>,
    pub(super) seen: &'a Seen,
    pub(super) now: Instant,
    /// Seconds until the browser asks again, if it does.
    pub(super) refresh: Option<u32>,
}

pub(super) fn render(page: &Page<'_>) -> Markup {
    let ago = |at: Instant| ms(page.now.saturating_duration_since(at));
    let seen = page.seen.last.as_ref();
    let now_ms = seen.map(|(snapshot, at)| snapshot.now_ms + ago(*at));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                @if let Some(seconds) = page.refresh { meta http-equiv="refresh" content=(seconds); }
                title { (title(page)) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(page, seen.map(|(snapshot, _)| &**snapshot), now_ms))
                main {
                    @if let Some((fault, since)) = &page.seen.fault {
                        (gone(page, fault, ago(*since), now_ms))
                    }
                    @match (seen, now_ms) {
                        (Some((snapshot, _)), Some(now_ms)) => { (content(page, snapshot, now_ms)) },
                        _ => section {
                            h2 { "Nothing has been seen yet" }
                            p class="empty" {
                                "As soon as Redis answers, this page shows what is there."
                            }
                        },
                    }
                }
                footer {
                    p {
                        "This page changes nothing. Ask further with "
                        code { "vestibule-worker why ID" } ", "
                        code { "vestibule-worker doctor" } " and "
                        code { "vestibule-worker events --follow" } "."
                    }
                }
            }
        }
    }
}

fn content(page: &Page<'_>, seen: &Snapshot, now_ms: u64) -> Markup {
    html! {
        (parts::tiles(seen, now_ms))
        @if !seen.refused.is_empty() { (refused(seen)) }
        (troubles::section(seen, now_ms))
        div class="pair" {
            (parts::due(seen, now_ms))
            (parts::held(seen, now_ms))
        }
        div class="pair" {
            (parts::waiting(seen, now_ms))
            (parts::orphans(seen, now_ms))
        }
        (parts::events(seen, now_ms))
        div class="pair" {
            (engine::sweeps(seen, page, now_ms))
            (engine::redis(seen))
        }
    }
}

/// What a tab says when it is one of many.
fn title(page: &Page<'_>) -> String {
    let name = match page.about.instance.as_str() {
        "" => "vestibule".to_owned(),
        name => format!("{name} · vestibule"),
    };
    if page.seen.fault.is_some() {
        return format!("Redis is away · {name}");
    }
    match page.seen.last.as_ref().map_or(0, |(seen, _)| troubles::count(seen)) {
        0 => name,
        count => format!("({count}) {name}"),
    }
}

fn header(page: &Page<'_>, seen: Option<&Snapshot>, now_ms: Option<u64>) -> Markup {
    let (ready, since) = page.ready;
    let since = long(ms(page.now.saturating_duration_since(since)));
    html! {
        header {
            h1 { "Vestibule" }
            @if !page.about.instance.is_empty() { span class="id" { (page.about.instance) } }
            @if ready {
                span class="pill ok" { "ready" }
            } @else {
                span class="pill bad" { "not ready for " (since) }
            }
            span class="meta" {
                @if let Some(now_ms) = now_ms {
                    span class="nowrap" { (parts::clock(now_ms)) " UTC by Redis" }
                    @if let Some(seen) = seen { " · looked in " (seen.took_ms) " ms" }
                    " · "
                }
                @match page.refresh {
                    Some(seconds) => {
                        "every " (seconds) " s · " a href="?refresh=off" { "hold still" }
                    }
                    None => { "held still · " a href="?" { "go on" } },
                }
            }
        }
    }
}

fn gone(page: &Page<'_>, fault: &str, for_ms: u64, now_ms: Option<u64>) -> Markup {
    // The worker asks every second; this page only when somebody looks.
    let for_ms = match page.ready {
        (false, since) => for_ms.max(ms(page.now.saturating_duration_since(since))),
        (true, _) => for_ms,
    };
    html! {
        div class="banner bad" role="alert" {
            h2 { "Redis does not answer" }
            p {
                "For " (long(for_ms))
                @if let Some(now_ms) = now_ms { ", since " (utc_seconds(now_ms.saturating_sub(for_ms))) }
                ": " (fault)
            }
            p {
                "The worker goes on by itself when it is back. "
                @if let Some((_, at)) = &page.seen.last {
                    "Below is what was seen last, "
                    (long(ms(page.now.saturating_duration_since(*at)))) " ago."
                }
            }
        }
    }
}

fn refused(seen: &Snapshot) -> Markup {
    let what: Vec<_> = seen.refused.iter().copied().collect();
    html! {
        p class="dim" {
            "Redis does not let this user see: " (what.join(", ")) ". "
            code { "vestibule-worker acl" } " prints what an inspector must be allowed."
        }
    }
}

pub(super) fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
