//! Connections: every field but the secrets.

use std::collections::HashMap;

use redis::{Value, cmd, from_redis_value};

use super::{ConnectionView, Cursor, Inspector, Lease, Page, Undecided, printable::printable};
use crate::{
    digest::Digest,
    store::{ConnectionId, Shard, Status, StoreError},
};

/// What is read; of the secrets nothing but whether they are there.
const FIELDS: [&str; 26] = [
    "status",
    "reason",
    "status_at",
    "owner",
    "connector",
    "grant",
    "ver",
    "token",
    "expires_at",
    "next_at",
    "fence",
    "lease",
    "lease_by",
    "lease_ends_at",
    "att_token",
    "att_at",
    "att_fence",
    "alt_token",
    "alt2_token",
    "attempts",
    "last_error",
    "error_at",
    "failing_at",
    "answered_at",
    "created_at",
    "updated_at",
];

const VERB: &str = "connection";
/// As `begin` judges it.
const LONGEST_LEASE_MS: u64 = 60_000;

impl Inspector {
    /// The connections of all owners.
    pub async fn connections(
        &self,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> Result<Page<ConnectionView>, StoreError> {
        let read = async |key: String, now_ms| {
            let id = self.keys.parts("conn", &key).and_then(|(_, id)| id.parse().ok());
            match id {
                Some(id) => self.connection_at(&id, now_ms).await,
                None => Ok(None),
            }
        };
        self.walk("conn", cursor, limit, read).await
    }

    /// An owner's connections, the first ones first: up to `limit`.
    pub async fn connections_of(
        &self,
        owner: Digest,
        limit: u16,
    ) -> Result<Page<ConnectionView>, StoreError> {
        let now_ms = self.now_ms().await?;
        let index = self.keys.owner(Shard::new(owner.as_bytes()[0]), owner);
        let mut page = cmd("ZRANGE");
        page.arg(index).arg(0).arg(limit.clamp(1, 1000) - 1);
        let found = self.unless_damaged("connections_of", &page).await?.unwrap_or(Value::Nil);
        let found: Vec<Vec<u8>> = from_redis_value(found).unwrap_or_default();
        let mut rows = Vec::new();
        for id in found.iter().filter_map(|id| connection_id(id)) {
            rows.extend(self.connection_at(&id, now_ms).await?);
        }
        Ok(Page { rows, next: None, now_ms })
    }

    /// One connection; `None` if there is none, and none that was deleted less than a minute ago.
    pub async fn connection(
        &self,
        id: &ConnectionId,
    ) -> Result<Option<ConnectionView>, StoreError> {
        let now_ms = self.now_ms().await?;
        self.connection_at(id, now_ms).await
    }

    /// The sealed secret of a connection, to see which key it asks for; `None` if it has none.
    pub async fn sealed_secret(&self, id: &ConnectionId) -> Result<Option<Vec<u8>>, StoreError> {
        let mut command = cmd("HGET");
        command.arg(self.keys.connection(id)).arg("secret");
        Ok(match self.unless_damaged("sealed_secret", &command).await? {
            Some(Value::BulkString(sealed)) => Some(sealed),
            _ => None,
        })
    }

    pub(super) async fn connection_at(
        &self,
        id: &ConnectionId,
        now_ms: u64,
    ) -> Result<Option<ConnectionView>, StoreError> {
        let Some(mut row) = self.connection_line(id, now_ms).await? else { return Ok(None) };
        let mut length = cmd("HSTRLEN");
        length.arg(&row.key).arg("secret");
        let mut score = cmd("ZSCORE");
        score.arg(self.keys.due(id.shard())).arg(id.as_str());
        let length = self.unless_damaged(VERB, &length).await?.unwrap_or(Value::Nil);
        let score = self.unless_damaged(VERB, &score).await?.unwrap_or(Value::Nil);
        let score = from_redis_value::<Option<f64>>(score).ok().flatten();
        row.has_secret = from_redis_value::<u64>(length).unwrap_or(0) > 0;
        row.due_at_ms = score.map(whole);
        Ok(Some(row))
    }

    /// Without the secret's length and the place on the index: for who knows those, in one trip and
    /// with a worker's rights.
    pub(super) async fn connection_line(
        &self,
        id: &ConnectionId,
        now_ms: u64,
    ) -> Result<Option<ConnectionView>, StoreError> {
        let key = self.keys.connection(id);
        let mut fields = cmd("HMGET");
        fields.arg(&key).arg(&FIELDS).arg("deleted_at");
        let row = ConnectionView { id: id.to_string(), key: key.clone(), ..Default::default() };
        let damaged = || Ok(Some(ConnectionView { status: "damaged".to_owned(), ..row.clone() }));
        let Some(found) = self.unless_damaged(VERB, &fields).await? else { return damaged() };
        let Ok(found) = from_redis_value::<Vec<Option<Vec<u8>>>>(found) else { return damaged() };
        let names = FIELDS.into_iter().chain(["deleted_at"]);
        let fields: HashMap<&str, Vec<u8>> =
            names.zip(found).filter_map(|(name, value)| Some((name, value?))).collect();
        if fields.is_empty() {
            return Ok(None);
        }
        Ok(Some(filled(row, &Fields(fields), now_ms)))
    }
}

/// A score is a time in ms.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
pub(super) fn whole(score: f64) -> u64 {
    score as u64
}

/// A member of an index, if it is an id.
pub(super) fn connection_id(member: &[u8]) -> Option<ConnectionId> {
    std::str::from_utf8(member).ok()?.parse().ok()
}

/// The fields of a hash, as somebody wrote them.
pub(super) struct Fields(pub(super) HashMap<&'static str, Vec<u8>>);

impl Fields {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| printable(value))
    }

    /// What is no number reads as none.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        std::str::from_utf8(self.0.get(name)?).ok()?.parse().ok()
    }
}

fn filled(row: ConnectionView, fields: &Fields, now_ms: u64) -> ConnectionView {
    let deleted = !fields.has("owner") && fields.has("deleted_at");
    let known = fields.text("status").filter(|word| Status::from_word(word).is_some());
    let whole = fields.has("owner") && fields.has("connector") && fields.number("grant").is_some();
    let status = match known {
        _ if deleted => "deleted".to_owned(),
        Some(word) if whole => word,
        _ => "damaged".to_owned(),
    };
    let fence = fields.number("fence");
    // One that ends later than any lease is damaged, and nobody keeps to it.
    let lease_ends = fields.number("lease_ends_at");
    let lease_ends =
        lease_ends.filter(|ends| (1..=LONGEST_LEASE_MS).contains(&ends.saturating_sub(now_ms)));
    ConnectionView {
        status,
        reason: fields.text("reason"),
        status_at_ms: fields.number("status_at"),
        owner: fields.text("owner"),
        connector: fields.text("connector"),
        grant: fields.number("grant"),
        ver: fields.number("ver"),
        has_refresh_token: fields.has("token"),
        expires_at_ms: fields.number("expires_at"),
        next_at_ms: fields.number("next_at"),
        lease: lease_ends.filter(|_| fields.has("lease")).map(|ends_at_ms| Lease {
            by: fields.text("lease_by").unwrap_or_default(),
            ends_at_ms,
            fence,
        }),
        undecided: fields.has("att_token").then(|| Undecided {
            since_ms: fields.number("att_at"),
            fence: fields.number("att_fence"),
        }),
        siblings: ["alt_token", "alt2_token"].iter().map(|it| u8::from(fields.has(it))).sum(),
        attempts: fields.number("attempts").unwrap_or(0),
        last_error: fields.text("last_error"),
        error_at_ms: fields.number("error_at"),
        failing_at_ms: fields.number("failing_at"),
        answered_at_ms: fields.number("answered_at"),
        created_at_ms: fields.number("created_at"),
        updated_at_ms: fields.number("updated_at"),
        deleted_at_ms: fields.number("deleted_at").filter(|_| deleted),
        ..row
    }
}
