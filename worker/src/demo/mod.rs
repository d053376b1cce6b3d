//! `demo`: the whole of it on one machine, with real processes, proved by counting.
//!
//! It starts a private Redis, an OAuth provider that punishes reuse, three replicas of a service
//! and two workers, each a process of its own, and plays over real HTTP: a sign-in that crosses
//! replicas while its callback is replayed, one prompt for three replicas that a fourth takes the
//! answer to, a link that is good for one form on any of them, fifty credentials that come due
//! while a worker is killed, access tokens asked for from everywhere at once, access that comes
//! and goes; and beside all that a storm: two hundred credentials at each of two providers, one of
//! them strict, while workers are killed at random.
//!
//! Every figure is counted by the provider, read from Redis, or what a replica answered; none is
//! assumed.

mod browser;
mod guarded;
mod inspect;
mod narrator;
mod processes;
mod redis_cli;
mod redis_server;
pub mod replica;
mod report;
mod scenes;
mod stage;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::{narrator::Narrator, report::Report, stage::Stage};

/// What `demo` takes.
#[derive(Debug, Args)]
pub struct Options {
    /// Use this Redis (redis:// or rediss://) instead of a private one; the demo keeps to a key
    /// prefix of its own and removes its keys at the end
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Print the figures as one JSON object, the only line on standard output
    #[arg(long)]
    pub json: bool,
    /// No colours
    #[arg(long, env = "NO_COLOR", hide_env_values = true, value_name = "ANY",
        num_args = 0..=1, default_missing_value = "1")]
    pub no_color: Option<String>,
}

/// Plays the demo. Exit code 0 if everything that it promises happened, 1 if not, 130 if it was
/// told to stop.
///
/// # Errors
///
/// If signals cannot be heard. What goes wrong in the demo is told as it happens.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let narrator = Narrator::new(&options);
    let mut report = Report::default();
    let stopped = stopped()?;
    tokio::pin!(stopped);

    narrator
        .title("Vestibule: three replicas, two workers, one Redis, a provider that punishes reuse");
    let played = tokio::select! {
        biased;
        () = &mut stopped => None,
        stage = Stage::open(&options, narrator) => match stage {
            Err(error) => Some(Err(error)),
            Ok(mut stage) => {
                let played = tokio::select! {
                    biased;
                    () = &mut stopped => None,
                    played = play(&mut stage, &mut report) => Some(played),
                };
                if let Some(Err(_)) = &played {
                    stage.show_logs();
                }
                report.count(stage.provider.counts());
                stage.close().await;
                played
            }
        },
    };
    let Some(played) = played else {
        narrator.complain("told to stop: everything that was started is stopped");
        return Ok(ExitCode::from(130));
    };
    if let Err(error) = &played {
        narrator.complain(format!("the demo failed: {error:#}"));
    }
    report.close(played.is_ok(), &narrator);
    if let Some(table) = report.table(&narrator) {
        let verdict = if report.ok { "everything promised happened" } else { "NOT as promised" };
        narrator.print(&format!("\n{table}"));
        narrator.print(&format!("{}: {verdict}, in {} s", report.tally(), report.seconds));
    }
    if options.json {
        writeln!(io::stdout().lock(), "{}", report.json())?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn play(stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
    stage.populate().await?;
    scenes::play(stage, report).await
}

/// Ends when somebody wants the demo to end.
fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
