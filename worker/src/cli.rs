//! The command line.

use std::collections::BTreeSet;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{commands, config, demo, keygen, sweep};

/// Vestibule's worker: keeps credentials fresh beside the services that use them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// Where things are.
    #[command(flatten)]
    pub connect: config::Connect,
    /// Print one JSON object instead of what people read
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 an error, or a finding of `doctor` · 2 wrong usage · 3 there is no such record
· 130 stopped at once by a second signal";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sweep what is due, until told to stop
    Run(config::RunOptions),
    /// Run one sweep, once and now
    Sweep(sweep::Options),
    /// Make a key file: naming key, token pepper and key ring
    Keygen(keygen::Options),
    /// Show the whole of it on this machine: replicas, workers, a provider, a kill
    Demo(demo::Options),
    /// One replica of the demo
    #[command(hide = true)]
    DemoReplica(demo::replica::Options),
    /// What a person asks, and does by hand
    #[command(flatten)]
    ByHand(commands::Command),
}

/// The environment variables that any command reads, but for those that connectors and webhooks
/// name.
#[must_use]
pub fn variables() -> BTreeSet<String> {
    let mut names: BTreeSet<_> = config::TEXTS.into_iter().map(str::to_owned).collect();
    let mut commands = vec![Cli::command()];
    while let Some(command) = commands.pop() {
        let read = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str());
        names.extend(read.map(str::to_owned));
        commands.extend(command.get_subcommands().cloned());
    }
    names
}
