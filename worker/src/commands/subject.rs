//! What an id names.

use anyhow::anyhow;
use clap::Args;
use vestibule::{
    Digest,
    inspect::{ConnectorView, Inspector, Names},
    store::{ConnectionId, ConnectorName, HeadersId, PendingId, TokenId},
};

use super::{Context, Usage};

/// Which record.
#[derive(Debug, Args)]
pub struct Id {
    /// The id of a connection, a header credential, a pending or a temp token, the digest of a PKCE
    /// state, or a connector's slug; with `connection:`, `headers:`, `pending:` or `token:` before
    /// it where that cannot be told
    #[arg(value_name = "ID")]
    id: String,
}

/// A record that an id may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    Connection(ConnectionId),
    Headers(HeadersId),
    Pending(PendingId),
    Token(TokenId),
    State(Digest),
    Connector(String),
}

impl Subject {
    /// What it is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Connection(_) => "connection",
            Self::Headers(_) => "header credential",
            Self::Pending(_) => "pending",
            Self::Token(_) => "temp token",
            Self::State(_) => "PKCE state",
            Self::Connector(_) => "connector",
        }
    }

    pub(super) fn id(&self) -> String {
        match self {
            Self::Connection(id) => id.to_string(),
            Self::Headers(id) => id.to_string(),
            Self::Pending(id) => id.to_string(),
            Self::Token(id) => id.to_string(),
            Self::State(digest) => digest.to_hex(),
            Self::Connector(slug) => slug.clone(),
        }
    }
}

impl Id {
    /// What it names. The ids of a pending and of a token look alike, and those of a connection and
    /// of a header credential: Redis is asked which it is.
    pub(super) async fn subject(&self, inspector: &Inspector) -> anyhow::Result<Subject> {
        let subject = self.read()?;
        if let Subject::Connection(id) = &subject {
            return self.connection_or_headers(id, inspector).await;
        }
        let Subject::Pending(id) = subject else { return Ok(subject) };
        if self.id.contains(':')
            || inspector.pending(id).await?.is_some()
            || inspector.outcome(id).await?.is_some()
        {
            return Ok(subject);
        }
        let token: TokenId = id.to_string().parse()?;
        let is_token = inspector.token(token).await?.is_some();
        Ok(if is_token { Subject::Token(token) } else { subject })
    }

    async fn connection_or_headers(
        &self,
        id: &ConnectionId,
        inspector: &Inspector,
    ) -> anyhow::Result<Subject> {
        let subject = Subject::Connection(id.clone());
        if self.id.contains(':') || inspector.connection(id).await?.is_some() {
            return Ok(subject);
        }
        let headers: HeadersId = id.as_str().parse()?;
        let is_headers = inspector.headers_at(headers).await?.is_some();
        Ok(if is_headers { Subject::Headers(headers) } else { subject })
    }

    /// What it names by its form alone. It is not repeated if it is none: it might be a secret.
    fn read(&self) -> anyhow::Result<Subject> {
        let wrong = |what: &str| anyhow!(Usage(what.to_owned()));
        let none = || {
            wrong(
                "that is no id: a connection's or a header credential's has 34 hexadecimal digits, a pending's and a temp \
                 token's 64, a state's digest 32, and a connector has a slug",
            )
        };
        let text = self.id.trim();
        if text.starts_with("vtt_") {
            return Err(wrong(
                "that is the text of a temp token, which is a secret: give its id, as `ls tokens` \
                 and logs name it",
            ));
        }
        if let Some((kind, id)) = text.split_once(':') {
            let subject = match kind {
                "connection" => id.parse().ok().map(Subject::Connection),
                "headers" => id.parse().ok().map(Subject::Headers),
                "pending" => id.parse().ok().map(Subject::Pending),
                "token" => id.parse().ok().map(Subject::Token),
                "state" => Digest::from_hex(id).map(Subject::State),
                "connector" => slug(id).map(Subject::Connector),
                _ => None,
            };
            return subject.ok_or_else(none);
        }
        let connection = text.parse().ok().map(Subject::Connection);
        connection
            .or_else(|| text.parse().ok().map(Subject::Pending))
            .or_else(|| Digest::from_hex(text).map(Subject::State))
            .or_else(|| slug(text).map(Subject::Connector))
            .ok_or_else(none)
    }

    pub(super) fn connection(&self) -> anyhow::Result<ConnectionId> {
        match self.read()? {
            Subject::Connection(id) => Ok(id),
            other => {
                Err(anyhow!(Usage(format!("this is for a connection, not a {}", other.kind()))))
            }
        }
    }

    pub(super) fn pending(&self) -> anyhow::Result<PendingId> {
        match self.read()? {
            Subject::Pending(id) => Ok(id),
            other => Err(anyhow!(Usage(format!("this is for a pending, not a {}", other.kind())))),
        }
    }
}

pub(super) fn slug(text: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    ((1..=32).contains(&text.len()) && text.bytes().all(fits)).then(|| text.to_owned())
}

/// A connector's records: by the naming key where it is given, else by a walk; `None` if nothing is
/// kept of it.
pub(super) async fn connector(
    context: &Context<'_>,
    inspector: &Inspector,
    slug: &str,
) -> anyhow::Result<Option<ConnectorView>> {
    let shard = match context.keys()? {
        Some(keys) => Some(Names::new(keys.naming).connector(slug)),
        None => inspector.find_connector(slug).await?,
    };
    let Some(shard) = shard else { return Ok(None) };
    Ok(Some(inspector.connector(ConnectorName { shard, slug }).await?))
}
