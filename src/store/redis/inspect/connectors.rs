//! Connectors: what is kept of those that have a cap, or are paused.

use std::collections::{BTreeSet, HashMap};

use redis::{Value, cmd, from_redis_value};

use super::{
    ConnectorView, Inspector,
    connection::{Fields, whole},
};
use crate::store::{ConnectorName, Shard, StoreError};

const PAUSE: [&str; 6] = ["reason", "since_at", "until_at", "times", "probe", "probe_ends_at"];

impl Inspector {
    /// The connectors that anything is kept of now: a walk over all keys.
    pub async fn connectors(&self) -> Result<Vec<ConnectorView>, StoreError> {
        let mut found = BTreeSet::new();
        for kind in ["places", "limit", "pause"] {
            let mut cursor = None;
            loop {
                let (keys, next) = self.reader.scan(&self.keys.pattern(kind), cursor, 1000).await?;
                for (shard, slug) in keys.iter().filter_map(|key| self.keys.parts(kind, key)) {
                    if is_slug(slug) {
                        found.insert((slug.to_owned(), shard));
                    }
                }
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        let mut connectors = Vec::new();
        for (slug, shard) in found {
            connectors.push(self.connector(ConnectorName { shard, slug: &slug }).await?);
        }
        Ok(connectors)
    }

    /// One connector, whose [name](super::Names::connector) tells its shard. Of one without a cap
    /// and a pause nothing is kept.
    pub async fn connector(&self, name: ConnectorName<'_>) -> Result<ConnectorView, StoreError> {
        const VERB: &str = "connector";
        let now_ms = self.now_ms().await?;
        let mut pause = cmd("HMGET");
        pause.arg(self.keys.pause(name)).arg(&PAUSE);
        let pause = self.unless_damaged(VERB, &pause).await?.unwrap_or(Value::Nil);
        let pause: Vec<Option<Vec<u8>>> = from_redis_value(pause).unwrap_or_default();
        let fields: HashMap<_, _> =
            PAUSE.into_iter().zip(pause).filter_map(|(name, value)| Some((name, value?))).collect();
        let fields = Fields(fields);
        let mut places = cmd("ZCOUNT");
        places.arg(self.keys.places(name)).arg(now_ms).arg("+inf");
        let places = self.unless_damaged(VERB, &places).await?.unwrap_or(Value::Nil);
        let mut limit = cmd("ZRANGE");
        limit.arg(self.keys.limit(name)).arg(0).arg(9).arg("WITHSCORES");
        let limit = self.unless_damaged(VERB, &limit).await?.unwrap_or(Value::Nil);
        let limit: HashMap<Vec<u8>, f64> = from_redis_value(limit).unwrap_or_default();
        let later = |word: &[u8]| limit.get(word).map(|at| whole(*at)).filter(|at| *at > now_ms);
        Ok(ConnectorView {
            slug: name.slug.to_owned(),
            shard: name.shard.to_string(),
            paused: fields.has("until_at"),
            reason: fields.text("reason"),
            since_ms: fields.number("since_at"),
            until_ms: fields.number("until_at"),
            times: fields.number("times"),
            probing_until_ms: fields.number("probe_ends_at").filter(|ends| *ends > now_ms),
            places: from_redis_value(places).unwrap_or(0),
            busy_until_ms: later(b"next"),
            line_until_ms: later(b"line"),
        })
    }

    /// The shard that a connector's records are in, found without the naming key: by a walk.
    pub async fn find_connector(&self, slug: &str) -> Result<Option<Shard>, StoreError> {
        let found = self.connectors().await?.into_iter().find(|found| found.slug == slug);
        Ok(found.and_then(|found| Shard::from_hex(&found.shard)))
    }
}

pub(super) fn is_slug(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(fits)
}
