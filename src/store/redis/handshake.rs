//! What a new connection must show before any verb runs on it.
//!
//! The server is recent enough, does not evict, and holds records of this layout under this naming
//! key. Checked on every connect: after a reconnect it may be another server.

use redis::{Cmd, Value, aio::ConnectionLike, cmd, from_redis_value};

use super::{eviction, fault::Fault, link::Link};
use crate::{
    digest::NamingKey,
    store::{Class, Shard},
};

/// The layout that this version reads and writes.
const LAYOUT: u32 = 1;

#[derive(Debug)]
pub(super) struct Handshake {
    meta_key: String,
    /// What the meta key must hold.
    meta: String,
}

/// What the meta key says of the layout.
pub(super) fn layout() -> String {
    format!("v{LAYOUT} shards={}", Shard::COUNT)
}

impl Handshake {
    pub(super) fn new(meta_key: String, naming: &NamingKey) -> Self {
        let meta = format!("{} naming={}", layout(), naming.check());
        Self { meta_key, meta }
    }

    /// Returns the server's time in ms since 1970.
    pub(super) async fn shake(&self, link: &mut Link) -> Result<u64, Fault> {
        version(link).await?;
        evicts(link).await?;
        self.meta(link).await?;
        let (seconds, micros): (u64, u64) =
            parse(ask(link, &cmd("TIME")).await.map_err(|error| Fault::of(&error))?)?;
        Ok(seconds * 1000 + micros / 1000)
    }

    /// One command both claims an empty database and reads a used one.
    async fn meta(&self, link: &mut Link) -> Result<(), Fault> {
        let mut claim = cmd("SET");
        claim.arg(&self.meta_key).arg(&self.meta).arg("NX").arg("GET");
        let found: Option<Vec<u8>> = match ask(link, &claim).await.map_err(|e| Fault::of(&e)) {
            // Full: in a database that is known, what is under way can still be finished.
            Err(fault) if fault.class == Class::Resource => {
                let known = ask(link, cmd("GET").arg(&self.meta_key)).await;
                Some(parse::<Option<_>>(known.map_err(|e| Fault::of(&e))?)?.ok_or(fault)?)
            }
            found => parse(found?)?,
        };
        let Some(found) = found else { return Ok(()) };
        let found = String::from_utf8_lossy(&found);
        if found == self.meta {
            return Ok(());
        }
        let same_layout = found.split(" naming=").next() == self.meta.split(" naming=").next();
        Err(if same_layout {
            Fault::operator(
                "the naming key is not the one that this database was made with",
                "use the key file that made it, or another prefix or database",
            )
        } else {
            Fault::operator(
                "this database has another layout version",
                "use the library version that made it, or another prefix or database",
            )
        })
    }
}

async fn version(link: &mut Link) -> Result<(), Fault> {
    let hello = ask(link, &cmd("HELLO")).await.map_err(|error| {
        let fault = Fault::of(&error);
        if fault.cause.contains("unknown command") {
            Fault::wrong_version("5 or older")
        } else {
            fault
        }
    })?;
    let fields: std::collections::HashMap<String, Value> = parse(hello)?;
    let version: String =
        fields.get("version").cloned().map(parse).transpose()?.unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= 7) { Ok(()) } else { Err(Fault::wrong_version(&version)) }
}

async fn evicts(link: &mut Link) -> Result<(), Fault> {
    match ask(link, &eviction::info()).await {
        Ok(found) => eviction::judge(&eviction::texts(found)),
        Err(error) => {
            let fault = Fault::of(&error);
            if fault.class != Class::Operator {
                return Err(fault);
            }
            tracing::warn!("INFO is not allowed to this user: cannot check the eviction policy");
            Ok(())
        }
    }
}

async fn ask(link: &mut Link, command: &Cmd) -> redis::RedisResult<Value> {
    link.req_packed_command(command).await.and_then(Value::extract_error)
}

fn parse<T: redis::FromRedisValue>(value: Value) -> Result<T, Fault> {
    from_redis_value(value).map_err(|_| Fault::ambiguous("the reply cannot be read"))
}
