//! What is wrong from outside: a typed error in time that says what to do; nothing is lost,
//! nothing panics, and no message has a secret in it.

mod clocks;
mod damaged;
mod fields;
mod hostile;
mod moved;
mod unusable;

use std::{error::Error, sync::Arc, time::Duration};

use redis::{AsyncCommands, FromRedisValue, ToRedisArgs, aio::MultiplexedConnection};
use vestibule::{
    Keys, Vestibule,
    connection::{AccessToken, Connections, RefreshToken, ReplayPolicy, TokenAnswer},
    pkce::{OauthState, PkceState, PkceStates, PkceVerifier},
    seal::Seal,
    store::{ConnectionId, redis::RedisStore},
};

use crate::support::{
    logs::{self, Logs},
    provider::{Scripted, connections_at, connector},
    server,
    stores::{self, fresh_prefix},
};

/// In every secret of these tests, and in no error and no log line.
const CANARY: &str = "canary-0b57ac1e";

/// A store of its own on the shared server, and everything that is traced.
struct Scene {
    prefix: String,
    keys: Keys,
    store: Arc<RedisStore>,
    raw: MultiplexedConnection,
    logs: &'static Logs,
}

impl Scene {
    async fn new() -> Self {
        let (logs, server, prefix) = (logs::capture(), server::shared().await, fresh_prefix());
        tracing::trace!(prefix, "the capture works");
        let store = stores::store(server, &prefix).await;
        // The records of one test share their names whatever ring seals them.
        Self { prefix, keys: Keys::random(), store, raw: server.raw().await, logs }
    }

    fn vestibule(&self, seal: Seal) -> Vestibule {
        Vestibule::assemble(self.store.clone(), seal, &self.keys)
    }

    fn seal(&self) -> Seal {
        Seal::new(self.keys.ring.clone())
    }

    fn states(&self) -> PkceStates {
        self.vestibule(self.seal()).pkce()
    }

    fn connections(&self) -> Connections {
        connections(&self.vestibule(self.seal()))
    }

    /// A state that is there, and the key of its record.
    async fn live(&mut self, states: &PkceStates) -> (OauthState, String) {
        let before = self.keys_of("pkce").await;
        let state = secret_state();
        states.put(&state, &record()).await.unwrap();
        let mut new = self.keys_of("pkce").await;
        new.retain(|key| !before.contains(key));
        assert_eq!(new.len(), 1, "{new:?}");
        (state, new.remove(0))
    }

    /// A connection of [`OWNER`] that is served warm, and its key.
    async fn credential(&self, connections: &Connections) -> (ConnectionId, String) {
        let id = connections.store(OWNER, "demo", None, &answer()).await.unwrap();
        let key = self.connection_key(&id);
        (id, key)
    }

    fn connection_key(&self, id: &ConnectionId) -> String {
        format!("{}:{{{}}}:conn:{id}", self.prefix, id.shard())
    }

    async fn keys_of(&mut self, kind: &str) -> Vec<String> {
        self.raw.keys(format!("{}:*:{kind}:*", self.prefix)).await.unwrap()
    }

    /// All of a key but its life, or nothing.
    async fn dump(&mut self, key: &str) -> Option<Vec<u8>> {
        self.raw_ask("DUMP", key).await
    }

    async fn raw_ask<T: FromRedisValue>(&mut self, command: &str, args: impl ToRedisArgs) -> T {
        redis::cmd(command).arg(args).query_async(&mut self.raw).await.unwrap()
    }

    /// Puts back what [`Scene::dump`] gave, for another ten minutes.
    async fn restore(&mut self, key: &str, dump: &[u8]) {
        let mut restore = redis::cmd("RESTORE");
        restore.arg(key).arg(660_000).arg(dump).arg("REPLACE");
        restore.query_async::<()>(&mut self.raw).await.unwrap();
    }

    /// No secret went into the log.
    fn nothing_leaked(&self) {
        let text = self.logs.text();
        assert!(text.contains(&self.prefix), "nothing was traced at all");
        if let Some(line) = text.lines().find(|line| line.contains(CANARY)) {
            panic!("a secret was traced: {line}");
        }
    }
}

const OWNER: &str = "alice-canary-0b57ac1e";

fn secret_state() -> OauthState {
    OauthState::new(format!("{CANARY}-{}", OauthState::random().secret()))
}

fn record() -> PkceState {
    let mut record = PkceState::new("github", PkceVerifier::new(format!("{CANARY}-verifier")));
    record.started_by = OWNER.to_owned();
    record.session = format!("{CANARY}-session");
    record
}

fn answer() -> TokenAnswer {
    TokenAnswer {
        access_token: AccessToken::new(format!("{CANARY}-access")),
        refresh_token: Some(RefreshToken::new(format!("{CANARY}-refresh"))),
        expires_in: Some(Duration::from_secs(3600)),
        scope: None,
        refresh_expires_in: None,
    }
}

fn connections(vestibule: &Vestibule) -> Connections {
    connections_at(&Scripted::nobody(), vestibule, [connector("demo", ReplayPolicy::Strict)])
}

/// The message, of which neither form may have a secret in it, nor those of its causes.
fn message(error: &(dyn Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(error) = cause {
        for text in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
            assert!(!text.contains(CANARY), "a secret in {text}");
            assert!(!text.contains('\n') || text.starts_with(char::is_uppercase), "{text}");
        }
        cause = error.source();
    }
    error.to_string()
}
