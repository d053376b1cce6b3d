//! The wrong store's events, with one mistake each as well.

use std::time::Duration;

use vestibule::{
    Digest,
    store::{
        EventId, EventStore, HistoryPage, NewEvent, OutboxGroup, OutboxRead, ReadHistory,
        ReadOutbox, Shard, StoreError, TrimmedOutbox,
    },
};

use super::wrong::{Wrong, WrongStore};

/// The mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongEvent {
    AppendForgetsItsRetry,
    AppendForgetsTheOutbox,
    ReadIsForAnyConsumer,
    ReadTakesNothingOver,
    ReadForgetsWhatIsHeld,
    AckDoesNothing,
    TrimDoesNothing,
    OpenForgetsWhatIsKept,
    HistoryForgetsTheAge,
}

impl WrongEvent {
    pub(super) const ALL: [Self; 9] = [
        Self::AppendForgetsItsRetry,
        Self::AppendForgetsTheOutbox,
        Self::ReadIsForAnyConsumer,
        Self::ReadTakesNothingOver,
        Self::ReadForgetsWhatIsHeld,
        Self::AckDoesNothing,
        Self::TrimDoesNothing,
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
        if self.tells_with(WrongEvent::AppendForgetsTheOutbox) {
            return Ok(());
        }
        let forgets = Wrong::Event(WrongEvent::AppendForgetsItsRetry);
        self.inner.append_event(shard, event, self.fresh_if(forgets, request)).await
    }

    async fn read_history(&self, page: ReadHistory) -> Result<HistoryPage, StoreError> {
        self.inner.read_history(page).await
    }

    async fn trim_history(&self, shard: Shard, mut age: Duration) -> Result<u64, StoreError> {
        if self.tells_with(WrongEvent::HistoryForgetsTheAge) {
            age = Duration::ZERO;
        }
        self.inner.trim_history(shard, age).await
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
        let held = self.inner.read_outbox(read).await?;
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

    async fn trim_outbox(&self, shard: Shard) -> Result<TrimmedOutbox, StoreError> {
        if self.tells_with(WrongEvent::TrimDoesNothing) {
            return Ok(TrimmedOutbox::default());
        }
        self.inner.trim_outbox(shard).await
    }
}
