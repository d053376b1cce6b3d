//! The command line.

use clap::{Parser, Subcommand};

use crate::{config, demo, keygen, sweep};

/// Vestibule's worker: keeps credentials fresh beside the services that use them.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

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
}
