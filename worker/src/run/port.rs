//! The admin port of a worker that runs. It outlives the sweeper: a stopping worker is alive and not
//! ready.

use std::{sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use vestibule::inspect::{Inspector, Names, Watch};

use crate::{
    admin::{self, Readiness},
    config::{AdminSettings, RunSettings, Settings},
    status::{self, About, Access, Status},
    sweeper::LastPass,
    sweeps::Sweep,
};

/// What the sweeper tells and the port shows.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) readiness: Readiness,
    pub(super) last_pass: LastPass,
    /// The slugs of the connectors that it has: others, after a reload.
    pub(super) connectors: watch::Sender<Vec<String>>,
}

/// The port, if there is to be one.
pub(super) struct Port {
    serving: Option<JoinHandle<anyhow::Result<()>>>,
    ended: CancellationToken,
}

impl Port {
    /// Takes the address and serves it beside everything else.
    pub(super) async fn open(
        admin: AdminSettings,
        run: &RunSettings,
        settings: &Settings,
        told: &Told,
        metrics: &PrometheusHandle,
    ) -> anyhow::Result<Self> {
        let ended = CancellationToken::new();
        let Some(address) = admin.address else { return Ok(Self { serving: None, ended }) };
        let listener = admin::bind(address).await?;
        let access = admin.token.map_or(Access::ThisMachine, Access::Token);
        let page = status::routes(Arc::new(status(run, settings, told)), access);
        let (metrics, readiness) = (metrics.clone(), told.readiness.clone());
        let serving = admin::serve(listener, metrics, readiness, page, ended.clone());
        #[expect(clippy::disallowed_methods, reason = "the admin port lives beside the sweeper")]
        let serving = Some(tokio::spawn(serving));
        Ok(Self { serving, ended })
    }

    /// Lets the answers under way a second, and tells why the port broke if it had.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.ended.cancel();
        if let Some(serving) = self.serving
            && let Ok(Ok(served)) = timeout(Duration::from_secs(1), serving).await
        {
            served?;
        }
        Ok(())
    }
}

/// What the page looks at: through a connection of its own, once somebody asks.
fn status(run: &RunSettings, settings: &Settings, told: &Told) -> Status {
    let about = About {
        instance: run.instance.clone().unwrap_or_default(),
        cadences: std::iter::once(("refresh_due", run.interval))
            .chain(Sweep::ALL.map(|sweep| (sweep.as_str(), sweep.every(&settings.sweeps))))
            .collect(),
    };
    let names = Names::new(settings.keys.naming.clone());
    let watch = Watch::new(Inspector::new(settings.redis.clone()))
        .with_connectors(names, told.connectors.subscribe());
    Status::new(watch, about, told.readiness.clone(), told.last_pass.clone())
}
