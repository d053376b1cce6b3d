//! One step about events, asked of one store. Events are told apart by what they say: their ids
//! differ between stores, so a step names one by its place in the history.

use vestibule::store::{
    Actor, Event, EventId, EventKind, HistoryPage, NewEvent, OutboxGroup, OutboxRead, ReadHistory,
    ReadOutbox, Shard, Store, StoreError, Subject,
};

use super::{
    ask::{Answer, SHARD, connection, owner, request},
    step_event::EventStep,
};

pub(super) async fn ask(
    store: &dyn Store,
    at: usize,
    step: &EventStep,
) -> Result<Answer, StoreError> {
    let shard = Shard::new(SHARD);
    Ok(match step {
        EventStep::Append { of, request: by } => {
            let id = connection(*of);
            let event = NewEvent {
                kind: [EventKind::NeedsReauth, EventKind::Recovered][usize::from(*of)],
                subject: Subject::Connection,
                subject_id: id.as_str(),
                name: "github",
                owner: (*of == 0).then(|| owner(*of)),
                actor: Actor::BackgroundRefresh,
                idp_host: "github.com",
                detail: &format!("reason=told\n at={at}"),
            };
            store.append_event(shard, event, request(*by)).await?;
            Answer::new("append")
        }
        EventStep::Open { group: of } => {
            store.open_outbox(&group(*of)).await?;
            Answer::new("open")
        }
        EventStep::Close { group: of } => {
            store.close_outbox(&group(*of)).await?;
            Answer::new("close")
        }
        EventStep::Read { group: of, consumer, idle, count, after } => {
            let group = &group(*of);
            let consumer = ["one", "two", "three"][usize::from(*consumer)];
            let after = named(store, *after).await?;
            let (request, count, idle) = (request(0), *count, *idle);
            let read = ReadOutbox { shard, group, consumer, request, after, count, idle };
            match store.read_outbox(read).await? {
                OutboxRead::Page(page) if page.events.is_empty() => {
                    Answer::new("outbox nothing").detail(format!("{} {:?}", page.lost, page.next))
                }
                OutboxRead::Page(page) => Answer::new("outbox page").detail(format!(
                    "{:?} {} {}",
                    said(&page.events),
                    page.lost,
                    page.next.is_some()
                )),
                OutboxRead::Held { remaining } => Answer::new("outbox held").span(remaining),
                OutboxRead::Closed => Answer::new("outbox closed"),
            }
        }
        EventStep::Ack { group: of, which } => {
            let mut ids = Vec::new();
            for which in which {
                ids.extend(named(store, Some(*which)).await?);
            }
            let held = store.ack_outbox(shard, &group(*of), &ids).await?;
            Answer::new(format!("ack {held}"))
        }
        EventStep::Trim { most } => {
            let counted = store.count_acknowledged(shard).await?;
            let removed = store.trim_outbox(shard, *most).await?;
            let some = if removed == 0 { "nothing" } else { "some" };
            Answer::new(format!("trim outbox {some}")).detail(format!("{removed} of {counted}"))
        }
        EventStep::Lags => {
            let lags = store.outbox_lags(shard).await?;
            Answer::new(format!("lags {}", lags.len())).detail(format!("{lags:?}"))
        }
        EventStep::Backlog => {
            let backlog = store.outbox_backlog().await?;
            Answer::new("outbox backlog").detail(format!("{backlog:?}"))
        }
        EventStep::History { limit, before, since } => {
            let before = named(store, *before).await?;
            let age_ms = since.map(|age| age.as_millis() as u64);
            let since_ms = age_ms.map_or(0, |age| store.now_ms().saturating_sub(age));
            let page = history(store, *limit, before, since_ms).await?;
            let more = if page.next.is_some() { "page" } else { "whole" };
            let first = page.events.first().map(|event| event.at_ms);
            Answer::new(format!("history {more}"))
                .detail(format!("{:?}", said(&page.events)))
                .time(" first", first, store)
        }
        EventStep::TrimHistory { age, most } => {
            let counted = store.count_history(shard, *age).await?;
            let gone = store.trim_history(shard, *age, *most).await?;
            Answer::new("trim history").detail(format!("{gone} of {counted}"))
        }
    })
}

/// The newest but so many.
async fn named(store: &dyn Store, nth: Option<usize>) -> Result<Option<EventId>, StoreError> {
    let Some(nth) = nth else { return Ok(None) };
    let page = history(store, 1000, None, 0).await?;
    Ok(page.events.get(nth).map(|event| event.id))
}

async fn history(
    store: &dyn Store,
    limit: u16,
    before: Option<EventId>,
    since_ms: u64,
) -> Result<HistoryPage, StoreError> {
    store.read_history(ReadHistory { shard: Shard::new(SHARD), before, since_ms, limit }).await
}

/// All but ids and times.
fn said(events: &[Event]) -> Vec<String> {
    let timeless = |word: &str| match word.split_once('=') {
        Some((name, value)) if value.len() == 13 && value.parse::<u64>().is_ok() => {
            format!("{name}=time")
        }
        _ => word.to_owned(),
    };
    let words = |event: &Event| {
        let Event { kind, subject, subject_id, name, owner, actor, idp_host, detail, .. } = event;
        let detail = detail.split(' ').map(timeless).collect::<Vec<_>>().join(" ");
        format!("{kind:?} {subject:?} {subject_id} {name} {owner:?} {actor:?} {idp_host} {detail}")
    };
    events.iter().map(words).collect()
}

fn group(number: u8) -> OutboxGroup {
    OutboxGroup::new(["log", "webhook"][usize::from(number)]).unwrap()
}
