//! `retry`: what backs off, or was given up, is due at once.

use serde_json::json;
use vestibule::store::Retry;

use super::{Code, Context, Shown, subject::Id};

pub(super) async fn run(id: &Id, context: &Context<'_>) -> anyhow::Result<Shown> {
    let id = id.connection()?;
    let outcome = context.vestibule().await?.operator().retry(&id).await?;
    let shown = |word: &str, text: String| {
        Shown::done(text, json!({ "id": id.to_string(), "outcome": word }))
    };
    Ok(match outcome {
        Retry::Retried => {
            shown("retried", "It is due now: the next pass of any worker takes it.".to_owned())
        }
        Retry::NotFailing => shown("not_failing", "It does not fail: nothing to do.".to_owned()),
        Retry::Inactive(status) => {
            let text = format!("It is {}: only its owner can sign in again.", status.as_str());
            shown(status.as_str(), text).with_code(Code::Error)
        }
        Retry::Absent => Shown::not_found(format!("there is no connection {id}")),
    })
}
