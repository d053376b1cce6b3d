//! `revoke`: ends a connection or a temp token, for good.

use anyhow::anyhow;
use clap::Args;
use serde_json::json;
use vestibule::{
    inspect::Inspector,
    store::{PendingId, Revocation, RevokedConnection, StoreError},
};

use super::{
    Code, Context, Shown, Usage,
    subject::{Id, Subject},
};

/// What, and why.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    id: Id,
    /// Why, for people: kept with a connection
    #[arg(long, value_name = "TEXT", default_value = "revoked by an operator")]
    reason: String,
}

pub(super) async fn run(options: &Options, context: &Context<'_>) -> anyhow::Result<Shown> {
    let inspector = context.inspector()?;
    let subject = options.id.subject(&inspector).await?;
    let operator = context.vestibule().await?.operator();
    let shown =
        |word: &str, text: &str| Shown::done(text, json!({ "id": subject.id(), "outcome": word }));
    let not_found = || Shown::not_found(format!("there is no {} {}", subject.kind(), subject.id()));
    Ok(match &subject {
        Subject::Connection(id) => match operator.revoke_connection(id, &options.reason).await? {
            RevokedConnection::Revoked { .. } => shown(
                "revoked",
                "Revoked: nothing is vended any more, and its secrets are gone. What was vended \
                 before lives on at the provider until it runs out.",
            ),
            RevokedConnection::Already => shown("already", "It was revoked already."),
            RevokedConnection::Absent => not_found(),
        },
        Subject::Token(id) => match operator.revoke_token(*id).await? {
            Revocation::Revoked => shown("revoked", "Revoked: no replica accepts it any more."),
            Revocation::Already => shown("already", "It was revoked already."),
            Revocation::Expired => shown("expired", "It has expired.").with_code(Code::Error),
            Revocation::Absent => not_found(),
        },
        Subject::Pending(id) if is_pending(id, &inspector).await? => {
            return Err(anyhow!(Usage(format!("that is a pending: `cancel {id}` ends it"))));
        }
        Subject::Pending(id) => Shown::not_found(format!("there is no temp token {id}")),
        other => {
            let what = format!("this is for a connection or a temp token, not a {}", other.kind());
            return Err(anyhow!(Usage(what)));
        }
    })
}

/// What looks as the id of one may be a token's that is gone.
async fn is_pending(id: &PendingId, inspector: &Inspector) -> Result<bool, StoreError> {
    Ok(inspector.pending(*id).await?.is_some() || inspector.outcome(*id).await?.is_some())
}
