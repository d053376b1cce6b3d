//! `completions`: what a shell needs to complete the command line.

use std::{io, process::ExitCode};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;

/// For which shell.
#[derive(Debug, Args)]
pub struct Options {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Its JSON would be of no use: always the script.
pub(super) fn run(options: &Options) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "vestibule-worker", &mut script);
    let _ = io::Write::write_all(&mut io::stdout().lock(), &script);
    ExitCode::SUCCESS
}
