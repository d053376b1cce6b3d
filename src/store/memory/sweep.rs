//! What the scripts in `lua/sweep` must do.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;

use super::{MemoryStore, after};
use crate::{
    digest::Digest,
    store::{BeginTurn, EndTurn, Shard, StoreError, SweepName, SweepStore, Turn, TurnEnd, millis},
};

#[async_trait]
impl SweepStore for MemoryStore {
    async fn begin_turn(&self, begin: BeginTurn) -> Result<Turn, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.turns.at(begin.shard, begin.sweep).begin(&begin, now))
    }

    async fn end_turn(&self, end: EndTurn<'_>) -> Result<TurnEnd, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.turns.at(end.shard, end.sweep).end(&end, now))
    }
}

/// By shard and sweep: no more than there are of these.
#[derive(Default)]
pub(super) struct Turns(HashMap<(Shard, SweepName), Kept>);

/// What is known of a shard's turns.
#[derive(Default)]
struct Kept {
    holder: Option<(Digest, u64)>,
    /// Of a round that is not over.
    cursor: Option<String>,
    /// When the last round was over.
    last_at: Option<u64>,
    /// The receipt.
    ended: Option<Digest>,
}

impl Turns {
    fn at(&mut self, shard: Shard, sweep: SweepName) -> &mut Kept {
        self.0.entry((shard, sweep)).or_default()
    }
}

impl Kept {
    fn begin(&mut self, begin: &BeginTurn, now: u64) -> Turn {
        let cursor = || self.cursor.clone().unwrap_or_default();
        match self.holder {
            Some((holder, ends_at)) if ends_at > now && holder == begin.request => {
                return Turn::Begun { cursor: cursor() };
            }
            Some((_, ends_at)) if ends_at > now => {
                return Turn::Held { remaining: Duration::from_millis(ends_at - now) };
            }
            _ => {}
        }
        let within = millis(begin.not_within);
        if let (None, Some(last_at)) = (&self.cursor, self.last_at)
            && now - last_at < within
        {
            return Turn::Recent { remaining: Duration::from_millis(within - (now - last_at)) };
        }
        self.holder = Some((begin.request, after(now, begin.lease)));
        Turn::Begun { cursor: self.cursor.get_or_insert_default().clone() }
    }

    fn end(&mut self, end: &EndTurn<'_>, now: u64) -> TurnEnd {
        if self.ended == Some(end.request) {
            return TurnEnd::Ended;
        }
        if self.holder.is_none_or(|(holder, _)| holder != end.request) {
            return TurnEnd::Lost;
        }
        self.holder = None;
        self.ended = Some(end.request);
        self.cursor = end.cursor.map(str::to_owned);
        if self.cursor.is_none() {
            self.last_at = Some(now);
        }
        TurnEnd::Ended
    }
}
