//! One step of header credentials, asked of one store.

use std::time::Duration;

use vestibule::{
    Digest,
    store::{
        BindingName, ClaimedFlow, Ending, Finish, HeadersId, HeadersMode, HeadersRow, MarkHeaders,
        NewHeaders, NewPending, PendingId, PendingRow, PutPending, Reaped, Reseal, SealedName,
        Shard, Store, StoreError, SubmittedFlow, UpsertedHeaders,
    },
};

use super::{
    ask::{Answer, SHARD, digest, outcome, text},
    step::apart,
    step_headers::HeadersStep,
};

/// So that some flows cannot be extended any more.
const CEILING: Duration = Duration::from_secs(645);

pub(super) async fn ask(
    store: &dyn Store,
    at: usize,
    step: &HeadersStep,
) -> Result<Answer, StoreError> {
    Ok(match *step {
        HeadersStep::Upsert { .. } => upsert(store, at, step).await?,
        HeadersStep::Get { binding } => match store.read_headers(name(binding)).await? {
            Some(found) => {
                let secret = text(&found.secret);
                known(
                    Answer::new(format!("headers {}", found.row.status.as_str())),
                    secret,
                    &found.row,
                    store,
                )
            }
            None => Answer::new("headers nothing"),
        },
        HeadersStep::Remove { binding, of, request: by, retention } => {
            let (id, request) = (id(binding, of), request(b'x', by));
            match retention {
                None => outcome("delete headers", store.delete_headers(id, request).await?),
                Some(retention) => {
                    match store.reap_headers(id, retention + apart(at), request).await? {
                        Reaped::TooYoung { remaining } => {
                            Answer::new("reap headers TooYoung").span(remaining)
                        }
                        reaped => outcome("reap headers", reaped),
                    }
                }
            }
        }
        HeadersStep::Mark { binding, request: by } => {
            // A request is of one call, so of one client. A page has room for all: what a receipt
            // says of the next one does not age.
            let request = request(b'k', by + 16 * (binding / 2));
            let (shard, client) = (Shard::new(SHARD), client(binding));
            let (reason, after, limit) = (&*format!("marked-by-{by}"), None, 50);
            let mark = MarkHeaders { shard, client, request, reason, after, limit };
            let marked = store.mark_headers(mark).await?;
            assert_eq!(marked.next, None);
            Answer::new(format!("mark {}", marked.count))
        }
        HeadersStep::List { binding, limit } => {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let (shard, client) = (Shard::new(SHARD), client(binding));
                let page = store.list_headers(shard, client, after, limit).await?;
                assert!(page.damaged.is_empty() && page.rows.len() <= limit.into());
                seen.extend(
                    page.rows.into_iter().map(|row| format!("{} {:?}", row.id, row.status)),
                );
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            // What was created in one millisecond is in no certain order.
            seen.sort();
            Answer::new(format!("list headers {}", seen.len())).detail(seen.join(", "))
        }
        HeadersStep::Withdraw { binding, only, request: by } => {
            let (name, request) = (name(binding), request(b'w', by));
            let (only, reason) = (only.map(|of| id(binding, of)), format!("withdrawn-by-{by}"));
            outcome("withdraw", store.withdraw_headers(name, only, request, &reason).await?)
        }
        HeadersStep::Restore { binding, only, request: by } => {
            let (name, request) = (name(binding), request(b'y', by));
            let only = only.map(|of| id(binding, of));
            let restored = store.restore_headers(name, only, request).await?;
            Answer::new(format!("restore {restored:?}"))
        }
        HeadersStep::Find { binding, of } => {
            let found = store.find_headers(id(binding, of)).await?;
            Answer::new(format!("find headers {}", found.is_some())).detail(format!("{found:?}"))
        }
        HeadersStep::Initiate { binding, request: by, ttl, extends } => {
            let (id, body) = (flow(binding, by), format!("sealed at {at}"));
            let new = NewPending {
                id,
                request: request(b'f', by),
                ttl: ttl + apart(at),
                ceiling: CEILING,
                subject: None,
                dedup: Some(digest(b'd', 100 + binding)),
                extends,
                display: &[],
                body: body.as_bytes(),
            };
            match store.put_pending(new).await? {
                PutPending::Stored => Answer::new("initiate stored"),
                PutPending::Collision => Answer::new("initiate collision"),
                PutPending::Joined { id, left } => {
                    let word = if left == ttl + apart(at) { "extended" } else { "joined" };
                    Answer::new(format!("initiate {word}")).detail(id.to_string()).span(left)
                }
            }
        }
        HeadersStep::Claim { binding, flow: of, request: by, lease } => {
            let lease = lease + apart(at);
            let claimed = store.claim_flow(flow(binding, of), request(b'c', by), lease).await?;
            let answer = Answer::new(format!("claim flow {}", claimed.as_str()));
            match claimed {
                ClaimedFlow::Claimed { body, left } => answer.detail(text(&body)).span(left),
                ClaimedFlow::Busy { left } => answer.span(left),
                ClaimedFlow::Ended(how) => answer.detail(how.as_str()),
                _ => answer,
            }
        }
        HeadersStep::Release { binding, flow: of, request: by } => {
            store.release_flow(flow(binding, of), request(b'c', by)).await?;
            Answer::new("release flow")
        }
        HeadersStep::Cancel { binding, flow: of, request: by } => {
            let finish = Finish {
                id: flow(binding, of),
                request: request(b'z', by),
                how: Ending::Cancelled,
                subject: None,
                by: "test",
                body: b"",
                longest: Duration::from_secs(120),
            };
            let finished = store.finish_pending(finish).await?;
            Answer::new(format!("cancel flow {}", finished.as_str()))
        }
        HeadersStep::Reseal { binding, of, stale } => {
            reseal(store, at, &SealedName::Headers(id(binding, of)), stale).await?
        }
        HeadersStep::Flow { binding, flow: of } => {
            let id = flow(binding, of);
            let told = store.read_outcome(id).await?;
            let told = told.map(|told| format!("{:?} {} {}", told.how, told.by, text(&told.body)));
            let answer = Answer::new("flow").detail(format!("{told:?}"));
            match store.read_pending(id).await? {
                PendingRow::Live { body, left } => {
                    answer.detail(format!("{told:?} {}", text(&body))).span(left)
                }
                other => answer.detail(format!("{told:?} {other:?}")),
            }
        }
    })
}

async fn upsert(store: &dyn Store, at: usize, step: &HeadersStep) -> Result<Answer, StoreError> {
    let &HeadersStep::Upsert { binding, request: by, flow: of } = step else { unreachable!() };
    let content = format!("sealed at {at}");
    let flow = of.map(|(number, claim)| SubmittedFlow {
        id: flow(binding, number),
        claim: request(b'c', claim),
        by: "test",
        answer: b"told",
        longest: Duration::from_secs(120),
    });
    let mode = if binding == 2 { HeadersMode::Session } else { HeadersMode::User };
    let new = NewHeaders {
        id: id(binding, by),
        request: request(b'u', by),
        binding: name(binding),
        mode,
        identity: identity(binding),
        client: client(binding),
        client_name: "client",
        secret: content.as_bytes(),
        key: "0000002a",
        flow,
    };
    let word = if of.is_some() { "submit" } else { "upsert" };
    Ok(match store.upsert_headers(new).await? {
        UpsertedHeaders::Upserted { id, created_at_ms, updated_at_ms, ver } => {
            Answer::new(format!("{word} upserted"))
                .detail(format!("{id} {ver}"))
                .time(" created", Some(created_at_ms), store)
                .time(" updated", Some(updated_at_ms), store)
        }
        UpsertedHeaders::FlowEnded(how) => Answer::new("submit ended").detail(how.as_str()),
        other => Answer::new(format!("{word} {other:?}")),
    })
}

/// And again, as a retry does it.
pub(super) async fn reseal(
    store: &dyn Store,
    at: usize,
    name: &SealedName,
    stale: bool,
) -> Result<Answer, StoreError> {
    let (was, new) = (store.read_sealed(name).await?, format!("sealed anew at {at}"));
    let there = was.as_ref().map(|was| was.sealed.clone()).unwrap_or_default();
    let before = text(&there);
    let old = if stale { b"what was there before".to_vec() } else { there };
    let sealed_by = u32::try_from(at).unwrap();
    let (request, new) = (request(b'o', 0), new.as_bytes());
    let reseal = Reseal { name, request, old: &old, new, sealed_by };
    let resealed = store.reseal(reseal).await?;
    assert_eq!(store.reseal(reseal).await?, resealed, "a retry");
    let is = store.read_sealed(name).await?.map(|is| text(&is.sealed));
    Ok(Answer::new(format!("reseal {resealed:?}")).detail(format!("{was:?} {before} {is:?}")))
}

fn known(answer: Answer, secret: String, row: &HeadersRow, store: &dyn Store) -> Answer {
    let seen = format!(
        "{secret} {} {:?} {} {} {:?} {:?} {:?} {}",
        row.id, row.mode, row.identity, row.client, row.client_name, row.reason, row.was, row.ver,
    );
    answer
        .detail(seen)
        .time(" since", Some(row.status_at_ms), store)
        .time(" created", Some(row.created_at_ms), store)
        .time(" updated", Some(row.updated_at_ms), store)
}

/// All in one shard.
fn name(binding: u8) -> BindingName {
    BindingName { shard: Shard::new(SHARD), digest: digest(b'b', binding) }
}

fn identity(binding: u8) -> Digest {
    digest(b'i', binding)
}

/// The first two bindings are of one client.
fn client(binding: u8) -> Digest {
    digest(b'l', binding / 2)
}

/// Of a binding, and of the request that made it.
fn id(binding: u8, request: u8) -> HeadersId {
    HeadersId::of(Shard::new(SHARD), digest(b'h', 16 * binding + request))
}

fn flow(binding: u8, number: u8) -> PendingId {
    PendingId::of(identity(binding), digest(b'j', number))
}

/// A request is of one verb, as its caller makes it.
fn request(verb: u8, number: u8) -> Digest {
    digest(verb, number)
}
