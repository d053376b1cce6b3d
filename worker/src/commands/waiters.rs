//! `waiters`: who waits for a pending.

use super::{Context, Shown, shown::table, subject::Id, when};

pub(super) async fn run(id: &Id, context: &Context<'_>) -> anyhow::Result<Shown> {
    let id = id.pending()?;
    let inspector = context.inspector()?;
    let page = inspector.waiters(id).await?;
    if page.rows.is_empty() {
        if inspector.pending(id).await?.is_none() && inspector.outcome(id).await?.is_none() {
            return Ok(Shown::not_found(format!("there is no pending {id}")));
        }
        return Ok(Shown::done("Nobody waits.", &page));
    }
    let rows = page.rows.iter();
    let rows = rows.map(|row| [row.by.clone(), when::relative(row.until_ms, page.now_ms)]);
    Ok(Shown::done(table(["waits", "known until"], rows), &page))
}
