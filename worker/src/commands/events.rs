//! `events`: what happened, and what happens.

use std::{io::Write, process::ExitCode, time::Duration};

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value, json};
use tokio::time::sleep;
use vestibule::{
    inspect::{EventView, Inspector, Seen, Sought},
    store::{Class, ConnectionId, EventKind, HeadersId, Shard, StoreError, Subject},
};

use super::{Context, Shown, Usage, shown::table, when};

/// Between two looks for news.
const EVERY: Duration = Duration::from_secs(1);

/// Which events.
#[derive(Debug, Args)]
pub struct Options {
    /// Not older than this: 90s, 15m, 6h or 30d
    #[arg(long, value_name = "AGE", value_parser = age)]
    since: Option<Duration>,
    /// Only of this connection
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
    /// Only of this header credential
    #[arg(long, value_name = "ID", conflicts_with = "connection")]
    headers: Option<String>,
    /// Only of this kind: needs_reauth, say; more than once for more of them
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<EventKind>,
    /// Only of this connector, or of this client's header credentials
    #[arg(long, value_name = "NAME")]
    of: Option<String>,
    /// At most so many, the newest
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Go on with what happens, until Ctrl-C; with --json one object a line
    #[arg(long)]
    follow: bool,
}

impl Options {
    /// What is sought, and where alone it can be.
    fn sought(&self) -> anyhow::Result<(Option<Shard>, Sought)> {
        let wrong = |option| anyhow!(Usage(format!("--{option} takes 34 hexadecimal digits")));
        let mut sought = Sought::default();
        let shard = match (&self.connection, &self.headers) {
            (Some(id), _) => {
                let id: ConnectionId = id.parse().map_err(|_| wrong("connection"))?;
                sought.subject = Some((Subject::Connection, id.to_string()));
                Some(id.shard())
            }
            (None, Some(id)) => {
                let id: HeadersId = id.parse().map_err(|_| wrong("headers"))?;
                sought.subject = Some((Subject::Headers, id.to_string()));
                Some(id.shard())
            }
            (None, None) => None,
        };
        sought.kinds.clone_from(&self.kind);
        sought.name.clone_from(&self.of);
        Ok((shard, sought))
    }
}

pub(super) async fn run(options: &Options, context: &Context<'_>) -> anyhow::Result<Option<Shown>> {
    let (shard, sought) = options.sought()?;
    let inspector = context.inspector()?;
    let now_ms = inspector.now_ms().await?;
    let age = options.since.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let since_ms = age.map_or(0, |age| now_ms.saturating_sub(age));
    let (events, seen) = inspector.events_of(shard, &sought, since_ms, options.limit).await?;
    if options.follow {
        follow(&inspector, events, seen, (shard, &sought), context.json).await;
        return Ok(None);
    }
    let rows = events.iter().map(|event| {
        [
            when::utc(event.at_ms),
            event.kind.clone(),
            event.name.clone(),
            event.subject_id.clone(),
            event.actor.clone(),
            when::detail(&event.detail),
        ]
    });
    let head = ["when", "what", "of", "id", "by", "more"];
    let text =
        if events.is_empty() { "Nothing is on record.".to_owned() } else { table(head, rows) };
    Ok(Some(Shown::done(text, json!({ "rows": events, "now_ms": now_ms }))))
}

/// Ends with Ctrl-C or SIGTERM, or when nobody reads any more: all of them well. A Redis that is away
/// is waited for.
async fn follow(
    inspector: &Inspector,
    events: Vec<EventView>,
    mut seen: Seen,
    (shard, sought): (Option<Shard>, &Sought),
    json: bool,
) {
    let going_on = async {
        let mut news = Ok(events);
        let mut is_away = false;
        loop {
            match news {
                Ok(events) => {
                    if std::mem::take(&mut is_away) {
                        note("Redis is back");
                    }
                    let told = events.iter().filter(|event| sought.has(event));
                    for event in told {
                        if !print(event, json) {
                            return;
                        }
                    }
                }
                Err(error) if !std::mem::replace(&mut is_away, true) => say_away(&error),
                Err(_) => {}
            }
            sleep(EVERY).await;
            news = inspector.news(shard, &mut seen).await;
        }
    };
    tokio::select! {
        () = going_on => {}
        () = stopped() => {}
    }
}

async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Then they end the process by themselves.
        _ => std::future::pending().await,
    }
}

fn say_away(error: &StoreError) {
    let hint = if error.class() == Class::Operator { "" } else { "; waiting for it" };
    note(&format!("Redis does not answer{hint}: {error}"));
}

fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "vestibule-worker: {text}");
}

/// Whether somebody still reads.
fn print(event: &EventView, json: bool) -> bool {
    let mut out = std::io::stdout().lock();
    let line = if json {
        serde_json::to_value(event).unwrap_or(Value::Null).to_string()
    } else {
        let EventView { kind, name, subject_id, actor, detail, .. } = event;
        let (at, more) = (when::utc(event.at_ms), when::detail(detail));
        format!("{at} {kind} {name} {subject_id} by {actor} {more}")
    };
    writeln!(out, "{}", line.trim_end()).and_then(|()| out.flush()).is_ok()
}

fn kind(text: &str) -> Result<EventKind, String> {
    EventKind::from_word(text).ok_or_else(|| {
        let all: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("there are {}", all.join(", "))
    })
}

/// `90s`, `15m`, `6h`, `30d`.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and s, m, h or d, as in 15m".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(count.saturating_mul(unit)))
}

pub(super) fn done(shown: anyhow::Result<Option<Shown>>, json: bool) -> ExitCode {
    match shown {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(shown)) => shown.print(json),
        Err(error) => Shown::failure(&error).print(json),
    }
}
