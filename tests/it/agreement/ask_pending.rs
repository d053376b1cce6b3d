//! One step about pendings, asked of one store.

use std::time::Duration;

use vestibule::{
    Digest,
    store::{
        Finish, Finished, NewPending, PageCursor, PendingId, PendingRow, PutPending, Replaced,
        Store, StoreError,
    },
};

use super::{
    ask::{Answer, SHARD, digest, request, text},
    step::apart,
    step_pending::{Id, PendingStep},
};

/// What a list has left behind its first page, in which namespace.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    namespace: u8,
    cursor: PageCursor,
}

pub(super) async fn ask(
    store: &dyn Store,
    at: usize,
    step: &PendingStep,
    rest: Option<Rest>,
) -> Result<Answer, StoreError> {
    match *step {
        PendingStep::Put { .. } => put(store, at, step).await,
        PendingStep::Replace { .. } => replace(store, at, step).await,
        PendingStep::Finish { .. } => finish(store, at, step).await,
        PendingStep::Read { id } => {
            let row = store.read_pending(pending(id)).await?;
            let answer = Answer::new(format!("pending {row:?}"));
            Ok(match row {
                PendingRow::Live { body, left } => answer.detail(text(&body)).span(left),
                _ => answer,
            })
        }
        PendingStep::Find { id, dedup: number } => {
            let found = store.find_pending(pending(id).namespace(), dedup(id, number)).await?;
            Ok(match found {
                Some(found) => Answer::new("find").detail(found.to_string()),
                None => Answer::new("find nothing"),
            })
        }
        PendingStep::Outcome { id } => Ok(match store.read_outcome(pending(id)).await? {
            Some(outcome) => Answer::new(format!("outcome {}", outcome.how.as_str()))
                .detail(format!("{} {}", outcome.by, text(&outcome.body)))
                .time(" at", Some(outcome.at_ms), store),
            None => Answer::new("outcome nothing"),
        }),
        PendingStep::List { namespace, limit } => list(store, namespace, limit).await,
        PendingStep::Resume { limit } => {
            let Some(Rest { namespace, cursor }) = rest else {
                return Ok(Answer::new("resume nowhere"));
            };
            let ids = pages(store, namespace, limit, Some(cursor)).await?.concat();
            let word = if ids.is_empty() { "nothing" } else { "some" };
            Ok(Answer::new(format!("resume {word}")).detail(format!("{ids:?}")))
        }
        PendingStep::Clear { namespace, request: by, limit } => {
            // A request is of one call, so of one namespace.
            let request = digest(b'c', by + 16 * namespace);
            let name = self::namespace(namespace);
            let cleared = store.clear_pendings(name, request, &instance(by), limit).await?;
            let more = if cleared.more { " and more" } else { "" };
            Ok(Answer::new(format!("clear {}{more}", cleared.ids.len()))
                .detail(format!("{:?}", cleared.ids)))
        }
        PendingStep::Note { id, waiter, life } => {
            store.note_waiter(pending(id), &instance(waiter), life + apart(at)).await?;
            Ok(Answer::new("note"))
        }
        PendingStep::Waiters { id } => {
            let mut waiters = store.waiters(pending(id)).await?;
            waiters.sort();
            Ok(Answer::new(format!("waiters {}", waiters.len())).detail(waiters.join(" ")))
        }
    }
}

async fn put(store: &dyn Store, at: usize, step: &PendingStep) -> Result<Answer, StoreError> {
    let &PendingStep::Put { id, request: by, ttl, subject: of, dedup } = step else {
        unreachable!()
    };
    let body = format!("sealed at {at}");
    let new = written(at, id, by, ttl, of, dedup, &body);
    Ok(match store.put_pending(new).await? {
        PutPending::Stored => Answer::new("put_pending stored"),
        PutPending::Joined { id, left } => {
            Answer::new("put_pending joined").detail(id.to_string()).span(left)
        }
        PutPending::Collision => Answer::new("put_pending collision"),
    })
}

async fn replace(store: &dyn Store, at: usize, step: &PendingStep) -> Result<Answer, StoreError> {
    let &PendingStep::Replace { id, request: by, ttl, subject: of, dedup } = step else {
        unreachable!()
    };
    let body = format!("sealed at {at}");
    let new = written(at, id, by, ttl, of, dedup, &body);
    Ok(match store.replace_pending(new).await? {
        Replaced::BeyondCeiling { left } => Answer::new("replace ceiling").span(left),
        Replaced::Ended(how) => Answer::new("replace ended").detail(how.as_str()),
        other => Answer::new(format!("replace {other:?}").to_lowercase()),
    })
}

fn written<'a>(
    at: usize,
    id: Id,
    by: u8,
    ttl: Duration,
    of: Option<u8>,
    dedup: Option<u8>,
    body: &'a str,
) -> NewPending<'a> {
    NewPending {
        id: pending(id),
        request: request(by),
        ttl: ttl + apart(at),
        ceiling: CEILING,
        subject: of.map(subject),
        dedup: dedup.map(|number| self::dedup(id, number)),
        extends: false,
        display: &[("kind", "test")],
        body: body.as_bytes(),
    }
}

/// So that most replacements fit, and some do not.
const CEILING: Duration = Duration::from_secs(645);

async fn finish(store: &dyn Store, at: usize, step: &PendingStep) -> Result<Answer, StoreError> {
    let &PendingStep::Finish { id, request: by, how, subject: of, longest } = step else {
        unreachable!()
    };
    let body = format!("told at {at}");
    let finish = Finish {
        id: pending(id),
        request: request(by),
        how,
        subject: of.map(subject),
        by: &instance(by),
        body: body.as_bytes(),
        longest,
    };
    let finished = store.finish_pending(finish).await?;
    let answer = Answer::new(format!("finish {}", finished.as_str()));
    Ok(match finished {
        Finished::Finished(handed) => answer.detail(text(&handed.body)).span(handed.ago),
        Finished::Already { how, at_ms, by } => {
            answer.detail(format!("{how:?} {by}")).time(" at", Some(at_ms), store)
        }
        _ => answer,
    })
}

async fn list(store: &dyn Store, namespace: u8, limit: u16) -> Result<Answer, StoreError> {
    let first = store.list_pendings(self::namespace(namespace), None, limit).await?;
    let mut found = vec![first.ids];
    let rest = first.next.map(|cursor| Rest { namespace, cursor });
    if let Some(Rest { cursor, .. }) = &rest {
        found.extend(pages(store, namespace, limit, Some(cursor.clone())).await?);
    }
    let outcome = match found.as_slice() {
        [page] if page.is_empty() => "list nothing",
        [_] => "list page",
        _ => "list pages",
    };
    let mut answer = Answer::new(outcome).detail(format!("{found:?}"));
    answer.rest = rest;
    Ok(answer)
}

async fn pages(
    store: &dyn Store,
    namespace: u8,
    limit: u16,
    mut cursor: Option<PageCursor>,
) -> Result<Vec<Vec<PendingId>>, StoreError> {
    let mut found = Vec::new();
    while cursor.is_some() {
        let page = store.list_pendings(self::namespace(namespace), cursor, limit).await?;
        found.push(page.ids);
        cursor = page.next;
        assert!(found.len() < 100, "it has no end: {found:?}");
    }
    Ok(found)
}

/// A dedup key is of one namespace, as its caller makes it.
pub(super) fn dedup(id: Id, number: u8) -> Digest {
    digest(b'd', number + 16 * id.namespace)
}

pub(super) fn pending(id: Id) -> PendingId {
    PendingId::of(namespace(id.namespace), digest(b'p', id.number))
}

/// The last one is in another shard.
fn namespace(number: u8) -> Digest {
    let mut bytes = *digest(b'm', number).as_bytes();
    if number == 2 {
        bytes[0] = !SHARD;
    }
    Digest::from_bytes(&bytes).unwrap()
}

fn subject(number: u8) -> Digest {
    digest(b's', number)
}

/// Who does it, for people.
fn instance(number: u8) -> String {
    format!("instance-{number}")
}
