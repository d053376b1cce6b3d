//! Three replicas need one person's word at the same moment: one prompt goes out, and a fourth
//! takes the answer.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, bail, ensure};
use redis::cmd;
use reqwest::StatusCode;
use tokio::{task::JoinSet, time::Instant};
use vestibule::store::PendingId;

use super::until;
use crate::demo::{browser::Told, redis_cli, replica::Event, report::Report, stage::Stage};

const OWNER: &str = "ada";
const ANSWER: &str = "ada@work.example";
/// A caller that nobody wakes looks by itself so long after it asked. Whoever knows earlier was
/// woken.
const LOOKS_ANYWAY: Duration = Duration::from_secs(5);

/// What PTTL says of no key.
const GONE: i64 = -2;

/// A caller that has its answer, and since when.
struct Caller {
    replica: &'static str,
    told: Told,
    at: Instant,
}

pub(super) async fn one_person(stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
    let narrator = stage.narrator;
    narrator.title("4  A, B and C need ada's word at the same moment; D takes her answer");
    // Before anybody asks: what follows is short, and all of it is inside the time after which a caller
    // looks by itself.
    let d = stage.start_replica("D").await?;
    narrator.say(format!("D (pid {}) is started; nobody asks anything of it", d.pid));
    let asked_at = Instant::now();
    let callers = ask_everywhere(stage);
    let id = prompted(stage, report).await?;
    narrator.say(format!(
        "{} prompt goes out to ada; {} callers join it; all three wait, each on its replica:",
        report.prompts, report.joined
    ));
    narrator.show(redis_cli::one_shots(&mut stage.redis, "pending").await?);
    narrator.show(redis_cli::waiters(&mut stage.redis, id).await?);

    narrator.say("ada's answer comes to D, which knows nothing of it but from Redis");
    let sent_at = Instant::now();
    let (status, told) = stage.browser.complete(d.port, id, OWNER, ANSWER).await?;
    let taken_in = sent_at.elapsed();
    ensure!(status == StatusCode::OK, "D did not take the answer: {status}: {told}");
    let mut callers = callers.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    callers.sort_by_key(|caller| caller.replica);
    let took = |caller: &Caller| caller.at.saturating_duration_since(sent_at);
    let each = callers.iter().map(|it| format!("{} after {}", it.replica, ms(took(it))));
    narrator.say(format!(
        "D took it within {}; the callers had it: {}",
        ms(taken_in),
        each.collect::<Vec<_>>().join(", ")
    ));
    narrator.add("Counted at the HTTP clients, from the moment that it was sent to D.");
    let is_woken = |it: &Caller| {
        (it.told.answer.as_str(), it.told.by.as_str()) == (ANSWER, "replica-d")
            && it.at.duration_since(asked_at) < LOOKS_ANYWAY
            && !took(it).is_zero()
    };
    report.woken = callers.iter().filter(|it| is_woken(it)).count();
    let slowest = callers.iter().map(took).max().unwrap_or_default();
    report.slowest_wake_up_ms = tenths(slowest);

    let (status, told) =
        stage.browser.complete(stage.replicas[1].port, id, OWNER, "nobody@example").await?;
    narrator.say(format!("a second answer comes to B, which answers {status} {told}"));
    report.second_answer_refused = status == StatusCode::CONFLICT && told.contains("replica-d");
    d.stop().await;
    judge(report, slowest, &left(stage).await?);
    Ok(())
}

/// Each replica has a caller that cannot go on, and keeps it waiting.
fn ask_everywhere(stage: &Stage) -> JoinSet<anyhow::Result<Caller>> {
    let callers = stage.replicas.iter().map(|replica| {
        let (browser, replica, port) = (stage.browser.another(), replica.name, replica.port);
        async move {
            let told = browser.ask(port, OWNER).await?;
            Ok(Caller { replica, told, at: Instant::now() })
        }
    });
    callers.collect()
}

/// Returns when all three wait, by what the replicas and Redis say.
async fn prompted(stage: &mut Stage, report: &mut Report) -> anyhow::Result<PendingId> {
    let mut asked_for = HashSet::new();
    for replica in &mut stage.replicas {
        match replica.next_event().await? {
            Event::Asked { pending, joined } => {
                report.joined += usize::from(joined);
                asked_for.insert(pending);
            }
            other => bail!("the replica that asked said {other:?}"),
        }
    }
    // By whichever of the two counts more.
    report.prompts = asked_for.len().max(stage.redis.find("*:pending:*").await?.len());
    let (prompts, joined) = (report.prompts, report.joined);
    report.prove(
        "Three replicas that need the same word send one prompt",
        format!("{prompts} prompt, {joined} joined"),
        (prompts, joined) == (1, 2),
    );
    let id = asked_for.into_iter().next().context("nobody asked")?;
    let id: PendingId = id.parse().context("a pending's id")?;
    let (redis, all) = (&mut stage.redis, stage.replicas.len());
    let waiters = redis.keys().waiters(id);
    until("all three waiting", Duration::from_secs(30), async || {
        let waiting: usize = redis.ask(cmd("ZCARD").arg(&waiters)).await?;
        Ok((waiting == all).then_some(()))
    })
    .await?;
    Ok(id)
}

/// The lives of the keys that are left, in ms. Negative for one without an end.
async fn left(stage: &mut Stage) -> anyhow::Result<Vec<i64>> {
    let redis = &mut stage.redis;
    let mut lives = Vec::new();
    for kind in ["pending", "outcome", "pendings", "dedup", "waiters"] {
        for key in redis.find(&format!("*:{kind}:*")).await? {
            let life = redis.ask(cmd("PTTL").arg(&key)).await?;
            // One that ended between the two questions is not left.
            if life != GONE {
                lives.push(life);
            }
        }
    }
    Ok(lives)
}

fn judge(report: &mut Report, slowest: Duration, lives: &[i64]) {
    let woken = report.woken;
    report.pending_keys_left = lives.len();
    report.prove(
        "A fourth process takes the answer, and all three are woken",
        format!("{woken} of 3, slowest {}", ms(slowest)),
        woken == 3,
    );
    report.prove(
        "A second answer is refused, and told who took the first",
        if report.second_answer_refused { "by replica-d" } else { "no" },
        report.second_answer_refused,
    );
    let longest = lives.iter().max().copied().and_then(|life| u64::try_from(life).ok());
    report.prove(
        "What it leaves in Redis ends by itself",
        format!("{} keys, gone in {} s", lives.len(), longest.unwrap_or_default().div_ceil(1000)),
        !lives.is_empty() && lives.iter().all(|life| *life > 0),
    );
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", tenths(duration))
}

/// Milliseconds, rounded up to tenths, so that nothing looks quicker than it was.
fn tenths(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).ceil() / 10.0
}
