//! `orphan` and `restore`: access that is withdrawn, and given back.

use anyhow::anyhow;
use clap::Args;
use serde_json::json;
use vestibule::store::{RestoredConnection, WithdrawnConnection};

use super::{Code, Context, Shown, Usage, subject::Id};

/// What, and why.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    id: Id,
    /// Why, in a word: a-z, 0-9, _ and -
    #[arg(long, value_name = "WORD", default_value = "access_withdrawn")]
    reason: String,
}

pub(super) async fn withdraw(options: &Options, context: &Context<'_>) -> anyhow::Result<Shown> {
    let id = options.id.connection()?;
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    let reason = options.reason.as_str();
    if !(1..=64).contains(&reason.len()) || !reason.bytes().all(fits) {
        return Err(anyhow!(Usage("--reason is a word of a-z, 0-9, _ and -".to_owned())));
    }
    let outcome = context.vestibule().await?.operator().withdraw(&id, reason).await?;
    let shown = |word: &str, text: &str| {
        Shown::done(text, json!({ "id": id.to_string(), "outcome": word }))
    };
    Ok(match outcome {
        WithdrawnConnection::Withdrawn => shown(
            "withdrawn",
            "Withdrawn: nothing is vended or refreshed. `restore` gives it back whole, until the \
             retention is over.",
        ),
        WithdrawnConnection::Already => shown("already", "It was an orphan already."),
        WithdrawnConnection::Revoked => {
            shown("revoked", "It was revoked: there is nothing left to withdraw.")
                .with_code(Code::Error)
        }
        WithdrawnConnection::Absent => Shown::not_found(format!("there is no connection {id}")),
    })
}

pub(super) async fn restore(id: &Id, context: &Context<'_>) -> anyhow::Result<Shown> {
    let id = id.connection()?;
    let outcome = context.vestibule().await?.operator().restore(&id).await?;
    let shown = |word: &str, text: &str| {
        Shown::done(text, json!({ "id": id.to_string(), "outcome": word }))
    };
    Ok(match outcome {
        RestoredConnection::Restored => {
            shown("restored", "Given back: it is what it was, and refreshed when it was due.")
        }
        RestoredConnection::NotOrphaned => shown("not_orphaned", "It is no orphan: nothing to do."),
        RestoredConnection::Absent => Shown::not_found(format!("there is no connection {id}")),
    })
}
