//! `config check`: what the configuration amounts to, and where each value comes from.

use clap::{ArgMatches, Subcommand, parser::ValueSource};
use serde_json::json;

use super::{Code, Context, Shown, shown::table};
use crate::config::{AdminSettings, Refreshing, RunOptions, Settings, TracesSettings, effective};

/// What of the configuration.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Print it as `run` would have it, secrets redacted, and say where each value comes from
    Check(Box<RunOptions>),
}

/// Exit code 1 if `run` would not start with it.
pub(super) fn check(options: &RunOptions, context: &Context<'_>) -> anyhow::Result<Shown> {
    let mut leaf = context.matches;
    while let Some((_, inner)) = leaf.subcommand() {
        leaf = inner;
    }
    let connect = &context.connect;
    let rows = effective(connect, options, &|id| source(leaf, id))?;
    let fault = Settings::load(connect).err();
    let fault = fault.or_else(|| Refreshing::load(connect, &options.refreshing).err());
    let fault = fault.or_else(|| AdminSettings::load(connect, options).err());
    let fault = fault.or_else(|| TracesSettings::load(connect, &options.traces).err());
    let fault = fault.map(|error| format!("{error:#}"));
    let told = rows.iter().map(|row| [row.name.clone(), row.value.clone(), row.from.clone()]);
    let mut text = table(["setting", "value", "from"], told);
    text = match &fault {
        None => format!("{text}\nThis configuration is whole."),
        Some(fault) => format!("{text}\n`run` would not start: {fault}"),
    };
    let code = if fault.is_some() { Code::Error } else { Code::Done };
    Ok(Shown::done(text, json!({ "settings": rows, "fault": fault })).with_code(code))
}

/// From which flag or variable, if from any.
fn source(matches: &ArgMatches, id: &str) -> Option<String> {
    let flag = id.replace('_', "-");
    match matches.value_source(id)? {
        ValueSource::CommandLine => Some(format!("--{flag}")),
        ValueSource::EnvVariable => Some(format!("environment, for --{flag}")),
        _ => None,
    }
}
