//! How records are sealed, without opening any.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use redis::{Value, cmd};

use super::{AT_ONCE, Inspector, Page};
use crate::store::{
    Shard, StoreError,
    redis::{record, sealed::Count},
};

/// So much of a sealed body names the key that it asks for.
const NAMES_ITS_KEY: usize = 256;

impl Inspector {
    /// How many secrets without an end each key has sealed, by the numbers of the keys: all of them.
    pub async fn sealed_by_key(&self) -> Result<BTreeMap<u32, u64>, StoreError> {
        let count = async |shard| {
            let mut count = Count::of(&self.keys, shard);
            while let Some(command) = count.next() {
                let answer = self.reader.ask("sealed_by_key", &command).await;
                count.answer(answer.map_err(|error| at(error, self.keys.sealed(shard)))?)?;
            }
            Ok::<_, StoreError>(count.counts())
        };
        let mut counted = stream::iter(Shard::all()).map(count).buffer_unordered(AT_ONCE);
        let mut sums = BTreeMap::new();
        while let Some(counts) = counted.next().await {
            for (by, count) in counts? {
                *sums.entry(by).or_insert(0) += count;
            }
        }
        Ok(sums)
    }

    /// The beginnings of sealed bodies that live for a while, with the keys of their records: about
    /// `limit` of each kind, wherever a walk begins.
    pub async fn sealed(&self, limit: u16) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut found = Vec::new();
        for kind in ["pending", "token", "pkce"] {
            let read = async |key: String, _| self.body_at(key).await;
            let Page { rows, .. } = self.walk(kind, None, limit, read).await?;
            found.extend(rows);
        }
        let read = async |key: String, _| self.outcome_at(key).await;
        let Page { rows, .. } = self.walk("outcome", None, limit, read).await?;
        found.extend(rows);
        Ok(found)
    }

    async fn body_at(&self, key: String) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        let Some(mut bytes) = self.beginning(&key).await? else { return Ok(None) };
        let Some((_, body)) = record::read(&bytes) else { return Ok(None) };
        bytes.drain(..body);
        bytes.truncate(NAMES_ITS_KEY);
        Ok(Some((key, bytes)))
    }

    /// Behind the line for people.
    async fn outcome_at(&self, key: String) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        let Some(mut bytes) = self.beginning(&key).await? else { return Ok(None) };
        let Some(line) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        bytes.drain(..=line);
        bytes.truncate(NAMES_ITS_KEY);
        Ok(Some((key, bytes)))
    }

    async fn beginning(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut range = cmd("GETRANGE");
        range.arg(key).arg(0).arg(319 + NAMES_ITS_KEY);
        Ok(match self.unless_damaged("sealed", &range).await? {
            Some(Value::BulkString(bytes)) => Some(bytes),
            _ => None,
        })
    }
}

/// Which key it is that is damaged.
fn at(error: StoreError, key: String) -> StoreError {
    match error {
        StoreError::Corrupt { verb, what, .. } => StoreError::Corrupt { verb, key, what },
        other => other,
    }
}
