//! The binary: parses, then hands over to the library beside it.
// The futures of the demo are deep.
#![recursion_limit = "256"]

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use vestibule_worker::{
    cli::{Cli, Command},
    commands, demo, keygen, run, sweep,
};

fn main() -> ExitCode {
    // rustls panics without a provider, and libraries cannot install one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let json = cli.json;
    let result = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match cli.command {
                // Boxed: these futures are deep.
                Command::Run(options) => Box::pin(run::run(&cli.connect, options)).await,
                Command::Sweep(options) => Box::pin(sweep::run(&cli.connect, json, options)).await,
                Command::Keygen(options) => keygen::run(&options, json).map(|()| ExitCode::SUCCESS),
                Command::Demo(options) => Box::pin(demo::run(options)).await,
                Command::DemoReplica(options) => {
                    Box::pin(demo::replica::run(options)).await.map(|()| ExitCode::SUCCESS)
                }
                Command::ByHand(command) => {
                    let context = commands::Context::new(cli.connect, json, &matches);
                    Ok(Box::pin(commands::run(command, &context)).await)
                }
            }
        })
    });
    result.unwrap_or_else(|error| commands::Shown::failure(&error).print(json))
}
