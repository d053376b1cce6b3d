//! `refresh`: one refresh, here and now, under the same rules as everybody's.

use clap::Args;
use serde_json::json;
use vestibule::{Vestibule, connection::Refreshed};

use super::{Code, Context, Shown, subject::Id, when};
use crate::config::{RefreshOptions, Refreshing};

/// What is refreshed, and with what.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    id: Id,
    #[command(flatten)]
    refreshing: RefreshOptions,
}

pub(super) async fn run(options: &Options, context: &Context<'_>) -> anyhow::Result<Shown> {
    let id = options.id.connection()?;
    let settings = context.settings()?;
    let refreshing = Refreshing::load(&context.connect, &options.refreshing)?;
    let vestibule = Vestibule::connect(settings.redis, &settings.keys).await?;
    let config = refreshing.connections(settings.registry, "operator")?;
    let connections = vestibule.connections(config);
    let outcome = connections.refresh(&id).await?;
    connections.drained().await;

    let long = |duration: &std::time::Duration| {
        when::long(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    };
    let json = json!({ "id": id.to_string(), "outcome": outcome.as_str() });
    let shown = |text: String| Shown::done(text, &json);
    Ok(match &outcome {
        Refreshed::Fresh { expires_in, .. } => shown(match expires_in {
            Some(life) => format!("Refreshed: the new access token is good for {}.", long(life)),
            None => "Refreshed.".to_owned(),
        }),
        Refreshed::NotDue { due_in, attempts: 0 } => {
            shown(format!("It is fresh: due in {}. Nothing was done.", long(due_in)))
        }
        Refreshed::NotDue { due_in, attempts } => shown(format!(
            "It backs off after {attempts} failures in a row, for another {}. `retry {id}` makes it due.",
            long(due_in)
        ))
        .with_code(Code::Error),
        Refreshed::Held { remaining } => shown(format!(
            "Another replica refreshes it; its lease has another {}.",
            long(remaining)
        )),
        Refreshed::Undecided { remaining } => shown(format!(
            "An exchange was cut off, and its journal may still bring the answer: for another {} \
             nobody asks again.",
            long(remaining)
        ))
        .with_code(Code::Error),
        Refreshed::AtCap { wait } => {
            shown(format!("Its provider is at one of its caps: try again in {}.", long(wait)))
                .with_code(Code::Error)
        }
        Refreshed::Paused { remaining, .. } => shown(format!(
            "Its connector is paused for another {}: mend its client, then `resume` it. `why {id}` \
             tells why.",
            long(remaining)
        ))
        .with_code(Code::Error),
        Refreshed::Not("absent") => Shown::not_found(format!("there is no connection {id}")),
        Refreshed::Not(word) => {
            shown(format!("It cannot be refreshed: {word}. `why {id}` tells more."))
                .with_code(Code::Error)
        }
        Refreshed::Failed(error) => {
            shown(format!("The refresh failed, and that is on record: {error}"))
                .with_code(Code::Error)
        }
        _ => shown(format!("Outcome: {}.", outcome.as_str())),
    })
}
