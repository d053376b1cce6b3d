//! The wrong store's events, with one mistake each as well.

use std::time::Duration;

use vestibule::{
    Digest, RequestId,
    store::{
        EventId, EventStore, HistoryPage, NewEvent, OutboxGroup, OutboxRead, ReadHistory,
        ReadOutbox, Shard, StoreError, TrimStore,
    },
};

use super::wrong::{Wrong, WrongStore};

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongEvent {
    AppendForgetsItsRetry,
    AppendDoesNothing,
    AppendForgetsTheOutbox,
    ReadIsForAnyConsumer,
    ReadTakesNothingOver,
    ReadForgetsWhatIsHeld,
    AckDoesNothing,
    TrimDoesNothing,
    TrimTakesAllAtOnce,
    TrimTakesWhatIsNotTold,
    LagsForgetAReceiver,
    OpenForgetsWhatIsKept,
    HistoryForgetsTheAge,
}

impl WrongEvent {
    pub(super) const ALL: [Self; 13] = [
        Self::AppendForgetsItsRetry,
        Self::AppendDoesNothing,
        Self::AppendForgetsTheOutbox,
        Self::ReadIsForAnyConsumer,
        Self::ReadTakesNothingOver,
        Self::ReadForgetsWhatIsHeld,
        Self::AckDoesNothing,
        Self::TrimDoesNothing,
        Self::TrimTakesAllAtOnce,
        Self::TrimTakesWhatIsNotTold,
        Self::LagsForgetAReceiver,
        Self::OpenForgetsWhatIsKept,
        Self::HistoryForgetsTheAge,
    ];
}

impl WrongStore {
    fn tells_with(&self, wrong: WrongEvent) -> bool {
        self.how == Wrong::Event(wrong)
    }
}

#[async_trait::async_trait]
impl EventStore for WrongStore {
    async fn append_event(
        &self,
        shard: Shard,
        event: NewEvent<'_>,
        request: Digest,
    ) -> Result<(), StoreError> {
        if self.tells_with(WrongEvent::AppendDoesNothing) {
            return Ok(());
        }
        let forgets = Wrong::Event(WrongEvent::AppendForgetsItsRetry);
        self.inner.append_event(shard, event, self.fresh_if(forgets, request)).await?;
        if self.tells_with(WrongEvent::AppendForgetsTheOutbox) {
            let newest = ReadHistory { shard, before: None, since_ms: 0, limit: 1 };
            let history = self.inner.read_history(newest).await?;
            self.untold.lock().unwrap().extend(history.events.iter().map(|event| event.id));
        }
        Ok(())
    }

    async fn read_history(&self, page: ReadHistory) -> Result<HistoryPage, StoreError> {
        self.inner.read_history(page).await
    }

    async fn open_outbox(&self, group: &OutboxGroup) -> Result<(), StoreError> {
        if self.tells_with(WrongEvent::OpenForgetsWhatIsKept) {
            self.inner.close_outbox(group).await?;
        }
        self.inner.open_outbox(group).await
    }

    async fn close_outbox(&self, group: &OutboxGroup) -> Result<(), StoreError> {
        self.inner.close_outbox(group).await
    }

    async fn outbox_backlog(&self) -> Result<Vec<(Shard, u64)>, StoreError> {
        self.inner.outbox_backlog().await
    }

    async fn read_outbox(&self, mut read: ReadOutbox<'_>) -> Result<OutboxRead, StoreError> {
        if self.tells_with(WrongEvent::ReadIsForAnyConsumer) {
            read.consumer = "anybody";
        }
        if self.tells_with(WrongEvent::ReadTakesNothingOver) {
            read.idle = Duration::from_secs(24 * 3600);
        }
        let mut held = self.inner.read_outbox(read).await?;
        if let OutboxRead::Page(page) = &mut held {
            // It is in the history, and nobody is ever told.
            let untold = self.untold.lock().unwrap().clone();
            let lost: Vec<_> =
                page.events.extract_if(.., |event| untold.contains(&event.id)).collect();
            let ids: Vec<_> = lost.iter().map(|event| event.id).collect();
            self.inner.ack_outbox(read.shard, read.group, &ids).await?;
        }
        if self.tells_with(WrongEvent::ReadForgetsWhatIsHeld)
            && let OutboxRead::Page(page) = &held
        {
            let ids: Vec<_> = page.events.iter().map(|event| event.id).collect();
            self.inner.ack_outbox(read.shard, read.group, &ids).await?;
        }
        Ok(held)
    }

    async fn ack_outbox(
        &self,
        shard: Shard,
        group: &OutboxGroup,
        ids: &[EventId],
    ) -> Result<u64, StoreError> {
        if self.tells_with(WrongEvent::AckDoesNothing) {
            return Ok(ids.len() as u64);
        }
        self.inner.ack_outbox(shard, group, ids).await
    }
}

#[async_trait::async_trait]
impl TrimStore for WrongStore {
    async fn trim_outbox(&self, shard: Shard, mut most: u16) -> Result<u64, StoreError> {
        if self.tells_with(WrongEvent::TrimDoesNothing) {
            return Ok(0);
        }
        if self.tells_with(WrongEvent::TrimTakesAllAtOnce) {
            most = u16::MAX;
        }
        if self.tells_with(WrongEvent::TrimTakesWhatIsNotTold) {
            for (name, _) in self.inner.outbox_lags(shard).await? {
                self.acknowledge_all(shard, &OutboxGroup::new(name)?).await?;
            }
        }
        self.inner.trim_outbox(shard, most).await
    }

    async fn count_acknowledged(&self, shard: Shard) -> Result<u64, StoreError> {
        self.inner.count_acknowledged(shard).await
    }

    async fn outbox_lags(&self, shard: Shard) -> Result<Vec<(String, u64)>, StoreError> {
        let lags = self.inner.outbox_lags(shard).await?;
        if self.tells_with(WrongEvent::LagsForgetAReceiver) {
            return Ok(lags.into_iter().take(1).collect());
        }
        Ok(lags)
    }

    async fn trim_history(
        &self,
        shard: Shard,
        mut age: Duration,
        most: u16,
    ) -> Result<u64, StoreError> {
        if self.tells_with(WrongEvent::HistoryForgetsTheAge) {
            age = Duration::ZERO;
        }
        self.inner.trim_history(shard, age, most).await
    }

    async fn count_history(&self, shard: Shard, age: Duration) -> Result<u64, StoreError> {
        self.inner.count_history(shard, age).await
    }
}

impl WrongStore {
    async fn acknowledge_all(&self, shard: Shard, group: &OutboxGroup) -> Result<(), StoreError> {
        let read = ReadOutbox {
            shard,
            group,
            consumer: "nobody",
            request: RequestId::random().digest(),
            after: None,
            count: 100,
            idle: Duration::ZERO,
        };
        if let OutboxRead::Page(page) = self.inner.read_outbox(read).await? {
            let ids: Vec<_> = page.events.iter().map(|event| event.id).collect();
            self.inner.ack_outbox(shard, group, &ids).await?;
        }
        Ok(())
    }
}
