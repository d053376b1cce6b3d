//! Pendings, temp tokens and PKCE states: their heads, and the line for people.

use redis::{Value, cmd, from_redis_value};

use super::{Cursor, Inspector, OneShotView, OutcomeView, Page, printable::printable};
use crate::{
    digest::Digest,
    store::{
        Class, GRACE, Kind, PendingId, RecordName, Shard, StoreError, TokenId, millis,
        redis::record,
    },
};

/// Head, line for people and digests fit in so many bytes.
const READ: usize = 320;

impl Inspector {
    /// The pendings of all namespaces: those that live, and those that ended less than a minute ago.
    pub async fn pendings(
        &self,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> Result<Page<OneShotView>, StoreError> {
        let read = async |key: String, now_ms| {
            let id =
                self.keys.parts("pending", &key).and_then(|(_, id)| id.parse::<PendingId>().ok());
            let Some(id) = id else { return Ok(None) };
            self.one_shot(id.to_string(), key, now_ms).await
        };
        self.walk("pending", cursor, limit, read).await
    }

    /// The live pendings of a namespace, by the time of their end: up to `limit`.
    pub async fn pendings_of(
        &self,
        namespace: Digest,
        limit: u16,
    ) -> Result<Page<OneShotView>, StoreError> {
        let now_ms = self.now_ms().await?;
        let index = self.keys.pendings(Shard::new(namespace.as_bytes()[0]), namespace);
        let mut rows = Vec::new();
        for id in self.members(&index, now_ms, limit).await? {
            let Ok(id) = id.parse::<PendingId>() else { continue };
            rows.extend(self.one_shot(id.to_string(), self.keys.pending(id), now_ms).await?);
        }
        Ok(Page { rows, next: None, now_ms })
    }

    /// One pending; `None` if there is none, and none that ended within a minute.
    pub async fn pending(&self, id: PendingId) -> Result<Option<OneShotView>, StoreError> {
        let now_ms = self.now_ms().await?;
        self.one_shot(id.to_string(), self.keys.pending(id), now_ms).await
    }

    /// How a pending ended; `None` if it did not, or long ago.
    pub async fn outcome(&self, id: PendingId) -> Result<Option<OutcomeView>, StoreError> {
        const VERB: &str = "outcome";
        let mut command = cmd("GETRANGE");
        command.arg(self.keys.outcome(id)).arg(0).arg(80);
        let Some(Value::BulkString(bytes)) = self.unless_damaged(VERB, &command).await? else {
            return Ok(None);
        };
        Ok(record::read_outcome(&bytes).map(|outcome| OutcomeView {
            how: outcome.how.as_str().to_owned(),
            at_ms: outcome.at_ms,
            by: printable(outcome.by.as_bytes()),
        }))
    }

    /// The temp tokens that are in an index: those that live, and those that expired less than a
    /// minute ago. Of one resource a thousand at the most.
    pub async fn tokens(
        &self,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> Result<Page<OneShotView>, StoreError> {
        let read = async |key: String, now_ms| {
            let index = self.keys.parts("tokens", &key).and_then(|(_, hex)| Digest::from_hex(hex));
            match index {
                Some(index) => self.tokens_in(index, now_ms, 1000).await.map(Some),
                None => Ok(None),
            }
        };
        let Page { rows, next, now_ms } = self.walk("tokens", cursor, limit, read).await?;
        Ok(Page { rows: rows.into_iter().flatten().collect(), next, now_ms })
    }

    /// The live temp tokens of a scope and a resource, by the time of their end: up to `limit`.
    pub async fn tokens_of(
        &self,
        index: Digest,
        limit: u16,
    ) -> Result<Page<OneShotView>, StoreError> {
        let now_ms = self.now_ms().await?;
        Ok(Page { rows: self.tokens_in(index, now_ms, limit).await?, next: None, now_ms })
    }

    async fn tokens_in(
        &self,
        index: Digest,
        now_ms: u64,
        limit: u16,
    ) -> Result<Vec<OneShotView>, StoreError> {
        let key = self.keys.tokens(Shard::new(index.as_bytes()[0]), index);
        let from = now_ms.saturating_sub(millis(GRACE));
        let mut rows = Vec::new();
        for digest in self.members(&key, from, limit).await? {
            let Some(digest) = Digest::from_hex(&digest) else { continue };
            let id = TokenId::new(index, digest);
            rows.extend(self.one_shot(id.to_string(), self.keys.token(id), now_ms).await?);
        }
        Ok(rows)
    }

    /// One temp token; `None` if it never was, or is long gone.
    pub async fn token(&self, id: TokenId) -> Result<Option<OneShotView>, StoreError> {
        let now_ms = self.now_ms().await?;
        let Some(mut row) = self.one_shot(id.to_string(), self.keys.token(id), now_ms).await?
        else {
            return Ok(None);
        };
        let mut score = cmd("ZSCORE");
        score.arg(self.keys.tokens(id.shard(), id.index())).arg(id.digest().to_hex());
        let member = self.unless_damaged("token", &score).await?;
        if row.state == "live" && member.is_none_or(|score| score == Value::Nil) {
            "dropped".clone_into(&mut row.state);
            row.left_ms = 0;
        }
        Ok(Some(row))
    }

    /// The PKCE states: those that live, and those that were taken less than a minute ago.
    pub async fn states(
        &self,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> Result<Page<OneShotView>, StoreError> {
        let read = async |key: String, now_ms| {
            let digest = self.keys.parts("pkce", &key).and_then(|(_, hex)| Digest::from_hex(hex));
            let Some(digest) = digest else { return Ok(None) };
            self.one_shot(digest.to_hex(), key, now_ms).await
        };
        self.walk("pkce", cursor, limit, read).await
    }

    /// One PKCE state, by its digest; `None` if it never was, or is long gone.
    pub async fn state(&self, digest: Digest) -> Result<Option<OneShotView>, StoreError> {
        let now_ms = self.now_ms().await?;
        let key = self.keys.one_shot(&RecordName::alone(Kind::Pkce, digest));
        self.one_shot(digest.to_hex(), key, now_ms).await
    }

    /// What the members of an index are called that end after `from_ms`.
    async fn members(
        &self,
        index: &str,
        from_ms: u64,
        limit: u16,
    ) -> Result<Vec<String>, StoreError> {
        let mut page = cmd("ZRANGEBYSCORE");
        page.arg(index).arg(from_ms).arg("+inf").arg("LIMIT").arg(0).arg(limit.clamp(1, 1000));
        let Some(found) = self.unless_damaged("members", &page).await? else {
            return Ok(Vec::new());
        };
        let found: Vec<Vec<u8>> = from_redis_value(found).unwrap_or_default();
        Ok(found.into_iter().filter_map(|member| String::from_utf8(member).ok()).collect())
    }

    async fn one_shot(
        &self,
        id: String,
        key: String,
        now_ms: u64,
    ) -> Result<Option<OneShotView>, StoreError> {
        const VERB: &str = "one_shot";
        let mut range = cmd("GETRANGE");
        range.arg(&key).arg(0).arg(READ - 1);
        // The life first: what is seen of the record is not older than that.
        let life = self.reader.ask(VERB, cmd("PTTL").arg(&key)).await?;
        let life: i64 = from_redis_value(life).unwrap_or(-1);
        if life == -2 {
            return Ok(None);
        }
        let bytes = match self.unless_damaged(VERB, &range).await? {
            Some(Value::BulkString(bytes)) => bytes,
            _ => Vec::new(),
        };
        let gone_at_ms = u64::try_from(life).ok().map(|left| now_ms + left);
        let left_ms = u64::try_from(life).unwrap_or(0).saturating_sub(millis(GRACE));
        let mut row = OneShotView {
            id,
            key,
            state: "damaged".to_owned(),
            created_at_ms: None,
            ended_at_ms: None,
            left_ms: 0,
            gone_at_ms,
            bound: false,
            display: String::new(),
            subject: None,
        };
        let Some(head) = record::read_head(&bytes) else { return Ok(Some(row)) };
        row.state = match head.state {
            "live" if left_ms == 0 => "expired".to_owned(),
            state => printable(state.as_bytes()),
        };
        row.left_ms = if head.state == "live" { left_ms } else { 0 };
        row.created_at_ms = head.created_ms;
        row.ended_at_ms = head.taken_ms;
        row.display = printable(head.display);
        row.subject = head.subject;
        row.bound = head.subject.is_some();
        Ok(Some(row))
    }

    /// `None` where the key is of another type than its name says.
    pub(super) async fn unless_damaged(
        &self,
        verb: &'static str,
        command: &redis::Cmd,
    ) -> Result<Option<Value>, StoreError> {
        match self.reader.ask(verb, command).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.class() == Class::Corrupt => Ok(None),
            Err(error) => Err(error),
        }
    }
}
