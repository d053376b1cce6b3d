//! Fifty credentials come due, and one of two workers is killed in the middle of refreshing them.
//!
//! The provider rotates a refresh token when the request arrives, and holds its answer back. A worker
//! that dies in between leaves what its successor can see: the lease that it held and the write-ahead
//! of its attempt. Once the lease has run out the successor presents the same refresh token again,
//! inside the time that the provider forgives.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};
use vestibule::store::ConnectionId;

use super::{Signed, seconds, until};
use crate::{
    demo::{
        guarded::KILLED,
        inspect::Row,
        redis_cli,
        report::Report,
        stage::{REUSE_GRACE, Stage},
    },
    provider::Counts,
};

const SOON: Duration = Duration::from_millis(50);
/// In so many exchanges the worker should be when it is killed.
const SEVERAL: usize = 5;
/// After so long, in any.
const NOT_CHOOSY: Duration = Duration::from_secs(12);

const ABOUT_IT: [&str; 4] = [
    "lease_by, lease_ends_at: whose turn it is, and until when.",
    "att_token, att_at: which refresh token was presented (a digest of it), and when.",
    "secret: the tokens themselves, sealed.",
    "It is due again when the lease ends: then the other worker may try.",
];

pub(super) async fn amid_refreshes(
    stage: &mut Stage,
    report: &mut Report,
    fifty: &[Signed],
) -> anyhow::Result<()> {
    let narrator = stage.narrator;
    narrator.title("6  They come due, and worker-1 is killed in the middle of refreshing them");
    let ids: Vec<_> = fifty.iter().map(|it| it.id.clone()).collect();
    tell_when_due(stage, &ids).await?;
    narrator.say(
        "the provider holds its answers back: a refresh token is spent, and its worker does not",
    );
    narrator.add("have the successor yet");

    let (mine, theirs) = caught(stage, &ids).await?;
    narrator.say(format!("worker-1 is inside {mine} exchanges, worker-2 inside {theirs}"));
    report.reused_presentations_before_kill = stage.provider.counts().reused_presentations;
    let killed_at = stage.redis.now_ms().await?;
    let pid = stage.workers[0].process.pid();
    report.worker_killed = stage.workers[0].kill().await? == KILLED;
    // What it sent before has arrived by then.
    sleep(SOON).await;
    let left = in_flight(&stage.redis.rows(&ids).await?, &stage.workers[0].name);
    report.in_flight_at_kill = left.len();
    stage.provider.set_answer_delay(SOON);
    stage.provider.release_answers();
    narrator
        .say(format!("kill -9 {pid}: worker-1 is dead, with {} exchanges in flight", left.len()));
    let Some(example) = left.first() else { bail!("nothing was in flight when worker-1 died") };
    narrator.add("Their refresh tokens are spent, and the answers went to nobody. One of them:");
    narrator.show(redis_cli::connection(&mut stage.redis, &example.id).await?);
    for line in ABOUT_IT {
        narrator.add(line);
    }

    let recovered = recovered(stage, &ids, &left).await?;
    report.recovered_after_kill_ms = recovered.saturating_sub(killed_at);
    let rows = stage.redis.rows(&ids).await?;
    report.refreshed = rows.iter().filter(|row| row.ver >= 2 && row.is_active).count();
    let counts = stage.provider.counts();
    narrator.say(format!(
        "all fifty are fresh, the last of them {} after the kill",
        seconds(report.recovered_after_kill_ms)
    ));
    narrator.add(format!(
        "{} refresh tokens were presented a second time, and {} of them forgiven.",
        counts.reused_presentations, counts.replays_in_grace
    ));
    judge(report, counts);
    Ok(())
}

async fn tell_when_due(stage: &mut Stage, ids: &[ConnectionId]) -> anyhow::Result<()> {
    let now = stage.redis.now_ms().await?;
    let rows = stage.redis.rows(ids).await?;
    let due = || rows.iter().map(|row| row.next_at.saturating_sub(now));
    let (first, last) = (due().min().unwrap_or_default(), due().max().unwrap_or_default());
    stage.narrator.say(format!(
        "their access tokens live for 10 s; refreshes are due in {} to {}",
        seconds(first),
        seconds(last)
    ));
    Ok(())
}

/// Waits until worker-1 is in the middle of several exchanges: begun in Redis, and arrived at the
/// provider. Returns in how many each worker is.
async fn caught(stage: &mut Stage, ids: &[ConnectionId]) -> anyhow::Result<(usize, usize)> {
    let started = Instant::now();
    let Stage { redis, provider, workers, .. } = stage;
    until("worker-1 in the middle of an exchange", Duration::from_secs(60), async || {
        let rows = redis.rows(ids).await?;
        let [mine, theirs] = [0, 1].map(|n: usize| in_flight(&rows, &workers[n].name).len());
        let is_choosy = started.elapsed() < NOT_CHOOSY;
        let (enough, arrived) = if is_choosy { (SEVERAL, mine + theirs) } else { (1, theirs + 1) };
        let caught = mine >= enough && provider.in_flight() >= arrived;
        Ok(caught.then_some((mine, theirs)))
    })
    .await
}

fn in_flight(rows: &[Row], worker: &str) -> Vec<Row> {
    rows.iter().filter(|row| row.is_exchanged_by(worker)).cloned().collect()
}

/// Waits until all are fresh. Returns when the last of those in flight was stored, by Redis's
/// clock.
async fn recovered(stage: &mut Stage, ids: &[ConnectionId], left: &[Row]) -> anyhow::Result<u64> {
    let (narrator, dead) = (stage.narrator, stage.workers[0].name.clone());
    let redis = &mut stage.redis;
    let mut told = Instant::now();
    until("every credential refreshed", REUSE_GRACE, async || {
        let rows = redis.rows(ids).await?;
        let fresh = rows.iter().filter(|row| row.ver >= 2).count();
        if fresh == ids.len() {
            let saved = rows.iter().filter(|row| left.iter().any(|was| was.id == row.id));
            return Ok(saved.map(|row| row.updated_at).max());
        }
        let waiting = in_flight(&rows, &dead);
        if told.elapsed() > Duration::from_secs(3) && !waiting.is_empty() {
            told = Instant::now();
            let last = waiting.iter().map(|row| row.lease_ends_at).max().unwrap_or_default();
            let remaining = last.saturating_sub(redis.now_ms().await?);
            narrator.say(format!(
                "{fresh} of {} are fresh; {} wait for the dead worker's lease to end, in {}",
                ids.len(),
                waiting.len(),
                seconds(remaining)
            ));
        }
        Ok(None)
    })
    .await
}

fn judge(report: &mut Report, counts: Counts) {
    let (in_flight, before) = (report.in_flight_at_kill, report.reused_presentations_before_kill);
    let reused = counts.reused_presentations;
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
        (1..=in_flight as u64).contains(&reused) && reused == counts.replays_in_grace,
    );
}
