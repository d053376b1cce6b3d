//! Header credentials: every field but the headers.

use std::collections::HashMap;

use redis::{cmd, from_redis_value};

use super::{Cursor, HeadersView, Inspector, Page, connection::Fields};
use crate::store::{HeadersId, HeadersStatus, StoreError};

const FIELDS: [&str; 13] = [
    "status",
    "reason",
    "status_at",
    "was",
    "mode",
    "identity",
    "client",
    "name",
    "key",
    "ver",
    "created_at",
    "updated_at",
    "deleted_at",
];

impl Inspector {
    /// The header credentials of all bindings.
    pub async fn headers(
        &self,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> Result<Page<HeadersView>, StoreError> {
        let read = async |key: String, _| {
            let id = self.keys.parts("headers", &key).and_then(|(_, id)| id.parse().ok());
            match id {
                Some(id) => self.headers_at(id).await,
                None => Ok(None),
            }
        };
        self.walk("headers", cursor, limit, read).await
    }

    /// One header credential; `None` if there is none, and none that was removed less than a minute
    /// ago.
    pub async fn headers_at(&self, id: HeadersId) -> Result<Option<HeadersView>, StoreError> {
        let key = self.keys.headers(id);
        let mut command = cmd("HMGET");
        command.arg(&key).arg(&FIELDS);
        let row = HeadersView { id: id.to_string(), key, ..Default::default() };
        let damaged = || Ok(Some(HeadersView { status: "damaged".to_owned(), ..row.clone() }));
        let Some(found) = self.unless_damaged("headers", &command).await? else {
            return damaged();
        };
        let Ok(found) = from_redis_value::<Vec<Option<Vec<u8>>>>(found) else { return damaged() };
        let fields: HashMap<_, _> = FIELDS
            .into_iter()
            .zip(found)
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        if fields.is_empty() {
            return Ok(None);
        }
        let fields = Fields(fields);
        let text = |name| fields.text(name).filter(|text| !text.is_empty());
        let is_deleted = !fields.has("mode") && fields.has("deleted_at");
        let known = text("status").filter(|word| HeadersStatus::from_word(word).is_some());
        let whole = ["mode", "identity", "client"].iter().all(|name| fields.has(name));
        Ok(Some(HeadersView {
            status: match known {
                _ if is_deleted => "deleted".to_owned(),
                Some(word) if whole => word,
                _ => "damaged".to_owned(),
            },
            reason: text("reason"),
            status_at_ms: fields.number("status_at"),
            was: text("was"),
            mode: text("mode"),
            identity: text("identity"),
            client: text("client"),
            name: text("name"),
            sealed_under: text("key"),
            ver: fields.number("ver"),
            created_at_ms: fields.number("created_at"),
            updated_at_ms: fields.number("updated_at"),
            deleted_at_ms: fields.number("deleted_at").filter(|_| is_deleted),
            ..row
        }))
    }
}
