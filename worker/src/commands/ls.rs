//! `ls`: lists of what is in Redis.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use vestibule::{
    inspect::{ConnectionView, Cursor, HeadersView, Inspector, OneShotView, Page},
    store::StoreError,
};

use super::{Context, Shown, aside, connectors, shown::table, when};

/// What is listed.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Pendings, of all namespaces or of one
    Pendings {
        #[command(flatten)]
        page: Paging,
        /// Only of this namespace; needs the key file
        #[arg(long, value_name = "NAME", conflicts_with = "after")]
        namespace: Option<String>,
    },
    /// Temp tokens, of all scopes or of one
    Tokens {
        #[command(flatten)]
        page: Paging,
        /// Only of this scope
        #[arg(long, value_name = "NAME")]
        scope: Option<String>,
        /// Only for this resource; needs the key file
        #[arg(long, value_name = "NAME", requires = "scope", conflicts_with = "after")]
        resource: Option<String>,
    },
    /// PKCE states: of sign-ins under way, and of those that ended less than a minute ago
    States {
        #[command(flatten)]
        page: Paging,
    },
    /// Connections, of all owners or of one
    Connections {
        #[command(flatten)]
        page: Paging,
        /// Only of this owner; needs the key file
        #[arg(long, value_name = "NAME", conflicts_with = "after")]
        owner: Option<String>,
        /// Only those that stand there: active, needs_reauth, exhausted, revoked, orphaned,
        /// damaged
        #[arg(long, value_name = "WORD")]
        status: Option<String>,
        /// Only of this connector
        #[arg(long, value_name = "SLUG")]
        connector: Option<String>,
    },
    /// Header credentials, of all bindings
    Headers {
        #[command(flatten)]
        page: Paging,
        /// Only those that stand there: active, needs_update, orphaned, damaged
        #[arg(long, value_name = "WORD")]
        status: Option<String>,
    },
    /// What access was withdrawn from, the longest ago first
    Orphans {
        /// How many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// What is to be refreshed, the longest overdue first
    Due {
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Who holds what: exchanges under way, and turns at polling a provider
    Leases,
    /// Connectors: those of the configuration file, if one is given, and all others that have a cap
    /// in use or are paused
    Connectors,
}

/// How much of a list.
#[derive(Debug, Args)]
pub struct Paging {
    /// How many, or a few more
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// Where the list before ended
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
}

pub(super) async fn run(what: What, context: &Context<'_>) -> anyhow::Result<Shown> {
    let inspector = &context.inspector()?;
    Ok(match what {
        What::Pendings { page, namespace: Some(name) } => {
            let digest = context.names("a namespace")?.namespace(&name);
            one_shots(&inspector.pendings_of(digest, page.limit).await?)
        }
        What::Pendings { page, namespace: None } => {
            let read = async |cursor, limit| inspector.pendings(cursor, limit).await;
            one_shots(&page.collect(read, |_| true).await?)
        }
        What::Tokens { page, scope: Some(scope), resource: Some(resource) } => {
            let index = context.names("a resource")?.tokens(&scope, &resource);
            one_shots(&inspector.tokens_of(index, page.limit).await?)
        }
        What::Tokens { page, scope, .. } => {
            let read = async |cursor, limit| inspector.tokens(cursor, limit).await;
            let wanted = scope.map(|scope| format!("scope={}", encoded(&scope)));
            let keep = |row: &OneShotView| {
                wanted.as_ref().is_none_or(|wanted| row.display.split(' ').any(|it| it == wanted))
            };
            one_shots(&page.collect(read, keep).await?)
        }
        What::States { page } => {
            let read = async |cursor, limit| inspector.states(cursor, limit).await;
            one_shots(&page.collect(read, |_| true).await?)
        }
        What::Connections { page, owner, status, connector } => {
            let keep = |row: &ConnectionView| {
                status.as_ref().is_none_or(|status| row.status == *status)
                    && connector.as_ref().is_none_or(|slug| row.connector.as_ref() == Some(slug))
            };
            let page = if let Some(owner) = owner {
                let digest = context.names("an owner")?.owner(&owner);
                let mut found = inspector.connections_of(digest, page.limit).await?;
                found.rows.retain(keep);
                found
            } else {
                let read = async |cursor, limit| inspector.connections(cursor, limit).await;
                page.collect(read, keep).await?
            };
            connections(&page)
        }
        What::Headers { page, status } => {
            let read = async |cursor, limit| inspector.headers(cursor, limit).await;
            let keep = |row: &HeadersView| status.as_ref().is_none_or(|it| row.status == *it);
            aside::headers(&page.collect(read, keep).await?)
        }
        What::Orphans { limit } => aside::orphans(inspector, limit).await?,
        What::Due { limit } => due(inspector, limit).await?,
        What::Leases => leases(inspector).await?,
        What::Connectors => connectors::run(inspector, context).await?,
    })
}

impl Paging {
    /// Pages until there is enough, or no more.
    async fn collect<T>(
        &self,
        read: impl AsyncFn(Option<Cursor>, u16) -> Result<Page<T>, StoreError>,
        keep: impl Fn(&T) -> bool,
    ) -> Result<Page<T>, StoreError> {
        let mut page = read(self.after, self.limit).await?;
        page.rows.retain(&keep);
        while page.rows.len() < self.limit.into()
            && let Some(next) = page.next
        {
            let more = read(Some(next), self.limit).await?;
            page.rows.extend(more.rows.into_iter().filter(&keep));
            page.next = more.next;
        }
        Ok(page)
    }
}

fn one_shots(page: &Page<OneShotView>) -> Shown {
    let rows = page.rows.iter().map(|row| {
        let ends = match row.state.as_str() {
            "live" => format!("in {}", when::long(row.left_ms)),
            _ => when::maybe(row.ended_at_ms, page.now_ms),
        };
        let made = when::maybe(row.created_at_ms, page.now_ms);
        [row.id.clone(), row.state.clone(), made, ends, row.display.clone()]
    });
    listed(page, table(["id", "state", "made", "ends or ended", "what its writer says"], rows))
}

fn connections(page: &Page<ConnectionView>) -> Shown {
    let rows = page.rows.iter().map(|row| {
        let why = row.reason.clone().or_else(|| row.last_error.clone()).unwrap_or_default();
        [
            row.id.clone(),
            row.connector.clone().unwrap_or_default(),
            row.status.clone(),
            when::maybe(row.expires_at_ms, page.now_ms),
            when::maybe(row.next_at_ms, page.now_ms),
            row.attempts.to_string(),
            why,
        ]
    });
    let header = ["id", "connector", "status", "runs out", "due", "failures", "why"];
    listed(page, table(header, rows))
}

pub(super) fn listed<T: Serialize>(page: &Page<T>, table: String) -> Shown {
    let mut text = if page.rows.is_empty() { "There is none.".to_owned() } else { table };
    if let Some(next) = page.next {
        text = format!("{text}\nThere is more: --after {next}");
    }
    Shown::done(text, page)
}

async fn due(inspector: &Inspector, limit: u16) -> Result<Shown, StoreError> {
    let due = inspector.due(limit).await?;
    let rows = due.rows.iter().map(|row| {
        let connection = &row.connection;
        let by = connection.lease.as_ref().map(|lease| lease.by.clone()).unwrap_or_default();
        [
            connection.id.clone(),
            connection.connector.clone().unwrap_or_default(),
            connection.status.clone(),
            when::relative(row.due_at_ms, due.now_ms),
            connection.attempts.to_string(),
            by,
        ]
    });
    let header = ["id", "connector", "status", "due", "failures", "lease of"];
    let text = format!(
        "{}\n{} on the index, {} of them due now.",
        table(header, rows),
        due.scheduled,
        due.overdue
    );
    let text = if due.scheduled == 0 { "Nothing is scheduled.".to_owned() } else { text };
    Ok(Shown::done(text, due))
}

async fn leases(inspector: &Inspector) -> Result<Shown, StoreError> {
    let all = Paging { limit: u16::MAX, after: None };
    let read = async |cursor, _| inspector.connections(cursor, 1000).await;
    let exchanges = all.collect(read, |row: &ConnectionView| row.lease.is_some()).await?;
    let read = async |cursor, _| inspector.polls(cursor, 1000).await;
    let polls = all.collect(read, |row: &vestibule::inspect::PollView| row.by.is_some()).await?;
    let now_ms = exchanges.now_ms;
    let mut rows = Vec::new();
    for row in &exchanges.rows {
        let Some(lease) = &row.lease else { continue };
        rows.push([
            row.id.clone(),
            format!("exchange at {}", row.connector.as_deref().unwrap_or("?")),
            lease.by.clone(),
            when::relative(lease.ends_at_ms, now_ms),
        ]);
    }
    for row in &polls.rows {
        let by = row.by.clone().unwrap_or_default();
        rows.push([
            row.pending.clone(),
            "poll".to_owned(),
            by,
            when::maybe(row.ends_at_ms, now_ms),
        ]);
    }
    let text = if rows.is_empty() {
        "Nobody holds anything.".to_owned()
    } else {
        table(["id", "what", "who", "ends"], rows)
    };
    let json = json!({ "exchanges": exchanges.rows, "polls": polls.rows, "now_ms": now_ms });
    Ok(Shown::done(text, json))
}

/// As the library writes values in the line for people.
fn encoded(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    let encode = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    value.bytes().map(encode).collect()
}
