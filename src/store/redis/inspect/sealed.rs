//! How records are sealed, without opening any.

use redis::{Value, cmd};

use super::{Inspector, Page};
use crate::store::{StoreError, redis::record};

/// So much of a sealed body names the key that it asks for.
const NAMES_ITS_KEY: usize = 256;

impl Inspector {
    /// The beginnings of sealed bodies with the keys of their records, of every kind: about `limit`
    /// of each, wherever a walk begins.
    pub async fn sealed(&self, limit: u16) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut found = Vec::new();
        let read = async |key: String, _| {
            let mut secret = cmd("HGET");
            secret.arg(&key).arg("secret");
            Ok(match self.unless_damaged("sealed", &secret).await? {
                Some(Value::BulkString(mut sealed)) => {
                    sealed.truncate(NAMES_ITS_KEY);
                    Some((key, sealed))
                }
                _ => None,
            })
        };
        let Page { rows, .. } = self.walk("conn", None, limit, read).await?;
        found.extend(rows);
        for kind in ["pending", "token", "pkce"] {
            let read = async |key: String, _| self.body_at(key).await;
            let Page { rows, .. } = self.walk(kind, None, limit, read).await?;
            found.extend(rows);
        }
        Ok(found)
    }

    async fn body_at(&self, key: String) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        let mut range = cmd("GETRANGE");
        range.arg(&key).arg(0).arg(319 + NAMES_ITS_KEY);
        let Some(Value::BulkString(mut bytes)) = self.unless_damaged("sealed", &range).await?
        else {
            return Ok(None);
        };
        let Some((_, body)) = record::read(&bytes) else { return Ok(None) };
        bytes.drain(..body);
        bytes.truncate(NAMES_ITS_KEY);
        Ok(Some((key, bytes)))
    }
}
