//! `sweep`: one pass of one sweep, now.

use std::{io::Write, process::ExitCode};

use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use vestibule::Vestibule;

use crate::{
    config::{Connect, LogOption, load_store, load_sweeps, log_format},
    logs,
    sweeps::{Sweep, Sweeps},
};

/// What `sweep` takes.
#[derive(Debug, Args)]
pub struct Options {
    /// Which
    #[arg(value_enum)]
    pub name: Sweep,
    /// Only count what there is to do
    #[arg(long)]
    pub dry_run: bool,
    /// How it logs.
    #[command(flatten)]
    pub log: LogOption,
}

/// Sweeps everything once, whenever it was swept last. Exit code 0 if all of it was seen to, 1 if
/// something was left: others are at it, or Redis failed.
///
/// # Errors
///
/// If the configuration is wrong, or Redis cannot be reached.
pub async fn run(connect: &Connect, json: bool, options: Options) -> anyhow::Result<ExitCode> {
    logs::install(log_format(connect, options.log)?, None);
    let (redis, keys) = load_store(connect)?;
    let vestibule = Vestibule::connect(redis, &keys).await?;
    let sweeps = Sweeps::new(&vestibule, load_sweeps(connect)?);
    let (name, is_off) = (options.name.as_str(), sweeps.is_off(options.name));
    let swept = sweeps.once(options.name, options.dry_run, &CancellationToken::new()).await;
    let text = if json {
        let json = json!({
            "sweep": name, "dry_run": options.dry_run, "off": is_off,
            "found": swept.found, "done": swept.done, "changed": swept.changed,
            "left": swept.left, "errors": swept.errors, "unfinished": swept.unfinished,
        });
        format!("{json:#}")
    } else if is_off {
        format!("{name}: switched off, its retention is zero")
    } else {
        let what = if options.dry_run { "a dry run, nothing was changed" } else { "swept" };
        // Why the exit code is 1.
        let more = match swept.held {
            _ if swept.errors > 0 => "; the log has the errors".to_owned(),
            _ if swept.left > 0 => "; those are damaged, or not known to this version".to_owned(),
            _ if !swept.unfinished => String::new(),
            0 => "; there is more: run it again".to_owned(),
            held => format!("; {held} of 256 shards others are at: run it again"),
        };
        format!(
            "{name}: {what}; {} found, {} done, {} changed meanwhile, {} left, {} errors{more}",
            swept.found, swept.done, swept.changed, swept.left, swept.errors
        )
    };
    writeln!(std::io::stdout().lock(), "{text}")?;
    let is_whole = !swept.unfinished && swept.errors + swept.left == 0;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
