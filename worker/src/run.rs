//! `run`: sweeps until told to stop.

mod database;
mod port;
mod signals;

use std::{process::ExitCode, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Mutex,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use vestibule::{metric, sweep::RefreshDue};

use self::{
    port::{Port, Told},
    signals::Signals,
};
use crate::{
    config::{AdminSettings, Connect, Refreshing, RunOptions, RunSettings, Settings},
    instance, logs, measure,
    notify::Notifying,
    reload::{Handles, Reloader, slugs},
    sweeper::Sweeper,
    sweeps::{Sweep, Sweeps},
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
pub async fn run(connect: &Connect, options: RunOptions) -> anyhow::Result<ExitCode> {
    let mut run = RunSettings::load(connect, &options)?;
    let instance = run.instance.get_or_insert_with(instance::fresh);
    let traces = Traces::load(connect, &options.traces, instance)?;
    logs::install(run.log, traces.as_ref());
    let settings = Settings::load(connect)?;
    let refreshing = Refreshing::load(connect, &options.refreshing)?;
    let admin = AdminSettings::load(connect, &options)?;
    let metrics = measure::recorder()?;
    let stop = CancellationToken::new();
    let signals = Signals::watch(stop.clone())?;
    // Heard from now on: one that comes while Redis is waited for ends nobody.
    let hangups = signal(SignalKind::hangup())?;
    let told = Told::default();
    told.readiness.set(false);
    let port = Port::open(admin, &run, &settings, &told, &metrics).await?;

    // The last spans have their share of the grace: what they wait for may never answer.
    let flush = traces.as_ref().map_or(Duration::ZERO, |_| traces::FLUSH.min(run.grace / 4));
    let code = tokio::select! {
        ended = sweep(connect, &run, settings, refreshing, told, hangups, &stop) => ended,
        never = measure::upkeep(&metrics) => match never {},
        () = grace_is_over(&stop, run.grace.saturating_sub(flush)) => {
            tracing::error!(grace_s = run.grace.as_secs(), "not stopped within the grace: giving up");
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
    run: &RunSettings,
    settings: Settings,
    refreshing: Refreshing,
    told: Told,
    hangups: Signal,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let connectors = slugs(&settings.registry);
    let receivers = settings.notify.receivers.iter().map(|receiver| receiver.group.as_str());
    metric::at_zero(connectors.iter().map(String::as_str), receivers);
    told.connectors.send_replace(connectors);
    let opened = database::open(settings.redis, &settings.keys, run, stop).await?;
    let Some(vestibule) = opened else { return Ok(ExitCode::SUCCESS) };
    let instance = run.instance.clone().unwrap_or_default();
    let connectors = settings.registry.list().count();
    tracing::info!(instance, connectors, "sweeping");
    if connectors == 0 {
        tracing::warn!("no connector is configured: every due credential will fail");
    }

    let config = refreshing.connections(settings.registry, &instance)?;
    let notifying = Notifying::new(&vestibule, settings.notify, &instance);
    let connections = vestibule.connections(config);
    let handles = Handles { vestibule: vestibule.clone(), connections };
    let reloader = Reloader::new(connect, handles, told.connectors);
    let sweeper = Sweeper {
        handles: reloader.handles(),
        sweeps: Sweeps::new(&vestibule, settings.sweeps).reloaded_by(reloader.handles()),
        vestibule,
        sweep: RefreshDue { parallel: run.parallel, ..RefreshDue::default() },
        interval: run.interval,
        readiness: told.readiness,
        last_pass: told.last_pass,
        replays: Mutex::default(),
    };

    if run.once {
        // Once before: from then on what happens is kept for receivers that are new. What is not
        // told by then is looked at again afterwards.
        notifying.once(stop).await;
        let (swept, told) = (sweeper.once(stop).await, notifying.once(stop).await);
        // What was told just now would be kept until the next run.
        let trimmed = sweeper.sweeps.each_once(&[Sweep::Events], stop).await;
        return Ok(if swept && told && trimmed { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    tokio::join!(sweeper.run(stop), notifying.run(stop), reloader.run(hangups, stop));
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
