//! What does the work: the sweeps, and Redis.

use maud::{Markup, html};
use vestibule::inspect::{NodeFacts, Snapshot, SweepLine};

use super::{
    page::{Page, ms},
    parts::{since, table},
};
use crate::commands::when::{long, relative};

pub(super) fn sweeps(seen: &Snapshot, page: &Page<'_>, now_ms: u64) -> Markup {
    let cadence =
        |name: &str| page.about.cadences.iter().find(|it| it.0 == name).map(|it| ms(it.1));
    let own = page.pass.as_ref().map(|(pass, at)| {
        let ago = long(ms(page.now.saturating_duration_since(*at)));
        let did = format!(
            "{} claimed, {} refreshed, {} failed",
            pass.claimed, pass.refreshed, pass.failed
        );
        (format!("{ago} ago"), did)
    });
    let (last, did) = own.unwrap_or_else(|| ("not yet".to_owned(), String::new()));
    let every = cadence("refresh_due")
        .map_or_else(String::new, |every| format!("every {}", every_s(every)));
    let mut rows =
        vec![vec![html! { "refresh_due" }, html! { (last) }, html! { (did) }, html! { (every) }]];
    for sweep in &seen.sweeps {
        let did = format!("{} found, {} done", sweep.found, sweep.done);
        rows.push(vec![
            html! { (sweep.name) @if sweep.running > 0 { " " span class="pill ok" { "running" } } },
            since(sweep.last_at_ms, now_ms),
            html! { (did) @if sweep.shards < 256 { " " small { "in " (sweep.shards) " of 256 shards" } } },
            html! { (next(sweep, cadence(sweep.name), now_ms)) },
        ]);
    }
    html! {
        section {
            h2 { "Sweeps" small { "refresh_due: of this replica" } }
            (table(&[("sweep", ""), ("last", "nowrap"), ("what came of it", ""), ("next", "")], rows.into_iter()))
        }
    }
}

fn every_s(every_ms: u64) -> String {
    if every_ms < 1000 { format!("{every_ms} ms") } else { long(every_ms) }
}

/// What is swept so often is not waited for.
const OFTEN_MS: u64 = 60_000;

/// The shard that waited longest is next.
fn next(sweep: &SweepLine, every_ms: Option<u64>, now_ms: u64) -> String {
    match (every_ms, sweep.oldest_at_ms) {
        (None, _) => String::new(),
        (Some(0), _) => "switched off".to_owned(),
        (Some(every), _) if every < OFTEN_MS => format!("every {}", every_s(every)),
        (Some(every), Some(at)) if at.saturating_add(every) > now_ms => {
            relative(at.saturating_add(every), now_ms)
        }
        (Some(_), _) => "now".to_owned(),
    }
}

pub(super) fn redis(seen: &Snapshot) -> Markup {
    let facts = &seen.facts;
    let keys: Vec<_> =
        seen.census.keys.iter().map(|(id, count)| format!("{id} ({count})")).collect();
    let clock = match facts.clock_ahead_ms {
        0 => "as this machine's".to_owned(),
        ahead @ 1.. => format!("{ahead} ms ahead of this machine's"),
        behind => format!("{} ms behind this machine's", behind.unsigned_abs()),
    };
    let ping = format!("{}.{} ms", seen.ping_us / 1000, seen.ping_us % 1000 / 100);
    let place = if facts.place.tls { "over TLS" } else { "without TLS" };
    html! {
        section {
            h2 { "Redis" small { (facts.place.topology) ", " (place) } }
            ul class="plain" {
                @for node in &facts.nodes { li { (server(node)) } }
                li { "Answers in " (ping) "; its clock is " (clock) "." }
                @if !keys.is_empty() { li { "Sealed under: " span class="id" { (keys.join(", ")) } } }
            }
        }
    }
}

fn server(node: &NodeFacts) -> Markup {
    let text = |it: &Option<String>| it.clone().unwrap_or_else(|| "?".to_owned());
    let mb = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000);
    let used = node.used_memory.map_or_else(|| "?".to_owned(), mb);
    let most = match node.maxmemory {
        None | Some(0) => "no limit".to_owned(),
        Some(most) => format!("of {}", mb(most)),
    };
    let kept = match (node.aof, node.save.as_deref()) {
        (Some(true), _) => "append-only file",
        (Some(false), Some("")) => "nothing on disk",
        (Some(false), _) => "snapshots only",
        (None, _) => "on disk: not known",
    };
    html! {
        @if let Some(address) = &node.address { span class="id" { (address) } " " }
        strong { (text(&node.server)) " " (text(&node.version)) }
        ", "
        @match (node.role.as_deref(), node.replicas) {
            (Some("slave" | "replica"), _) => "a replica",
            (Some(_), Some(0)) => "no replica",
            (Some(_), Some(1)) => "1 replica",
            (Some(_), Some(count)) => { (count) " replicas" },
            _ => "role not known",
        }
        "; " (used) ", " (most) ", " (text(&node.maxmemory_policy)) "; " (kept)
    }
}
