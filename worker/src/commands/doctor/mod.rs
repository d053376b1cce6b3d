//! `doctor`: looks for what is wrong, and says how to mend it.

mod finding;
mod judge;
mod server;

use clap::Args;
use serde_json::json;
use vestibule::{
    Keys,
    inspect::{Inspector, Rights, Role},
    store::{Class, StoreError, redis::Prefix},
};

use self::judge::{Sealing, Seen, judge};
pub(crate) use self::{
    finding::{Finding, Level},
    judge::of_facts,
};
use super::{Code, Context, Shown, acl::Which, keys};

/// Whose rights are looked at.
#[derive(Debug, Args)]
pub struct Options {
    /// Whose rights the user of Redis must have
    #[arg(long, value_enum, default_value = "worker")]
    role: Which,
    /// Which user of Redis that is; by default the one that this command logs in as
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// Exit code 1 if anything is an error; warnings are not.
pub(super) async fn run(options: &Options, context: &Context<'_>) -> anyhow::Result<Shown> {
    let inspector = context.inspector()?;
    let keys = context.keys();
    let mut findings = Vec::new();
    let keys = keys.unwrap_or_else(|error| {
        findings.push(Finding::error(
            "keys",
            format!("the keys cannot be used: {error:#}"),
            "give the key file that the services have",
        ));
        None
    });
    match look(&inspector, keys.as_ref(), options).await {
        Ok(seen) => findings.extend(judge(&seen)),
        Err(error) => findings.push(Finding::error(
            "redis",
            format!("Redis cannot be asked: {error}"),
            "check that it runs, that this machine reaches it, and the URL with its user and password",
        )),
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let mut lines: Vec<String> = Vec::new();
    for finding in &findings {
        lines.push(format!("{:7} {}: {}", finding.level.as_str(), finding.about, finding.what));
        if let Some(fix) = &finding.fix {
            lines.push(format!("        → {fix}"));
        }
    }
    let code = if worst == Level::Error { Code::Error } else { Code::Done };
    let json = json!({ "worst": worst, "findings": findings });
    Ok(Shown::done(lines.join("\n"), json).with_code(code))
}

async fn look(
    inspector: &Inspector,
    keys: Option<&Keys>,
    options: &Options,
) -> Result<Seen, StoreError> {
    let facts = inspector.facts().await?;
    let prefix = Prefix::new(inspector.keyspace().prefix())?;
    let role: Role = options.role.role();
    let user = options.user.clone().or_else(|| facts.user.clone());
    let lacks = match &user {
        Some(user) => inspector.lacks(&Rights::of(role, &prefix), user).await?,
        None => None,
    };
    let sealing = match keys {
        Some(keys) => match allowed(keys::usage(inspector, keys, keys::SAMPLE).await) {
            Ok(Some(asked_for)) => {
                let unknown = asked_for.unknown().into_iter();
                Sealing::Unknown(unknown.map(|(id, count)| (id.to_string(), count)).collect())
            }
            Ok(None) => Sealing::Refused,
            Err(error) if error.class() == Class::Corrupt => Sealing::Damaged(error.to_string()),
            Err(error) => return Err(error),
        },
        None => Sealing::NoKeys,
    };
    // What stands first may be no connection's.
    let due = allowed(inspector.due(20).await)?;
    let overdue_ms = due.as_ref().filter(|due| due.overdue > 0).and_then(|due| {
        let first = due.rows.first()?;
        Some(due.now_ms.saturating_sub(first.due_at_ms))
    });
    let connectors = allowed(inspector.connectors().await)?.unwrap_or_default();
    let paused = connectors.into_iter().filter(|it| it.paused);
    Ok(Seen {
        naming: keys.map(|keys| keys.naming.check().to_hex()),
        role,
        user,
        lacks,
        sealing,
        overdue: due.map(|due| due.overdue),
        overdue_ms,
        paused: paused.map(|it| (it.slug, it.reason.unwrap_or_default())).collect(),
        facts,
    })
}

/// `None` if this user may not ask.
fn allowed<T>(asked: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.class() == Class::Operator => Ok(None),
        Err(error) => Err(error),
    }
}
