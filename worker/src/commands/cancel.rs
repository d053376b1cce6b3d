//! `cancel`: ends a pending, and wakes whoever waits.

use serde_json::json;
use vestibule::store::Finished;

use super::{Code, Context, Shown, subject::Id, when};

pub(super) async fn run(id: &Id, context: &Context<'_>) -> anyhow::Result<Shown> {
    let id = id.pending()?;
    let operator = context.vestibule().await?.operator();
    // Whom it is bound to only the record says.
    let inspector = context.inspector()?;
    let subject = inspector.pending(id).await?.and_then(|row| row.subject);
    let outcome = operator.cancel(id, subject).await?;
    let json = json!({ "id": id.to_string(), "outcome": outcome.as_str() });
    Ok(match outcome {
        Finished::Finished(_) => Shown::done("Cancelled: whoever waits for it is told so.", json),
        Finished::Already { how, at_ms, by } => {
            let ago = when::relative(at_ms, inspector.now_ms().await?);
            let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
            Shown::done(format!("It was {} already{by}, {ago}.", how.as_str()), json)
                .with_code(Code::Error)
        }
        Finished::Expired => Shown::done("It has expired.", json).with_code(Code::Error),
        Finished::OtherSubject => {
            Shown::done("It was replaced meanwhile: try again.", json).with_code(Code::Error)
        }
        Finished::Absent => Shown::not_found(format!("there is no pending {id}")),
    })
}
