//! Access is withdrawn and given back, with nothing lost; and withdrawn again, for longer than an
//! orphan is kept.

use std::time::Duration;

use redis::cmd;
use reqwest::StatusCode;

use super::Signed;
use crate::demo::{redis_cli, report::Report, stage::Stage};

/// Longer than the retention.
const A_MONTH: Duration = Duration::from_secs(31 * 24 * 3600);

pub(super) async fn comes_and_goes(
    stage: &mut Stage,
    report: &mut Report,
    one: &Signed,
) -> anyhow::Result<()> {
    let narrator = stage.narrator;
    narrator
        .title("9  Access is withdrawn and comes back; is withdrawn again, and a month goes by");
    let [a, b, c] = [0, 1, 2].map(|n: usize| stage.replicas[n].port);
    let (owner, id) = (one.owner.as_str(), one.id.as_str());
    let (browser, calls) = (stage.browser.another(), stage.provider.counts().token_calls);
    let before = browser.vend(a, owner, id).await?;

    let told = browser.access(a, owner, id, false).await?;
    narrator.say(format!("A learns that {owner} may not do this any more: {told}"));
    let mut shown = redis_cli::connection(&mut stage.redis, &one.id).await?;
    shown.retain(|line| {
        ["\"status", "\"reason", "\"was", "HGETALL", "ZSCORE", "(nil)"]
            .iter()
            .any(|part| line.contains(part))
    });
    narrator.show(shown);
    narrator.add("It is all there, and of no use: nobody gets it, and no worker refreshes it.");
    let mut refused = 0;
    for port in [a, b, c] {
        refused +=
            usize::from(browser.vend_status(port, owner, id).await? == StatusCode::FORBIDDEN);
    }
    let told = browser.access(b, owner, id, true).await?;
    let after = browser.vend(c, owner, id).await?;
    narrator.say(format!("a day later B learns that it was a mistake: {told}; C vends again"));
    let is_live = stage.provider.is_access_token_live(&after.access_token);
    let is_same = before.access_token == after.access_token;
    let calls = stage.provider.counts().token_calls - calls;
    report.access_returned = refused == 3 && is_live && is_same && calls == 0;
    report.prove(
        "Access that is withdrawn and given back loses nothing",
        format!("refused by {refused} of 3, then the same token; {calls} provider calls"),
        report.access_returned,
    );

    browser.access(a, owner, id, false).await?;
    let early = stage.sweep_orphans().await?;
    narrator.say(format!(
        "it is withdrawn again. `vestibule-worker sweep orphans`: {early} deleted, the retention is \
         30 days"
    ));
    a_month_goes_by(stage, one).await?;
    report.orphans_swept = stage.sweep_orphans().await?;
    let gone = browser.vend_status(b, owner, id).await?;
    let fields: Vec<String> =
        stage.redis.ask(cmd("HKEYS").arg(stage.redis.keys().connection(&one.id))).await?;
    let is_empty = !fields.iter().any(|field| field == "secret" || field == "owner");
    narrator.say(format!(
        "31 days later: {} deleted; its vend gets {}, its record is but receipts",
        report.orphans_swept,
        gone.as_u16()
    ));
    report.prove(
        "What nobody gives back is deleted after the retention, and not before",
        format!("{early} early, {} in time", report.orphans_swept),
        early == 0 && report.orphans_swept == 1 && gone == StatusCode::NOT_FOUND && is_empty,
    );
    Ok(())
}

/// In Redis, where it is said since when it is an orphan.
async fn a_month_goes_by(stage: &mut Stage, one: &Signed) -> anyhow::Result<()> {
    let by = -i64::try_from(A_MONTH.as_millis())?;
    let (record, index) = {
        let keys = stage.redis.keys();
        (keys.connection(&one.id), keys.orphans(one.id.shard()))
    };
    let _: i64 = stage.redis.ask(cmd("HINCRBY").arg(record).arg("status_at").arg(by)).await?;
    let member = format!("conn:{}", one.id);
    let _: f64 = stage.redis.ask(cmd("ZINCRBY").arg(index).arg(by).arg(member)).await?;
    Ok(())
}
