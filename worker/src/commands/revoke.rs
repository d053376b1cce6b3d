//! `revoke`: ends a connection or a temp token, for good.

use anyhow::anyhow;
use clap::Args;
use serde_json::json;
use vestibule::store::{Revocation, RevokedConnection};

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
    let subject = options.id.subject(&context.inspector()?).await?;
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
        Subject::Pending(_) => not_found(),
        other => {
            let what = format!("this is for a connection or a temp token, not a {}", other.kind());
            return Err(anyhow!(Usage(what)));
        }
    })
}
