//! What needs somebody: first on the page.

use maud::{Markup, html};
use vestibule::inspect::{Snapshot, Trouble};

use super::parts::{since, table};
use crate::commands::{
    doctor::{Level, of_facts},
    when::{long, relative},
};

/// How many connections and connectors need somebody.
pub(super) fn count(seen: &Snapshot) -> u64 {
    let told: u64 = seen.census.troubles.iter().filter(|it| needs(it)).map(|it| it.count).sum();
    told + seen.paused.len() as u64
}

/// What is tried again by itself needs nobody yet.
pub(super) fn needs(trouble: &Trouble) -> bool {
    trouble.status != "failing"
}

pub(super) fn section(seen: &Snapshot, now_ms: u64) -> Markup {
    let census = &seen.census;
    let findings = of_facts(&seen.facts);
    // What does not leave this machine needs no TLS at three in the morning.
    let is_told = |about: &str| about != "tls" || !seen.facts.place.loopback;
    let findings: Vec<_> =
        findings.iter().filter(|it| it.level >= Level::Warning && is_told(it.about)).collect();
    let is_well = census.troubles.is_empty() && seen.paused.is_empty() && findings.is_empty();
    html! {
        section {
            h2 {
                "What needs somebody"
                @if census.ended_at_ms.is_none() { small { "still counting" } }
            }
            @if is_well { p class="empty" { "Nothing: no credential, no provider, nothing about Redis." } }
            @if !findings.is_empty() {
                ul class="plain" {
                    @for finding in &findings {
                        li {
                            span class=(if finding.level == Level::Error { "pill bad" } else { "pill warn" }) {
                                "Redis: " (finding.about)
                            }
                            " " (finding.what)
                            @if let Some(fix) = &finding.fix { div class="dim" { (fix) } }
                        }
                    }
                }
            }
            @if !seen.paused.is_empty() { (paused(seen, now_ms)) }
            @if !census.troubles.is_empty() { (credentials(&census.troubles, now_ms)) }
            @if census.others > 0 {
                p class="dim" {
                    "And " (census.others) " for other reasons: "
                    code { "vestibule-worker ls connections --status needs_reauth" }
                }
            }
        }
    }
}

fn paused(seen: &Snapshot, now_ms: u64) -> Markup {
    html! {
        ul class="plain" {
            @for connector in &seen.paused {
                li {
                    span class="pill bad" { "connector paused" }
                    " " strong { (connector.slug) } ": " (connector.reason.as_deref().unwrap_or("it is not known why"))
                    div class="dim" {
                        @if let Some(at) = connector.since_ms { "for " (long(now_ms.saturating_sub(at))) "; " }
                        @match connector.until_ms.filter(|until| *until > now_ms) {
                            Some(until) => { "one refresh tries it again " (relative(until, now_ms)) },
                            None => "the next refresh tries it again",
                        }
                        "; mended: " code { "vestibule-worker resume " (connector.slug) }
                    }
                }
            }
        }
    }
}

fn credentials(troubles: &[Trouble], now_ms: u64) -> Markup {
    let rows = troubles.iter().map(|trouble| {
        let name = if trouble.name.is_empty() { "–" } else { &trouble.name };
        vec![
            html! { span class=(class(&trouble.status)) { (label(&trouble.status)) } },
            html! { (name) @if trouble.kind == "headers" { " " small { "headers" } } },
            html! { (trouble.reason) },
            html! { (trouble.count) },
            since(trouble.since_ms, now_ms),
            html! { span class="id" { (trouble.id) } },
        ]
    });
    let head = [
        ("what", ""),
        ("of", ""),
        ("why", ""),
        ("how many", "num"),
        ("last one", "nowrap"),
        ("its id", ""),
    ];
    table(&head, rows)
}

fn class(status: &str) -> &'static str {
    if status == "failing" { "pill warn" } else { "pill bad" }
}

fn label(status: &str) -> &str {
    match status {
        "needs_reauth" => "needs sign-in",
        "needs_update" => "needs new headers",
        "exhausted" => "given up",
        "failing" => "failing, is retried",
        other => other,
    }
}
