//! Caps and pauses, on Redis: three small records beside each other, for each connector.

use std::time::Duration;

use async_trait::async_trait;
use redis::{cmd, from_redis_value};

use super::{RedisStore, reply, scripts, scripts::Arg};
use crate::{
    digest::Digest,
    store::{
        By, ConnectorName, GRACE, LimitStore, Pause, PauseRow, Paused, Release, Reserve, Reserved,
        Resumed, StoreError, millis,
    },
};

#[async_trait]
impl LimitStore for RedisStore {
    async fn reserve(&self, reserve: Reserve<'_>) -> Result<Reserved, StoreError> {
        let keys = self.limit_keys(reserve.connector);
        let holder = reserve.holder.to_hex();
        let (burst, apart_us) = reserve.caps.pace().unwrap_or((1, 0));
        let argv = [
            Arg::Bytes(holder.as_bytes()),
            Arg::Number(reserve.lease_ms()),
            Arg::Number(apart_us),
            Arg::Number(burst.into()),
            Arg::Number(reserve.caps.at_once.map_or(0, |at_once| at_once.get().into())),
            Arg::Number(Reserve::USUAL_US),
            Arg::Number(reserve.horizon_ms()),
        ];
        let keys = [&*keys[0], &*keys[1], &*keys[2]];
        let reply = self.run_script(&scripts::LIMIT_RESERVE, keys, argv, holder.as_bytes()).await?;
        Ok(match reply.word() {
            "go" => Reserved::Go { probe: reply.part::<u8>(0)? == 1 },
            "later" => Reserved::Later(Duration::from_millis(reply.part(0)?)),
            "paused" => Reserved::Paused {
                remaining: Duration::from_millis(reply.part(0)?),
                reason: reply.part(1)?,
            },
            _ => return Err(reply.unknown_word()),
        })
    }

    async fn release(&self, release: Release<'_>) -> Result<(), StoreError> {
        let keys = self.limit_keys(release.connector);
        let holder = release.holder.to_hex();
        let apart_us = release.caps.pace().filter(|_| !release.made).map_or(0, |pace| pace.1);
        let argv = [
            Arg::Bytes(holder.as_bytes()),
            Arg::Number(apart_us),
            Arg::Number((!release.made).into()),
        ];
        let keys = [&*keys[0], &*keys[1], &*keys[2]];
        let reply = self.run_script(&scripts::LIMIT_RELEASE, keys, argv, holder.as_bytes()).await?;
        match reply.word() {
            "released" | "left" => Ok(()),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn pause_connector(&self, pause: Pause<'_>) -> Result<Paused, StoreError> {
        let keys = self.pause_keys(pause.connector);
        let request = pause.request.to_hex();
        let (first, longest) = pause.spans_ms();
        let argv = [
            Arg::Bytes(request.as_bytes()),
            Arg::Bytes(pause.reason.as_bytes()),
            Arg::Number(first),
            Arg::Number(longest),
            Arg::Number(millis(Pause::KEPT)),
            Arg::Bytes(pause.connector.slug.as_bytes()),
            Arg::Bytes(pause.by.actor.as_str().as_bytes()),
            Arg::Bytes(pause.by.idp_host.as_bytes()),
        ];
        let (verb, keys) = (&scripts::LIMIT_PAUSE, [&*keys[0], &*keys[1], &*keys[2]]);
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        let remaining = Duration::from_millis(reply.part(0)?);
        match reply.word() {
            "paused" => Ok(Paused::Paused { remaining }),
            "again" => Ok(Paused::Again { remaining }),
            "still" => Ok(Paused::Still { remaining }),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn resume_connector(
        &self,
        connector: ConnectorName<'_>,
        request: Digest,
        by: By<'_>,
    ) -> Result<Resumed, StoreError> {
        let (keys, request) = (self.pause_keys(connector), request.to_hex());
        let argv = [
            Arg::Bytes(request.as_bytes()),
            Arg::Number(millis(GRACE)),
            Arg::Bytes(connector.slug.as_bytes()),
            Arg::Bytes(by.actor.as_str().as_bytes()),
            Arg::Bytes(by.idp_host.as_bytes()),
        ];
        let (verb, keys) = (&scripts::LIMIT_RESUME, [&*keys[0], &*keys[1], &*keys[2]]);
        let reply = self.run_script(verb, keys, argv, request.as_bytes()).await?;
        match reply.word() {
            "resumed" => Ok(Resumed::Resumed),
            "running" => Ok(Resumed::Running),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn read_pause(
        &self,
        connector: ConnectorName<'_>,
    ) -> Result<Option<PauseRow>, StoreError> {
        let verb = "read_pause";
        let key = self.keys.pause(connector);
        let mut command = cmd("HMGET");
        command.arg(&key).arg(&["reason", "since_at", "until_at", "times"]);
        let found = self.read(verb, &command).await?;
        let fields: (Option<String>, Option<String>, Option<String>, Option<String>) =
            from_redis_value(found).map_err(|_| reply::unreadable(verb))?;
        let (reason, since, Some(until), times) = fields else { return Ok(None) };
        // For people: what is damaged reads as nothing, and heals at the next pause.
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        Ok(Some(PauseRow {
            reason: reason.unwrap_or_default(),
            since_ms: number(since).unwrap_or(0),
            until_ms: number(Some(until)).unwrap_or(0),
            times: times.and_then(|text| text.parse().ok()).unwrap_or(1),
        }))
    }
}

impl RedisStore {
    fn limit_keys(&self, connector: ConnectorName<'_>) -> [String; 3] {
        [self.keys.places(connector), self.keys.limit(connector), self.keys.pause(connector)]
    }

    fn pause_keys(&self, connector: ConnectorName<'_>) -> [String; 3] {
        let [outbox, history] = self.keys.events(connector.shard);
        [self.keys.pause(connector), outbox, history]
    }
}
