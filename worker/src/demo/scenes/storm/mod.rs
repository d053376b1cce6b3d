//! Two hundred credentials at each of two providers; three replicas vend them all the time, three
//! workers refresh them every few seconds, and whichever worker chance names is killed.
//!
//! One provider forgives a second presentation for half a minute, as many do: there, nothing may be
//! lost. The other is strict, and forgives nothing. What a kill *inside* an exchange costs there is
//! lost on the way and can be known to nobody: it is labelled, and counted. Everything else is live.

mod callers;
mod house;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use tokio::time::sleep;
use vestibule::store::ConnectionId;

use self::{
    callers::{Callers, Counted},
    house::House,
};
use super::{Signed, until};
use crate::{
    demo::{
        inspect::{Inspector, Row},
        report::{Report, Stormed},
        stage::{REUSE_GRACE, Stage},
    },
    provider::Provider,
};

/// How many people sign in at each provider.
const MANY: usize = 200;
/// How many workers are killed.
const KILLS: usize = 8;
/// How long there is between two kills, in ms.
const BETWEEN_MS: std::ops::Range<u64> = 400..1300;
/// How long the providers take to answer: so long a worker is inside an exchange.
const ANSWER: Duration = Duration::from_millis(300);
/// What a worker sent before it died has arrived by then.
const ARRIVED: Duration = Duration::from_millis(50);
/// The lives of access tokens in the storm: first, and refreshed. They are due after most of it.
const LIVES: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(6));
/// And after it: nothing comes due twice.
const CALM_LIFE: Duration = Duration::from_secs(300);
/// A strict lease takes 30 s to end, and its successor a moment.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// A storm that has raged and has to settle. Its processes live as long as this.
pub(in crate::demo) struct Storm {
    house: House,
    at: [Party; 2],
    kills: usize,
}

/// One provider, and who signed in there.
struct Party {
    provider: Arc<Provider>,
    /// For how long it forgives.
    grace: Duration,
    /// The connector.
    slug: &'static str,
    signed: Vec<Signed>,
    /// What a worker that was killed left in the middle of an exchange.
    in_flight: BTreeSet<ConnectionId>,
    counted: Counted,
}

impl Party {
    async fn invite(slug: &'static str, grace: Duration) -> anyhow::Result<Self> {
        let provider = Arc::new(house::provider(grace, LIVES).await?);
        let (signed, in_flight, counted) = Default::default();
        Ok(Self { provider, grace, slug, signed, in_flight, counted })
    }

    fn ids(&self) -> Vec<ConnectionId> {
        self.signed.iter().map(|it| it.id.clone()).collect()
    }
}

/// People sign in, and workers begin to die.
pub(super) async fn breaks_out(stage: &Stage) -> anyhow::Result<Storm> {
    let narrator = stage.narrator;
    narrator.title("2  Two hundred credentials at each of two providers; workers die at random");
    let mut at = [
        Party::invite("forgiving", REUSE_GRACE).await?,
        Party::invite("strict", Duration::ZERO).await?,
    ];
    let mut house = House::build(stage, &at).await?;
    for party in &mut at {
        party.signed = house.sign_in(&stage.browser, party.slug, MANY).await?;
        party.provider.set_answer_delay(ANSWER);
    }
    house.hire(3).await?;
    narrator.say(format!(
        "a house of its own: three replicas, three workers, {MANY} people at each provider"
    ));
    narrator.add(format!(
        "One forgives a second presentation for {} s. The other is strict: it revokes at once.",
        REUSE_GRACE.as_secs()
    ));

    let seed = fastrand::u64(..);
    narrator.say(format!("everybody vends; {KILLS} kills at random points, seed {seed}"));
    let callers = Callers::start(&stage.browser, &house, &at, seed);
    let mut chance = fastrand::Rng::with_seed(seed);
    for _ in 0..KILLS {
        house.listens_for(Duration::from_millis(chance.u64(BETWEEN_MS))).await;
        // Chance alone might meet none in the middle of an exchange: both have to have some.
        let spared = at.iter().find(|party| party.in_flight.is_empty()).map(Party::ids);
        let dead = house.kill(chance.usize(..3), spared.as_deref()).await?;
        sleep(ARRIVED).await;
        for party in &mut at {
            let rows = house.redis.rows(&party.ids()).await?;
            let left = rows.into_iter().filter(|row| row.is_exchanged_by(&dead));
            party.in_flight.extend(left.map(|row| row.id));
        }
    }
    for party in &at {
        party.provider.set_access_lifetime_refreshed(CALM_LIFE);
        party.provider.set_answer_delay(Duration::ZERO);
    }
    house.hear_out(callers, &mut at).await;
    let [forgiving, strict] = [0, 1].map(|n: usize| at[n].in_flight.len());
    narrator.say(format!(
        "{KILLS} workers are dead; they left {forgiving} exchanges in flight at the forgiving \
         provider,"
    ));
    narrator
        .add(format!("and {strict} at the strict one. Their leases have to end: see scene 10."));
    Ok(Storm { house, at, kills: KILLS })
}

/// What the storm has cost, once every lease has ended.
pub(super) async fn has_passed(
    stage: &Stage,
    report: &mut Report,
    mut storm: Storm,
) -> anyhow::Result<()> {
    let narrator = stage.narrator;
    narrator.title("10 The storm has passed: what it has cost");
    let mut stormed = [Stormed::default(), Stormed::default()];
    for (party, stormed) in storm.at.iter().zip(&mut stormed) {
        let rows = settled(&mut storm.house.redis, &party.ids()).await.context(party.slug)?;
        let live = storm.house.live(&stage.browser, party).await?;
        let counts = party.provider.counts();
        let lost: Vec<_> = rows.iter().filter(|row| !row.is_active).collect();
        let labelled = lost
            .iter()
            .filter(|row| row.reason.as_deref() == Some("rotation_lost"))
            .filter(|row| party.in_flight.contains(&row.id))
            .count();
        *stormed = Stormed {
            credentials: party.signed.len(),
            kills: storm.kills,
            in_flight_at_kills: party.in_flight.len(),
            live,
            labelled,
            lost_otherwise: party.signed.len().saturating_sub(live + labelled),
            vends: party.counted.vends,
            dead_vends: party.counted.dead_vends,
            refused: party.counted.refused.clone(),
            refused_otherwise: party
                .counted
                .refused_of
                .iter()
                .filter(|id| !party.in_flight.contains(*id))
                .count(),
            refreshes: counts.refreshes,
            reused_presentations: counts.reused_presentations,
            family_revocations: counts.family_revocations,
        };
    }
    let [forgiving, strict] = stormed;
    for (name, it) in [("forgiving", &forgiving), ("strict", &strict)] {
        narrator.say(format!(
            "the {name} provider: {} refreshes, {} tokens presented twice, {} sign-ins revoked",
            it.refreshes, it.reused_presentations, it.family_revocations
        ));
        narrator.add(format!(
            "{} of {} live; {} in flight at a kill are labelled rotation_lost",
            it.live, it.credentials, it.labelled
        ));
        narrator.add(format!("{} vends amid the kills; {}", it.vends, told_refusals(it)));
    }
    judge(report, forgiving, strict);
    storm.house.close(narrator).await;
    ensure!(report.storm.credentials == MANY, "not everybody signed in");
    Ok(())
}

/// Waits until each has a token of the calm, or is no more.
async fn settled(redis: &mut Inspector, ids: &[ConnectionId]) -> anyhow::Result<Vec<Row>> {
    until("every lease ended", SETTLED_WITHIN, async || {
        let calm = redis.now_ms().await? + 60_000;
        let rows = redis.rows(ids).await?;
        let settled = rows.iter().all(|row| row.expires_at > calm || !row.is_active);
        Ok(settled.then_some(rows))
    })
    .await
}

/// `3 refused: backing_off 1, refresh_still_running 2`.
fn told_refusals(it: &Stormed) -> String {
    let reasons: Vec<_> = it.refused.iter().map(|(why, times)| format!("{why} {times}")).collect();
    let colon = if reasons.is_empty() { "" } else { ": " };
    format!("{} refused{colon}{}", it.refusals(), reasons.join(", "))
}

fn judge(report: &mut Report, forgiving: Stormed, strict: Stormed) {
    report.prove(
        format!("{KILLS} workers killed at random: with a grace, nothing is lost"),
        format!("{} of {} live, {} in flight", forgiving.live, MANY, forgiving.in_flight_at_kills),
        forgiving.live == MANY
            && forgiving.family_revocations == 0
            && forgiving.in_flight_at_kills >= 1,
    );
    let told = format!(
        "{} live, {} labelled of {} in flight, {} else",
        strict.live, strict.labelled, strict.in_flight_at_kills, strict.lost_otherwise
    );
    report.prove(
        "Under a strict provider, only what a kill interrupts",
        told,
        strict.lost_otherwise == 0
            && strict.live + strict.labelled == MANY
            && strict.family_revocations == strict.labelled as u64
            && strict.in_flight_at_kills >= 1,
    );
    let vends = forgiving.vends + strict.vends;
    let dead = forgiving.dead_vends + strict.dead_vends;
    let refused = forgiving.refusals() + strict.refusals();
    // Few; or, where little is asked in the time that a dead worker's lease takes, none but for those.
    let otherwise = forgiving.refused_otherwise + strict.refused_otherwise;
    let few = refused < vends / 10 || otherwise == 0;
    report.prove(
        "No vend amid the kills gives a token that is dead",
        format!("{dead} of {vends}; {refused} refused"),
        dead == 0 && few,
    );
    report.storm = forgiving;
    report.strict = strict;
}
