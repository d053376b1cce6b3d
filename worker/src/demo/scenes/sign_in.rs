//! Sign-ins that start on one replica and finish on another.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, bail};
use tokio::task::JoinSet;
use vestibule::store::ConnectionId;

use super::{Signed, sign_in_over};
use crate::demo::{
    browser::Landing,
    redis_cli,
    replica::Event,
    report::Report,
    stage::{CONNECTOR, Stage},
};

/// How many people sign in.
const MANY: usize = 50;
/// How long their access tokens live. They are due at 70 to 80 % of it.
const FIRST_LIFE: Duration = Duration::from_secs(10);
/// How many of them at a time.
const AT_A_TIME: usize = 10;

/// A starts it; its callback lands on B, and the very same callback on C at the same moment.
pub(super) async fn crosses_replicas(stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
    let narrator = stage.narrator;
    narrator.title("1  A sign-in starts on A; its callback lands on B, and is replayed on C");
    let ports: Vec<u16> = stage.replicas.iter().map(|replica| replica.port).collect();
    let owner = "ada";
    let mut browser = stage.browser.another();
    let page = browser.start(ports[0], CONNECTOR, owner).await?;
    narrator.say("A sends ada to the provider; what must be remembered is in Redis, not in A:");
    narrator.show(redis_cli::one_shots(&mut stage.redis, "pkce").await?);
    narrator.add(
        "Readable: what it is, since when, until when, whether it was taken. Sealed: the PKCE",
    );
    narrator
        .add("verifier, who signs in, from which browser. The key is only a digest of the state.");

    let before = stage.provider.counts();
    let to = browser.agree(page, owner).await?;
    let (on_b, on_c) =
        tokio::join!(browser.come_back(ports[1], &to), browser.come_back(ports[2], &to));
    let (id, winner, status, told) = match (on_b?, on_c?) {
        (Landing::SignedIn { connection }, Landing::Refused { status, told }) => {
            (connection, 1, status, told)
        }
        (Landing::Refused { status, told }, Landing::SignedIn { connection }) => {
            (connection, 2, status, told)
        }
        (Landing::SignedIn { .. }, Landing::SignedIn { .. }) => bail!("both replicas accepted it"),
        (Landing::Refused { told, .. }, Landing::Refused { .. }) => {
            bail!("none accepted it: {told}")
        }
    };
    let loser = 3 - winner;
    let said = stage.replicas[winner].next_event().await?;
    let cause = match stage.replicas[loser].next_event().await? {
        Event::StateRefused { cause } => cause,
        other => bail!("the replica that refused said {other:?}"),
    };
    let after = stage.provider.counts();
    let exchanges = after.code_exchanges - before.code_exchanges;
    let refused = after.refused - before.refused;
    let (winner, loser) = (stage.replicas[winner].name, stage.replicas[loser].name);
    narrator.say(format!(
        "the same callback reaches B and C at the same moment: {winner} signs ada in"
    ));
    narrator.say(format!("{loser} answers {status} {told}"));
    narrator.add(format!("Why ({cause}) is for its own log, not for the browser."));

    let id: ConnectionId = id.parse().context("a connection's id")?;
    let stored = stage.redis.rows(std::slice::from_ref(&id)).await?;
    let is_told = matches!(said, Event::SignedIn { connection } if connection == id.as_str());
    report.signin_cross_replica = is_told && stored.iter().all(|row| row.ver >= 1);
    report.replay_refused = cause == "replayed"
        && !told.contains(&cause)
        && status.is_client_error()
        && (exchanges, refused) == (1, 0);
    report.prove(
        "A sign-in started on A is finished on another replica",
        format!("on {winner}"),
        report.signin_cross_replica,
    );
    report.prove(
        "The same callback at the same moment is refused as a replay",
        format!("on {loser}; {exchanges} code exchange"),
        report.replay_refused,
    );
    Ok(())
}

/// Fifty people sign in, each over two replicas.
pub(super) async fn fifty(stage: &mut Stage, report: &mut Report) -> anyhow::Result<Vec<Signed>> {
    let narrator = stage.narrator;
    narrator.title("3  Fifty sign-ins become fifty credentials");
    stage.provider.set_access_lifetime_first(FIRST_LIFE);
    let ports: Vec<u16> = stage.replicas.iter().map(|replica| replica.port).collect();
    let mut running = JoinSet::new();
    let (mut done, mut next) = (Vec::with_capacity(MANY), 0);
    while done.len() < MANY {
        while next < MANY && running.len() < AT_A_TIME {
            let start = next % 3;
            // The other two take turns.
            let finish = (start + 1 + next / 3 % 2) % 3;
            let owner = format!("user-{:02}", next + 1);
            let signed = sign_in_over(
                stage.browser.another(),
                CONNECTOR,
                owner,
                ports[start],
                ports[finish],
            );
            running.spawn(async move { signed.await.map(|signed| (signed, finish)) });
            next += 1;
        }
        if let Some(one) = running.join_next().await {
            done.push(one??);
        }
    }
    // Held from here on: on a slow machine the first may come due while others are still asked.
    stage.provider.hold_answers();
    // What the browsers were told is what the replicas know.
    let mut told = vec![HashSet::new(); stage.replicas.len()];
    for (_, finish) in &done {
        match stage.replicas[*finish].next_event().await? {
            Event::SignedIn { connection } => told[*finish].insert(connection),
            other => bail!("a replica said {other:?}"),
        };
    }
    let crossed = done.iter().filter(|(it, finish)| told[*finish].contains(it.id.as_str())).count();

    let signed: Vec<_> = done.into_iter().map(|(signed, _)| signed).collect();
    let ids: Vec<_> = signed.iter().map(|it| it.id.clone()).collect();
    let rows = stage.redis.rows(&ids).await?;
    report.credentials = rows.iter().filter(|row| row.ver >= 1 && row.is_active).count();
    report.signin_cross_replica &= crossed == MANY;
    narrator.say(format!(
        "{crossed} people signed in, each on one replica and back on another; Redis has {} \
         credentials",
        report.credentials
    ));
    report.prove(
        "Fifty sign-ins over two replicas each become credentials",
        format!("{} in Redis", report.credentials),
        report.credentials == MANY && crossed == MANY,
    );
    Ok(signed)
}
