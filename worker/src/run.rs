//! `run`: sweeps until told to stop.

mod database;
mod port;
mod signals;

use std::{process::ExitCode, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use vestibule::{
    connection::{ConnectionsConfig, HttpExchange, journal::DirectoryJournal},
    metric,
    sweep::RefreshDue,
};

use self::{
    port::{Port, Told},
    signals::Signals,
};
use crate::{
    config::{AdminSettings, Connect, RunOptions, Settings},
    instance, logs, measure,
    notify::Notifying,
    reload::{Handles, Reloader},
    sweeper::Sweeper,
    sweeps::Sweeps,
    traces::{self, Traces},
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
    let instance = options.instance.get_or_insert_with(instance::fresh);
    let traces = Traces::load(connect, &options.traces, instance)?;
    logs::install(options.log, traces.as_ref());
    let settings = Settings::load(connect)?;
    let admin = AdminSettings::load(connect, &options)?;
    let metrics = measure::recorder()?;
    let stop = CancellationToken::new();
    let signals = Signals::watch(stop.clone())?;
    // Heard from now on: one that comes while Redis is waited for ends nobody.
    let hangups = signal(SignalKind::hangup())?;
    let told = Told::default();
    told.readiness.set(false);
    let port = Port::open(admin, &options, &settings, &told, &metrics).await?;

    // The last spans have their share of the grace: what they wait for may never answer.
    let grace = Duration::from_secs(options.grace_s);
    let flush = traces.as_ref().map_or(Duration::ZERO, |_| traces::FLUSH.min(grace / 4));
    let code = tokio::select! {
        ended = sweep(connect, &options, settings, told, hangups, &stop) => ended,
        never = measure::upkeep(&metrics) => match never {},
        () = grace_is_over(&stop, grace.saturating_sub(flush)) => {
            tracing::error!(grace_s = options.grace_s, "not stopped within the grace: giving up");
            Ok(ExitCode::FAILURE)
        }
        () = signals.second() => Ok(ExitCode::from(130)),
    };
    port.close().await?;
    let Some(traces) = traces else { return code };
    tokio::select! {
        biased;
        () = signals.second() => Ok(ExitCode::from(130)),
        () = traces.flush(flush) => code,
    }
}

async fn grace_is_over(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    sleep(grace).await;
}

async fn sweep(
    connect: &Connect,
    options: &RunOptions,
    settings: Settings,
    told: Told,
    hangups: Signal,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    metric::at_zero(
        settings.registry.list().map(|connector| &*connector.slug),
        settings.notify.receivers.iter().map(|receiver| receiver.group.as_str()),
    );
    let opened = database::open(settings.redis, &settings.keys, options, stop).await?;
    let Some(vestibule) = opened else { return Ok(ExitCode::SUCCESS) };
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
        readiness: told.readiness,
        last_pass: told.last_pass,
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
