//! Access tokens, asked for from all replicas at the same moment.

use std::{collections::BTreeMap, time::Duration};

use tokio::task::JoinSet;

use super::{Signed, sign_in_over, until};
use crate::demo::{
    browser::Vended,
    report::Report,
    stage::{CONNECTOR, Stage},
};

/// How often each credential is asked for, at each replica.
const TIMES: usize = 4;
/// How often the one that ran out is asked for, at each replica.
const CROWD: usize = 10;

/// Every credential, from every replica, several times, at the same moment.
pub(super) async fn from_everywhere(
    stage: &mut Stage,
    report: &mut Report,
    fifty: &[Signed],
) -> anyhow::Result<()> {
    let narrator = stage.narrator;
    narrator.title("7  Access tokens, from all replicas at the same moment");
    let calls_before = stage.provider.counts().token_calls;
    let wanted = fifty.iter().flat_map(|it| std::iter::repeat_n(it.clone(), TIMES));
    let vended = at_once(stage, wanted.collect()).await?;

    let live = vended.iter().filter(|(_, it)| is_live(stage, it)).count();
    let mut tokens: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (owner, it) in &vended {
        let of_owner = tokens.entry(owner).or_default();
        if !of_owner.contains(&it.access_token.as_str()) {
            of_owner.push(&it.access_token);
        }
    }
    // The provider says whose account a token opens.
    let mut own = 0;
    for (owner, of_owner) in &tokens {
        if let [access_token] = of_owner[..] {
            let subject =
                stage.browser.subject(&stage.provider.userinfo_url(), access_token).await?;
            own += usize::from(subject == **owner);
        }
    }
    let calls = stage.provider.counts().token_calls - calls_before;
    report.vends += live as u64;
    narrator.say(format!(
        "{} vends on three replicas: {live} tokens that the provider accepts, for {calls} calls to it",
        vended.len()
    ));
    narrator.add(format!(
        "{own} of {} people got one token, the same from every replica, for their own account.",
        fifty.len()
    ));
    report.prove(
        "Vends from three replicas at once give live tokens",
        format!("{live} of {}; {calls} provider calls", vended.len()),
        calls == 0 && live == vended.len() && vended.len() == 3 * TIMES * fifty.len(),
    );
    report.prove(
        "The same token from every replica, of the right account",
        format!("{own} of {}", fifty.len()),
        own == fifty.len(),
    );
    Ok(())
}

/// One credential whose token has run out while no worker was there: the replicas refresh it
/// themselves, once.
pub(super) async fn of_one_that_ran_out(
    stage: &mut Stage,
    report: &mut Report,
) -> anyhow::Result<()> {
    let narrator = stage.narrator;
    narrator.title("8  A token runs out, no worker is left, and everybody wants it");
    let code = stage.workers[1].terminate().await?;
    narrator.say(format!("worker-2 is told to stop (SIGTERM): exit code {code}"));
    report.prove(
        "A worker that is told to stop ends by itself",
        format!("exit code {code}"),
        code == 0,
    );

    stage.provider.set_access_lifetime_first(Duration::from_secs(2));
    // Long enough that those who come second find the first one waiting.
    stage.provider.set_answer_delay(Duration::from_millis(300));
    let [a, b] = [0, 1].map(|n: usize| stage.replicas[n].port);
    let late = sign_in_over(stage.browser.another(), CONNECTOR, "lin".to_owned(), a, b).await?;
    let redis = &mut stage.redis;
    until("an access token that ran out", Duration::from_secs(10), async || {
        let expires_at = redis.rows(std::slice::from_ref(&late.id)).await?[0].expires_at;
        Ok((redis.now_ms().await? > expires_at).then_some(()))
    })
    .await?;
    narrator.say("lin signed in; her access token lived for 2 s and has run out");

    let before = stage.provider.counts();
    let vended = at_once(stage, vec![late.clone(); CROWD]).await?;
    let after = stage.provider.counts();
    let calls = after.token_calls - before.token_calls;
    let live = vended.iter().filter(|(_, it)| is_live(stage, it)).count();
    let is_same = vended.iter().all(|(_, it)| it.access_token == vended[0].1.access_token);
    let refreshed = vended.iter().filter(|(_, it)| it.path == "refreshed").count();
    report.vends += live as u64;
    narrator.say(format!(
        "{} vends at once on three replicas: {refreshed} refreshed it, the others waited for that",
        vended.len()
    ));
    narrator.add(format!("All got the same live token, for {calls} call to the provider."));
    report.prove(
        "Thirty vends of a token that ran out ask the provider once",
        format!("{calls} call, {live} live tokens"),
        calls == 1 && is_same && live == vended.len() && live == 3 * CROWD,
    );
    Ok(())
}

/// Asks all replicas for all of these, at once.
async fn at_once(stage: &Stage, wanted: Vec<Signed>) -> anyhow::Result<Vec<(String, Vended)>> {
    let mut running = JoinSet::new();
    for Signed { owner, id } in wanted {
        for replica in &stage.replicas {
            let (browser, port) = (stage.browser.clone(), replica.port);
            let (owner, id) = (owner.clone(), id.clone());
            running.spawn(async move {
                let vended = browser.vend(port, &owner, id.as_str()).await;
                vended.map(|vended| (owner, vended))
            });
        }
    }
    running.join_all().await.into_iter().collect()
}

fn is_live(stage: &Stage, vended: &Vended) -> bool {
    stage.provider.is_access_token_live(&vended.access_token)
}
