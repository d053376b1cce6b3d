//! What is played. Each scene fills in the figures that it promises, and proves them.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};
use vestibule::store::ConnectionId;

use super::{
    browser::{Browser, Landing},
    report::Report,
    stage::Stage,
};

mod access;
mod ask;
mod kill;
mod link;
mod sign_in;
mod storm;
mod vend;

/// A connection that somebody signed in for.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) owner: String,
    pub(super) id: ConnectionId,
}

/// Plays them all, in order.
pub(super) async fn play(stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
    report.replicas = stage.replicas.len();
    report.workers = stage.workers.len();

    sign_in::crosses_replicas(stage, report).await.context("the first sign-in")?;
    let storm = storm::breaks_out(stage).await.context("the storm")?;
    let fifty = sign_in::fifty(stage, report).await.context("the fifty sign-ins")?;
    // While their access tokens age.
    ask::one_person(stage, report).await.context("the prompt")?;
    link::one_form(stage, report).await.context("the link")?;
    kill::amid_refreshes(stage, report, &fifty).await.context("the kill")?;
    vend::from_everywhere(stage, report, &fifty).await.context("the vends")?;
    vend::of_one_that_ran_out(stage, report).await.context("the vends without a worker")?;
    access::comes_and_goes(stage, report, &fifty[0]).await.context("the access")?;
    storm::has_passed(stage, report, storm).await.context("after the storm")
}

/// A person signs in: starts on one replica, comes back on another.
async fn sign_in_over(
    mut browser: Browser,
    connector: &str,
    owner: String,
    start: u16,
    finish: u16,
) -> anyhow::Result<Signed> {
    let page = browser.start(start, connector, &owner).await?;
    let to = browser.agree(page, &owner).await?;
    match browser.come_back(finish, &to).await? {
        Landing::SignedIn { connection } => {
            Ok(Signed { owner, id: connection.parse().context("a connection's id")? })
        }
        Landing::Refused { status, told } => bail!("{owner} was refused: {status}: {told}"),
    }
}

/// Looks again and again until there is what is looked for.
async fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {patience:?}");
        }
        sleep(Duration::from_millis(25)).await;
    }
}

/// Milliseconds as people read them.
fn seconds(ms: u64) -> String {
    format!("{:.1} s", Duration::from_millis(ms).as_secs_f64())
}
