//! `run`: sweeps until told to stop.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use vestibule::{
    Keys, Vestibule,
    connection::{ConnectionsConfig, HttpExchange, journal::DirectoryJournal},
    inspect::{Inspector, Names, Watch},
    metric::{self, Kind},
    store::{Class, redis::RedisConfig},
    sweep::RefreshDue,
};

use crate::{
    admin::{self, Readiness},
    config::{AdminSettings, Connect, RunOptions, Settings},
    instance, logs,
    notify::Notifying,
    reload::{Handles, Reloader},
    status::{self, About, Access, Status},
    sweeper::{LastPass, Sweeper},
    sweeps::{Sweep, Sweeps},
};

/// Runs until SIGTERM or SIGINT, or once. Exit code 0 after a graceful stop, or if all that was due is
/// seen to; 1 if it could not start, did not end within its grace, or left something; 130 after a second
/// signal.
///
/// # Errors
///
/// What only an operator can mend: configuration, login, layout, keys, a key that is in use and not in
/// the ring. A Redis that is away is waited for.
pub async fn run(connect: &Connect, mut options: RunOptions) -> anyhow::Result<ExitCode> {
    logs::install(options.log);
    options.instance.get_or_insert_with(instance::fresh);
    let settings = Settings::load(connect)?;
    let admin = AdminSettings::load(connect, &options)?;
    let metrics = recorder()?;
    let stop = CancellationToken::new();
    let signals = Signals::watch(stop.clone())?;
    // Heard from now on: one that comes while Redis is waited for ends nobody.
    let hangups = signal(SignalKind::hangup())?;

    let readiness = Readiness::default();
    readiness.set(false);
    // The admin port outlives the sweeper: a stopping worker is alive and not ready.
    let ended = CancellationToken::new();
    let last_pass = LastPass::default();
    let port = match admin.address {
        None => None,
        Some(address) => {
            let listener = admin::bind(address).await?;
            let access = admin.token.map_or(Access::ThisMachine, Access::Token);
            let status = status(&options, &settings, readiness.clone(), last_pass.clone());
            let page = status::routes(Arc::new(status), access);
            let serving =
                admin::serve(listener, metrics.clone(), readiness.clone(), page, ended.clone());
            #[expect(
                clippy::disallowed_methods,
                reason = "the admin port lives beside the sweeper"
            )]
            Some(tokio::spawn(serving))
        }
    };
    let upkeep = async {
        loop {
            sleep(Duration::from_secs(5)).await;
            metrics.run_upkeep();
        }
    };

    let sweeping = sweep(connect, &options, settings, (readiness, last_pass), hangups, &stop);
    tokio::pin!(sweeping);
    let code = tokio::select! {
        result = &mut sweeping => result,
        () = upkeep => Ok(ExitCode::FAILURE),
        () = async {
            stop.cancelled().await;
            sleep(Duration::from_secs(options.grace_s)).await;
        } => {
            tracing::error!(grace_s = options.grace_s, "not stopped within the grace: giving up");
            Ok(ExitCode::FAILURE)
        }
        () = signals.second() => Ok(ExitCode::from(130)),
    };
    ended.cancel();
    if let Some(port) = port
        && let Ok(Ok(served)) = timeout(Duration::from_secs(1), port).await
    {
        served?;
    }
    code
}

/// With the buckets that each histogram wants; without them it would be a summary, which cannot be
/// added up over replicas.
fn recorder() -> anyhow::Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new();
    for metric in metric::ALL.iter().filter(|metric| metric.kind() == Kind::Histogram) {
        let name = Matcher::Full(metric.name().to_owned());
        builder = builder.set_buckets_for_metric(name, metric.buckets())?;
    }
    let handle = builder.install_recorder().context("metrics")?;
    metric::describe();
    Ok(handle)
}

/// What the page looks at: through a connection of its own, once somebody asks.
fn status(
    options: &RunOptions,
    settings: &Settings,
    readiness: Readiness,
    last_pass: LastPass,
) -> Status {
    let about = About {
        instance: options.instance.clone().unwrap_or_default(),
        cadences: vec![
            ("refresh_due", Duration::from_millis(options.interval_ms)),
            ("orphans", Sweep::Orphans.every(&settings.sweeps)),
            ("expired", Sweep::Expired.every(&settings.sweeps)),
            ("reseal", Sweep::Reseal.every(&settings.sweeps)),
        ],
    };
    let slugs = settings.registry.list().map(|connector| connector.slug.clone()).collect();
    let names = Names::new(settings.keys.naming.clone());
    let watch = Watch::new(Inspector::new(settings.redis.clone())).with_connectors(names, slugs);
    Status::new(watch, about, readiness, last_pass)
}

async fn sweep(
    connect: &Connect,
    options: &RunOptions,
    settings: Settings,
    (readiness, last_pass): (Readiness, LastPass),
    hangups: Signal,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    metric::at_zero(
        settings.registry.list().map(|connector| &*connector.slug),
        settings.notify.receivers.iter().map(|receiver| receiver.group.as_str()),
    );
    let vestibule = if options.once {
        Vestibule::connect(settings.redis, &settings.keys).await?
    } else {
        match connected(settings.redis, &settings.keys, stop).await? {
            Some(vestibule) => vestibule,
            None => return Ok(ExitCode::SUCCESS),
        }
    };
    check_ring(&vestibule, options.allow_missing_keys).await?;
    let instance = options.instance.clone().unwrap_or_default();
    let connectors = settings.registry.list().count();
    tracing::info!(instance, connectors, "sweeping");
    if connectors == 0 {
        tracing::warn!("no connector is configured: every due credential will fail");
    }
    let exchange = Arc::new(HttpExchange::new()?);
    let mut config = ConnectionsConfig::new(settings.registry, exchange).with_instance(&instance);
    if let Some(dir) = options.journal_dir.clone().or(settings.journal_dir) {
        config.journal = Arc::new(DirectoryJournal::open(dir)?);
    }
    config.journal_window = settings.journal_window.unwrap_or(config.journal_window);
    config.horizon = settings.refresh_horizon.unwrap_or(config.horizon);
    let notifying = Notifying::new(&vestibule, settings.notify, &instance);
    let connections = vestibule.connections(config);
    let reloader = Reloader::new(connect, Handles { vestibule: vestibule.clone(), connections });
    let sweeper = Sweeper {
        handles: reloader.handles(),
        sweeps: Sweeps::new(&vestibule, settings.sweeps).reloaded_by(reloader.handles()),
        vestibule,
        sweep: RefreshDue { parallel: options.parallel.into(), ..RefreshDue::default() },
        interval: Duration::from_millis(options.interval_ms),
        readiness,
        last_pass,
    };
    if options.once {
        // Once before: from then on what happens is kept for receivers that are new.
        notifying.once(stop).await;
        let (swept, told) = (sweeper.once(stop).await, notifying.once(stop).await);
        return Ok(if swept && told { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    tokio::join!(sweeper.run(stop), notifying.run(stop), reloader.run(hangups, stop));
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// A key that was taken away too early is found here, not when its first secret does not open.
async fn check_ring(vestibule: &Vestibule, allow_missing: bool) -> anyhow::Result<()> {
    match vestibule.key_usage().await {
        Ok(usage) => match usage.check() {
            Ok(()) => {}
            Err(error) if allow_missing => tracing::error!(%error, "started all the same"),
            Err(error) => {
                return Err(anyhow::Error::new(error).context(
                    "not started (--allow-missing-keys starts all the same, and leaves them)",
                ));
            }
        },
        Err(error) => tracing::warn!(%error, "whether the key ring lacks a key is not known"),
    }
    Ok(())
}

/// Waits for a Redis that is away; `None` if told to stop meanwhile.
async fn connected(
    redis: RedisConfig,
    keys: &Keys,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Vestibule>> {
    while !stop.is_cancelled() {
        match Vestibule::connect(redis.clone(), keys).await {
            Ok(vestibule) => return Ok(Some(vestibule)),
            Err(error) if error.class() == Class::Operator => return Err(error.into()),
            Err(error) => tracing::warn!(%error, "redis is away: will try again"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(Duration::from_secs(1)) => {}
        }
    }
    Ok(None)
}

/// The first signal stops gracefully, the second at once.
struct Signals(CancellationToken);

impl Signals {
    fn watch(stop: CancellationToken) -> anyhow::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let second = CancellationToken::new();
        let told = second.clone();
        let watch = async move {
            for heard in [stop, told] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("told to stop");
                heard.cancel();
            }
        };
        #[expect(clippy::disallowed_methods, reason = "signals are heard beside everything else")]
        tokio::spawn(watch);
        Ok(Self(second))
    }

    async fn second(&self) {
        self.0.cancelled().await;
    }
}
