//! `orphan` and `restore`: access that is withdrawn, and given back.

use anyhow::anyhow;
use clap::Args;
use serde_json::json;
use vestibule::{
    headers::{HeaderCredentials, HeadersConfig},
    store::{
        ConnectionId, HeadersId, RestoredConnection, RestoredHeaders, WithdrawnConnection,
        WithdrawnHeaders,
    },
    token::Scopes,
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
    /// Why, in a word: a-z, 0-9, _ and -
    #[arg(long, value_name = "WORD", default_value = "access_withdrawn")]
    reason: String,
}

pub(super) async fn withdraw(options: &Options, context: &Context<'_>) -> anyhow::Result<Shown> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    let reason = options.reason.as_str();
    if !(1..=64).contains(&reason.len()) || !reason.bytes().all(fits) {
        return Err(anyhow!(Usage("--reason is a word of a-z, 0-9, _ and -".to_owned())));
    }
    match options.id.subject(&context.inspector()?).await? {
        Subject::Connection(id) => withdraw_connection(&id, reason, context).await,
        Subject::Headers(id) => withdraw_headers(id, reason, context).await,
        other => Err(neither(&other)),
    }
}

pub(super) async fn restore(id: &Id, context: &Context<'_>) -> anyhow::Result<Shown> {
    match id.subject(&context.inspector()?).await? {
        Subject::Connection(id) => restore_connection(&id, context).await,
        Subject::Headers(id) => restore_headers(id, context).await,
        other => Err(neither(&other)),
    }
}

fn neither(subject: &Subject) -> anyhow::Error {
    let kind = subject.kind();
    anyhow!(Usage(format!("this is for a connection or a header credential, not a {kind}")))
}

async fn withdraw_connection(
    id: &ConnectionId,
    reason: &str,
    context: &Context<'_>,
) -> anyhow::Result<Shown> {
    let outcome = context.vestibule().await?.operator().withdraw(id, reason).await?;
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

async fn restore_connection(id: &ConnectionId, context: &Context<'_>) -> anyhow::Result<Shown> {
    let outcome = context.vestibule().await?.operator().restore(id).await?;
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

/// Without any scope: the tokens of links are revoked by its name alone.
async fn headers(context: &Context<'_>) -> anyhow::Result<HeaderCredentials> {
    let vestibule = context.vestibule().await?;
    let tokens = vestibule.temp_tokens(Scopes::new());
    Ok(vestibule.header_credentials(HeadersConfig::new(tokens)))
}

async fn withdraw_headers(
    id: HeadersId,
    reason: &str,
    context: &Context<'_>,
) -> anyhow::Result<Shown> {
    let outcome = headers(context).await?.withdraw_access_by_id(id, reason).await?;
    let shown = |word: &str, text: &str| {
        let ended = match outcome.flows {
            0 => String::new(),
            flows => format!(" Submissions under way that were ended: {flows}."),
        };
        let json = json!({ "id": id.to_string(), "outcome": word, "flows": outcome.flows });
        Shown::done(format!("{text}{ended}"), json)
    };
    Ok(match outcome.credential {
        WithdrawnHeaders::Withdrawn => shown(
            "withdrawn",
            "Withdrawn: these headers are not used. `restore` gives them back whole, until the \
             retention is over, unless others are submitted.",
        ),
        WithdrawnHeaders::Already => shown("already", "It was an orphan already."),
        WithdrawnHeaders::Session => {
            shown("session", "It is a session's: those are never withdrawn.").with_code(Code::Error)
        }
        _ => Shown::not_found(format!("there is no header credential {id}")),
    })
}

async fn restore_headers(id: HeadersId, context: &Context<'_>) -> anyhow::Result<Shown> {
    let outcome = headers(context).await?.restore_access_by_id(id).await?;
    let shown = |word: &str, text: &str| {
        Shown::done(text, json!({ "id": id.to_string(), "outcome": word }))
    };
    Ok(match outcome {
        RestoredHeaders::Restored(status) => {
            let status = status.as_str();
            let text = format!("Given back: it is what it was, {status}.");
            Shown::done(
                text,
                json!({ "id": id.to_string(), "outcome": "restored", "status": status }),
            )
        }
        RestoredHeaders::NotOrphaned => shown("not_orphaned", "It is no orphan: nothing to do."),
        _ => Shown::not_found(format!("there is no header credential {id}")),
    })
}
