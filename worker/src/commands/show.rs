//! `show`: one record, every field but the secrets.

use serde::Serialize;
use serde_json::{Value, json};
use vestibule::inspect::Inspector;

use super::{
    Context, Shown,
    subject::{self, Id, Subject},
    when,
};

pub(super) async fn run(id: &Id, context: &Context<'_>) -> anyhow::Result<Shown> {
    let inspector = context.inspector()?;
    let subject = id.subject(&inspector).await?;
    let record = record(&subject, &inspector, context).await?;
    let Some(record) = record else {
        return Ok(Shown::not_found(format!("there is no {} {}", subject.kind(), subject.id())));
    };
    let now_ms = inspector.now_ms().await?;
    let mut lines = vec![format!("kind: {}", subject.kind())];
    fields("", &record, now_ms, &mut lines);
    let json = json!({ "kind": subject.kind(), "record": record, "now_ms": now_ms });
    Ok(Shown::done(lines.join("\n"), json))
}

async fn record(
    subject: &Subject,
    inspector: &Inspector,
    context: &Context<'_>,
) -> anyhow::Result<Option<Value>> {
    fn value(row: impl Serialize) -> anyhow::Result<Option<Value>> {
        Ok(Some(serde_json::to_value(row)?).filter(|value| !value.is_null()))
    }
    match subject {
        Subject::Connection(id) => value(inspector.connection(id).await?),
        Subject::Headers(id) => value(inspector.headers_at(*id).await?),
        Subject::Token(id) => value(inspector.token(*id).await?),
        Subject::State(digest) => value(inspector.state(*digest).await?),
        Subject::Connector(slug) => value(subject::connector(context, inspector, slug).await?),
        Subject::Pending(id) => {
            let (record, outcome) = (inspector.pending(*id).await?, inspector.outcome(*id).await?);
            if record.is_none() && outcome.is_none() {
                return Ok(None);
            }
            let (poll, waiters) = (inspector.poll(*id).await?, inspector.waiters(*id).await?);
            let waiters: Vec<_> = waiters.rows.into_iter().map(|waiter| waiter.by).collect();
            let mut all = value(record)?.unwrap_or_else(|| json!({ "id": id.to_string() }));
            all["outcome"] = json!(outcome);
            all["poll"] = json!(poll);
            all["waiters"] = json!(waiters);
            Ok(Some(all))
        }
    }
}

/// One line a field; times in words too.
fn fields(prefix: &str, value: &Value, now_ms: u64, lines: &mut Vec<String>) {
    let Value::Object(all) = value else { return };
    for (name, value) in all {
        let shown = match value {
            Value::Null => continue,
            Value::Object(_) => {
                fields(&format!("{prefix}{name}."), value, now_ms, lines);
                continue;
            }
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) => text.clone(),
            Value::Array(items) if items.is_empty() => continue,
            Value::Array(items) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
            }
            Value::Number(number) => match number.as_u64().filter(|_| name.ends_with("_ms")) {
                Some(ms) if name == "left_ms" || name == "interval_ms" => when::long(ms),
                Some(ms) => format!("{} ({})", when::utc(ms), when::relative(ms, now_ms)),
                None => number.to_string(),
            },
            Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        };
        let name = name.trim_end_matches("_ms");
        lines.push(format!("{prefix}{name}: {shown}"));
    }
}
