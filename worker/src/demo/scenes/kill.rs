//! Fifty credentials come due, and one of two workers is killed in the middle of refreshing them.
//!
//! The provider rotates a refresh token when the request arrives and answers late. A worker that
//! dies in between leaves what its successor can see: the lease that it held and the write-ahead
//! of its attempt. Once the lease has run out the successor presents the same refresh token again,
//! inside the time that the provider forgives.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};
use vestibule::store::ConnectionId;

use super::{Signed, seconds, until};
use crate::demo::{
    guarded::KILLED,
    inspect::Row,
    redis_cli,
    report::Report,
    stage::{REUSE_GRACE, Stage},
};

/// How late the provider answers while the kill is prepared.
const LATE: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_millis(50);
/// In so many exchanges the worker should be when it is killed.
const SEVERAL: usize = 5;
/// After so long, in any.
const NOT_CHOOSY: Duration = Duration::from_secs(8);

pub(super) async fn amid_refreshes(
    stage: &mut Stage,
    report: &mut Report,
    first: &Signed,
    fifty: &[Signed],
) -> anyhow::Result<()> {
    let narrator = stage.narrator;
    narrator.title("They come due, and worker-1 is killed in the middle of refreshing them");
    let ids: Vec<_> = fifty.iter().map(|it| it.id.clone()).collect();
    // The sign-in of the first scene comes due as well, and may be in flight too.
    let all: Vec<_> = ids.iter().chain([&first.id]).cloned().collect();
    stage.provider.set_answer_delay(LATE);
    narrator.say(format!(
        "their access tokens live for 10 s; the provider rotates at once and answers {} s late",
        LATE.as_secs()
    ));

    let (mine, theirs) = caught(stage, &all).await?;
    narrator.say(format!("worker-1 is inside {mine} exchanges, worker-2 inside {theirs}"));
    report.reused_presentations_before_kill = stage.provider.counts().reused_presentations;
    let killed_at = stage.redis.now_ms().await?;
    let pid = stage.workers[0].process.pid();
    report.worker_killed = stage.workers[0].kill().await? == KILLED;
    narrator.say(format!("kill -9 {pid}: worker-1 is dead"));

    // What was sent before the kill has arrived by then.
    sleep(SOON).await;
    let left = in_flight(&stage.redis.rows(&all).await?, stage.workers[0].name);
    report.in_flight_at_kill = left.len();
    stage.provider.set_answer_delay(SOON);
    narrator.say(format!(
        "Redis: {} attempts of worker-1 are in flight. Their refresh tokens are spent, the answers \
         lost:",
        left.len()
    ));
    let Some(example) = left.first() else { bail!("nothing was in flight when worker-1 died") };
    narrator.show(redis_cli::connection(&mut stage.redis, &example.id).await?);
    narrator
        .say("  lease_by, lease_ends_at: whose turn it is, and until when. att_*: what was tried");

    let recovered = recovered(stage, &all, &ids, &left).await?;
    report.recovered_after_kill_ms = recovered.saturating_sub(killed_at);
    let rows = stage.redis.rows(&ids).await?;
    report.refreshed = rows.iter().filter(|row| row.ver >= 2 && row.is_active).count();
    let reused = stage.provider.counts().reused_presentations;
    narrator.say(format!(
        "all fifty are fresh, the last of the dead worker's {} after the kill; {reused} refresh \
         tokens were",
        seconds(report.recovered_after_kill_ms)
    ));
    narrator.say("  presented a second time, each inside the provider's grace");
    judge(report, reused);
    Ok(())
}

/// Waits until worker-1 is in the middle of several exchanges: begun in Redis, and arrived at the
/// provider. Returns in how many each worker is.
async fn caught(stage: &mut Stage, all: &[ConnectionId]) -> anyhow::Result<(usize, usize)> {
    let started = Instant::now();
    let Stage { redis, provider, workers, .. } = stage;
    until("worker-1 in the middle of an exchange", Duration::from_secs(20), async || {
        let rows = redis.rows(all).await?;
        let [mine, theirs] = [0, 1].map(|n: usize| in_flight(&rows, workers[n].name).len());
        let enough = if started.elapsed() < NOT_CHOOSY { SEVERAL } else { 1 };
        let arrived = provider.in_flight() >= mine + theirs;
        Ok((mine >= enough && arrived).then_some((mine, theirs)))
    })
    .await
}

fn in_flight(rows: &[Row], worker: &str) -> Vec<Row> {
    rows.iter().filter(|row| row.is_exchanged_by(worker)).cloned().collect()
}

/// Waits until all fifty and whatever else was in flight are fresh. Returns when the last of those
/// in flight was stored, by Redis's clock.
async fn recovered(
    stage: &mut Stage,
    all: &[ConnectionId],
    fifty: &[ConnectionId],
    left: &[Row],
) -> anyhow::Result<u64> {
    let narrator = stage.narrator;
    let redis = &mut stage.redis;
    let mut told = Instant::now();
    until("every credential refreshed", REUSE_GRACE, async || {
        let rows = redis.rows(all).await?;
        let now = redis.now_ms().await?;
        let of = |id: &ConnectionId| rows.iter().find(|row| row.id == *id);
        let fresh = fifty.iter().filter_map(of).filter(|row| row.ver >= 2).count();
        let ends: Vec<_> = left
            .iter()
            .filter_map(|was| {
                of(&was.id).filter(|row| row.ver == was.ver && row.is_exchanged_by("worker-1"))
            })
            .map(|row| row.lease_ends_at.saturating_sub(now))
            .collect();
        if told.elapsed() > Duration::from_secs(3) && !ends.is_empty() {
            told = Instant::now();
            let last = ends.iter().max().copied().unwrap_or_default();
            narrator.say(format!(
                "{fresh} of 50 are fresh, by worker-2; {} wait for the dead worker's leases, \
                 {} left",
                ends.len(),
                seconds(last)
            ));
        }
        let saved: Vec<_> =
            left.iter().filter_map(|was| of(&was.id).filter(|row| row.ver > was.ver)).collect();
        let done = fresh == fifty.len() && saved.len() == left.len();
        Ok(done.then(|| saved.iter().map(|row| row.updated_at).max().unwrap_or_default()))
    })
    .await
}

fn judge(report: &mut Report, reused: u64) {
    let (in_flight, before) = (report.in_flight_at_kill, report.reused_presentations_before_kill);
    let took = Duration::from_millis(report.recovered_after_kill_ms);
    report.prove(
        "A worker is killed (SIGKILL) in the middle of exchanges",
        format!("{in_flight} in flight"),
        report.worker_killed && in_flight >= 1,
    );
    report.prove(
        "Until then no refresh token is presented twice",
        format!("{before} presented twice"),
        before == 0,
    );
    report.prove(
        "The surviving worker refreshes all of them",
        format!("{} of {}", report.refreshed, report.credentials),
        report.refreshed == report.credentials,
    );
    report.prove(
        "What was in flight is recovered inside the provider's grace",
        format!("{} of {} s", seconds(report.recovered_after_kill_ms), REUSE_GRACE.as_secs()),
        !took.is_zero() && took < REUSE_GRACE,
    );
    report.prove(
        "Only what was in flight is presented a second time",
        format!("{reused} of {in_flight}"),
        (1..=in_flight as u64).contains(&reused),
    );
}
