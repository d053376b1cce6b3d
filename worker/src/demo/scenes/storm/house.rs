//! The processes of the storm: a house of its own, under a key prefix of its own, so that nothing
//! that dies here is missed elsewhere.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use futures_util::future::join_all;
use tokio::{task::JoinSet, time::timeout};
use vestibule::store::ConnectionId;

use super::{Party, callers::Callers};
use crate::{
    demo::{
        browser::Browser,
        inspect::Inspector,
        narrator::Narrator,
        processes::{Replica, Worker},
        scenes::{Signed, sign_in_over, until},
        stage::{self, Entry, Stage},
    },
    provider::{Provider, Settings},
};

const AT_A_TIME: usize = 12;
/// Until a worker that has just been started is inside an exchange: tokens live for less.
const MAY_TAKE: Duration = Duration::from_secs(10);

pub(super) struct House {
    pub(super) redis: Inspector,
    pub(super) replicas: Vec<Replica>,
    workers: Vec<Worker>,
    hired: usize,
    config: PathBuf,
    shares_redis: bool,
}

/// A provider whose tokens live for a few seconds.
pub(super) async fn provider(
    grace: Duration,
    (first, refreshed): (Duration, Duration),
) -> anyhow::Result<Provider> {
    let settings = Settings {
        reuse_grace: grace,
        access_lifetime_first: first,
        access_lifetime_refreshed: refreshed,
        redirect_uris: vec![stage::REDIRECT_URI.to_owned()],
        ..Settings::default()
    };
    Provider::start(settings).await.context("a provider of the storm")
}

impl House {
    /// Replicas that know these providers; no worker yet.
    pub(super) async fn build(stage: &Stage, at: &[Party; 2]) -> anyhow::Result<Self> {
        let prefix = format!("{}-storm", stage.redis.keys().prefix());
        let defaults = Settings::default();
        let entries = at.each_ref().map(|party| Entry {
            slug: party.slug,
            provider: &party.provider,
            client_id: &defaults.client_id,
            client_secret: &defaults.client_secret,
            grace: party.grace,
        });
        let config = stage.write_config("storm", &prefix, &entries)?;
        let redis = Inspector::connect(stage.url(), &prefix).await?;
        let mut house = Self {
            redis,
            replicas: Vec::new(),
            workers: Vec::new(),
            hired: 0,
            config,
            shares_redis: stage.shares_redis(),
        };
        for name in ["S", "T", "U"] {
            let log = house.log(name);
            let replica = Replica::start(name, &house.config, stage::REDIRECT_URI, &log).await?;
            house.replicas.push(replica);
        }
        Ok(house)
    }

    /// So many people sign in with this connector, each over two replicas.
    pub(super) async fn sign_in(
        &mut self,
        browser: &Browser,
        connector: &'static str,
        many: usize,
    ) -> anyhow::Result<Vec<Signed>> {
        let ports = self.ports();
        let mut running = JoinSet::new();
        let (mut signed, mut next) = (Vec::with_capacity(many), 0);
        while signed.len() < many {
            while next < many && running.len() < AT_A_TIME {
                let (start, finish) = (ports[next % 3], ports[(next + 1) % 3]);
                let owner = format!("{connector}-{next:03}");
                running.spawn(sign_in_over(browser.another(), connector, owner, start, finish));
                next += 1;
            }
            if let Some(one) = running.join_next().await {
                signed.push(one??);
            }
        }
        for n in 0..many {
            // What a replica has said is read: nothing waits in its pipe.
            self.replicas[(n + 1) % 3].next_event().await?;
        }
        Ok(signed)
    }

    /// Starts so many workers.
    pub(super) async fn hire(&mut self, many: usize) -> anyhow::Result<()> {
        for _ in 0..many {
            let worker = self.one_more().await?;
            self.workers.push(worker);
        }
        Ok(())
    }

    async fn one_more(&mut self) -> anyhow::Result<Worker> {
        self.hired += 1;
        // A name that no other worker had: who is dead and left what is known by it.
        let name = format!("storm-{}", self.hired);
        let log = self.log(&name);
        Worker::start(&name, &self.config, &log).await
    }

    /// Kills one where it stands, and starts another in its place; if one of these is wanted, as soon
    /// as it is inside an exchange for it. Returns the dead one's name.
    pub(super) async fn kill(
        &mut self,
        which: usize,
        wanted: Option<&[ConnectionId]>,
    ) -> anyhow::Result<String> {
        let mut successor = self.one_more().await?;
        std::mem::swap(&mut self.workers[which], &mut successor);
        let mut dead = successor;
        if let Some(ids) = wanted {
            let redis = &mut self.redis;
            let inside = until("an exchange", MAY_TAKE, async || {
                let rows = redis.rows(ids).await?;
                Ok(rows.iter().any(|row| row.is_exchanged_by(&dead.name)).then_some(()))
            });
            // The next kill has another chance.
            let _ = inside.await;
        }
        dead.kill().await?;
        Ok(dead.name)
    }

    /// Lets so much time pass.
    pub(super) async fn listens_for(&mut self, time: Duration) {
        let unheard = join_all(self.replicas.iter_mut().map(Replica::unheard));
        // None of them ends by itself.
        let _ = timeout(time, unheard).await;
    }

    /// Waits for the callers' last answers, and keeps what they counted.
    pub(super) async fn hear_out(&mut self, callers: Callers, at: &mut [Party; 2]) {
        let unheard = join_all(self.replicas.iter_mut().map(Replica::unheard));
        let counted = tokio::select! {
            counted = callers.stop() => counted,
            _ = unheard => return,
        };
        for (party, counted) in at.iter_mut().zip(counted) {
            party.counted = counted;
        }
    }

    /// How many of a party's credentials a replica vends a live token for.
    pub(super) async fn live(&self, browser: &Browser, party: &Party) -> anyhow::Result<usize> {
        let ports = self.ports();
        let mut running = JoinSet::new();
        let mut live = 0;
        let mut wanted = party.signed.iter().enumerate();
        loop {
            while running.len() < AT_A_TIME
                && let Some((n, it)) = wanted.next()
            {
                let (browser, port, it) = (browser.another(), ports[n % 3], it.clone());
                running
                    .spawn(async move { browser.vend(port, &it.owner, it.id.as_str()).await.ok() });
            }
            let Some(vended) = running.join_next().await else { return Ok(live) };
            if let Some(vended) = vended? {
                live += usize::from(party.provider.is_access_token_live(&vended.access_token));
            }
        }
    }

    pub(super) fn ports(&self) -> Vec<u16> {
        self.replicas.iter().map(|replica| replica.port).collect()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.config.with_file_name(format!("{name}.log"))
    }

    /// Stops every process, and leaves nothing in a Redis that was there before.
    pub(super) async fn close(mut self, narrator: Narrator) {
        for worker in self.workers {
            worker.process.stop().await;
        }
        for replica in self.replicas {
            replica.stop().await;
        }
        if self.shares_redis
            && let Err(error) = self.redis.clean_up().await
        {
            narrator.complain(format!("the storm's keys remain: {error:#}"));
        }
    }
}
