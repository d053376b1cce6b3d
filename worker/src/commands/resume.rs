//! `resume`: a connector that was paused is asked again by everybody.

use anyhow::anyhow;
use clap::Args;
use serde_json::json;
use vestibule::store::Resumed;

use super::{Context, Shown, Usage, subject};

/// Which.
#[derive(Debug, Args)]
pub struct Options {
    /// The connector's slug
    #[arg(value_name = "CONNECTOR")]
    connector: String,
}

pub(super) async fn run(options: &Options, context: &Context<'_>) -> anyhow::Result<Shown> {
    let slug = subject::slug(&options.connector)
        .ok_or_else(|| anyhow!(Usage("a slug is 1 to 32 of a-z, 0-9 and -".to_owned())))?;
    let outcome = context.vestibule().await?.operator().resume(&slug).await?;
    let (word, text) = match outcome {
        Resumed::Resumed => ("resumed", "Resumed: its credentials are refreshed as they come due."),
        Resumed::Running => ("running", "It was not paused."),
    };
    Ok(Shown::done(text, json!({ "connector": slug, "outcome": word })))
}
