//! `key`: the key of a record in Redis, so that redis-cli takes over.

use serde_json::json;
use vestibule::{
    inspect::Inspector,
    store::{ConnectorName, Kind, RecordName},
};

use super::{
    Context, Shown,
    subject::{self, Id, Subject},
};

pub(super) async fn run(id: &Id, context: &Context<'_>) -> anyhow::Result<Shown> {
    let inspector = context.inspector()?;
    let subject = id.subject(&inspector).await?;
    let Some(keys) = keys(&subject, &inspector, context).await? else {
        return Ok(Shown::not_found(format!("nothing is kept of connector {}", subject.id())));
    };
    let all: Vec<_> = keys.iter().map(|(_, key)| key.as_str()).collect();
    let json = json!({
        "kind": subject.kind(),
        "id": subject.id(),
        "key": all[0],
        "keys": keys.iter().map(|(what, key)| json!({ "what": what, "key": key })).collect::<Vec<_>>(),
    });
    Ok(Shown::done(all[0], json))
}

/// What names all its records; the record itself comes first.
pub(super) async fn keys(
    subject: &Subject,
    inspector: &Inspector,
    context: &Context<'_>,
) -> anyhow::Result<Option<Vec<(&'static str, String)>>> {
    let names = inspector.keyspace();
    Ok(Some(match subject {
        Subject::Connection(id) => {
            vec![("record", names.connection(id)), ("due", names.due(id.shard()))]
        }
        Subject::Headers(id) => vec![
            ("record", names.headers(*id)),
            ("orphans", names.orphans(id.shard())),
            ("sealed", names.sealed(id.shard())),
        ],
        Subject::Pending(id) => vec![
            ("record", names.pending(*id)),
            ("outcome", names.outcome(*id)),
            ("waiters", names.waiters(*id)),
            ("lease", names.lease(*id)),
        ],
        Subject::Token(id) => vec![
            ("record", names.token(*id)),
            ("index", names.tokens(id.shard(), id.index())),
            ("uses", names.uses(*id)),
        ],
        Subject::State(digest) => {
            vec![("record", names.one_shot(&RecordName::alone(Kind::Pkce, *digest)))]
        }
        Subject::Connector(slug) => {
            let Some(found) = subject::connector(context, inspector, slug).await? else {
                return Ok(None);
            };
            let Some(shard) = vestibule::store::Shard::from_hex(&found.shard) else {
                return Ok(None);
            };
            let name = ConnectorName { shard, slug };
            vec![
                ("pause", names.pause(name)),
                ("places", names.places(name)),
                ("limit", names.limit(name)),
            ]
        }
    }))
}
