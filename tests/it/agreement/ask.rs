//! One step, asked of one store, and the answer in a form that two stores can be compared by.

use std::time::Duration;

use vestibule::{
    Digest,
    store::{
        Actor, Attempt, Begin, Begun, Claim, Commit, ConnectionId, CredentialRow, Fail, Kind,
        NewCredential, NewRecord, RecordName, SealedName, SealedPage, Shard, Store, StoreError,
        Take,
    },
};

use super::{
    ask_access, ask_device, ask_event, ask_headers, ask_lifecycle, ask_limit,
    ask_pending::{self, Rest},
    ask_token,
    step::{Step, apart},
};
use crate::support::verbs::BY;

/// How far two spans may differ: by how long a step takes, and by a clock's calibration.
pub(super) const TOLERANCE: Duration = Duration::from_millis(1500);

/// A grace: time moves by multiples of 7 s.
const FORGIVEN: Duration = Duration::from_secs(16);

/// What a store answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) outcome: String,
    detail: String,
    /// Times as milliseconds from now, so that they mean the same to both.
    spans: Vec<i64>,
    pub(super) begun: Option<Begun>,
    pub(super) rest: Option<Rest>,
}

impl Answer {
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let near = |(a, b): (&i64, &i64)| u128::from(a.abs_diff(*b)) <= TOLERANCE.as_millis();
        self.outcome == other.outcome
            && self.detail == other.detail
            && self.spans.len() == other.spans.len()
            && self.spans.iter().zip(&other.spans).all(near)
    }

    pub(super) fn new(outcome: impl Into<String>) -> Self {
        let outcome = outcome.into();
        Self { outcome, detail: String::new(), spans: Vec::new(), begun: None, rest: None }
    }

    pub(super) fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    pub(super) fn span(mut self, span: Duration) -> Self {
        self.spans.push(span.as_millis() as i64);
        self
    }

    pub(super) fn time(mut self, name: &str, at_ms: Option<u64>, store: &dyn Store) -> Self {
        if let Some(at_ms) = at_ms {
            self.detail += name;
            self.spans.push(at_ms as i64 - store.now_ms() as i64);
        }
        self
    }
}

/// The attempt that a commit or a fail decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decided {
    pub(super) id: u8,
    pub(super) fence: u64,
    pub(super) grant: u64,
    pub(super) presented: Digest,
}

/// Asks a store to do what the step says, as number `at` of its sequence. What it needs to know of
/// earlier answers comes along.
pub(super) async fn ask(
    store: &dyn Store,
    at: usize,
    step: &Step,
    decided: Option<Decided>,
    rest: Option<Rest>,
) -> Answer {
    let answer = match step {
        Step::Commit { .. } | Step::Fail { .. } => decide(store, at, step, decided.unwrap()).await,
        Step::Begin { .. } => begin(store, at, step).await,
        Step::Pending(step) => ask_pending::ask(store, at, step, rest).await,
        Step::Device(step) => ask_device::ask(store, step).await,
        Step::Limit(step) => ask_limit::ask(store, step).await,
        Step::Event(step) => ask_event::ask(store, at, step).await,
        Step::Token(step) => ask_token::ask(store, at, step).await,
        Step::Headers(step) => ask_headers::ask(store, at, step).await,
        Step::Lifecycle(step) => ask_lifecycle::ask(store, step).await,
        Step::Access(step) => ask_access::ask(store, at, step).await,
        _ => simple(store, at, step).await,
    };
    answer.unwrap_or_else(|error| Answer::new(format!("error: {error}")))
}

async fn simple(store: &dyn Store, at: usize, step: &Step) -> Result<Answer, StoreError> {
    let content = format!("sealed at {at}");
    let content = content.as_bytes();
    Ok(match step {
        Step::Put { name, request: by, ttl } => {
            let (name, request, ttl) = (record(*name), request(*by), *ttl);
            let record =
                NewRecord { name, request, ttl, display: &[("kind", "test")], body: content };
            Answer::new(format!("put {:?}", store.put(record).await?))
        }
        Step::Take { name, request: by } => {
            let take = store.take(&record(*name), request(*by)).await?;
            let answer = Answer::new(format!("take {}", take.as_str()));
            match take {
                Take::Taken(handed) => answer.detail(text(&handed.body)).span(handed.ago),
                Take::AlreadyTaken { at_ms } => answer.time("at", Some(at_ms), store),
                _ => answer,
            }
        }
        Step::Store { id, request: by, owner: of, connector, granted, known_end } => {
            let id = &connection(*id);
            let credential = NewCredential {
                id,
                request: request(*by),
                owner: owner(*of),
                connector,
                secret: content,
                refresh_token: granted.refresh_token.map(refresh_token),
                expires_in: granted.expires_in,
                next_in: granted.next_in.map(|next| next + apart(at)),
                known_end: *known_end,
                sealed_by: u32::try_from(at).unwrap(),
                refresh_expires_in: granted.refresh_expires_in,
                by: BY,
            };
            outcome("store", store.store_credential(credential).await?)
        }
        Step::Read { id } => match store.read_credential(&connection(*id)).await? {
            Some(row) => read(row, store),
            None => Answer::new("read nothing"),
        },
        Step::Claim { request: by, limit, hide } => {
            let (shard, request) = (Shard::new(SHARD), request(*by));
            let claim = Claim { shard, request, limit: *limit, hide: *hide + apart(at) };
            let ids = store.claim_due(claim).await?;
            Answer::new(format!("claim {}", ids.len())).detail(format!("{ids:?}"))
        }
        Step::GiveBack { id, wait } => {
            let wait = if wait.is_zero() { *wait } else { *wait + apart(at) };
            store.give_back(&connection(*id), request(0), wait).await?;
            Answer::new("give back")
        }
        Step::Renew { id, holder, lease } => {
            let lease = *lease + apart(at);
            outcome("renew", store.renew(&connection(*id), request(*holder), lease).await?)
        }
        Step::Retry { id, request: by } => {
            outcome("retry", store.retry(&connection(*id), request(*by), Actor::Operator).await?)
        }
        Step::Sealed => {
            let shard = Shard::new(SHARD);
            let (mut sealed, mut skip) = (Vec::new(), 0);
            loop {
                let page = SealedPage { shard, not_by: 3, skip, limit: 1 };
                let listed = store.list_sealed(page).await?;
                if listed.is_empty() {
                    break;
                }
                skip += 1;
                sealed.extend(listed);
            }
            sealed.sort();
            let counts = store.count_sealed(shard).await?;
            let all = counts.iter().filter(|(by, _)| *by != 3).map(|(_, count)| count).sum::<u64>();
            assert_eq!(all, skip);
            Answer::new("sealed").detail(format!("{counts:?} {sealed:?}"))
        }
        Step::Reseal { id, part, stale } => {
            let of = connection(*id);
            let name = match part {
                0 => SealedName::Connection(of),
                1 => SealedName::Sibling(of),
                _ => SealedName::OlderSibling(of),
            };
            super::ask_headers::reseal(store, at, &name, *stale).await?
        }
        Step::Backlog => {
            let backlog = store.due_backlog().await?;
            Answer::new("backlog").detail(format!("{} {}", backlog.due, backlog.oldest.is_some()))
        }
        other => unreachable!("{other:?}"),
    })
}

fn read(row: CredentialRow, store: &dyn Store) -> Answer {
    let seen = format!(
        "{} {} {:?} {:?} {} {} {} {} {:?} {}",
        row.owner,
        row.connector,
        row.status,
        row.reason,
        row.grant,
        row.ver,
        text(&row.secret),
        row.attempts,
        row.last_error,
        row.alts,
    );
    Answer::new("read")
        .detail(seen)
        .time(" expires", row.expires_at_ms, store)
        .time(" next", row.next_at_ms, store)
        .time(" lease ends", row.lease_ends_at_ms, store)
}

async fn begin(store: &dyn Store, at: usize, step: &Step) -> Result<Answer, StoreError> {
    let Step::Begin { id, holder, owner: of, lease, settled, lifetime } = step else {
        unreachable!()
    };
    let attempt = Attempt {
        id: &connection(*id),
        holder: request(*holder),
        owner: of.map(owner),
        lease: *lease + apart(at),
        instance: "test",
        forgiven: FORGIVEN,
        settled: *settled + apart(at),
        lifetime: *lifetime,
        by: BY,
    };
    let begin = store.begin(attempt).await?;
    let answer = Answer::new(format!("begin {}", begin.as_str()));
    Ok(match begin {
        Begin::Begun(begun) => {
            let detail = format!(
                "{} {} {} {} {} {} {}",
                begun.refresh_expires_in.is_some(),
                begun.signed_in_for.is_some(),
                begun.grant,
                begun.connector,
                text(&begun.secret),
                begun.refresh_token,
                begun.attempts,
            );
            let answer = match begun.undecided_since {
                Some(since) => Answer::new("begin begun undecided").span(since),
                None => answer,
            };
            let ends = [begun.refresh_expires_in, begun.signed_in_for];
            let answer = ends.into_iter().flatten().fold(answer, Answer::span);
            Answer { begun: Some(begun), ..answer.detail(detail) }
        }
        Begin::Held { remaining } | Begin::Undecided { remaining } => answer.span(remaining),
        Begin::NotDue { due_in, attempts } => answer.span(due_in).detail(attempts.to_string()),
        Begin::Inactive(status) => answer.detail(status.as_str()),
        Begin::NotRefreshable | Begin::Absent => answer,
    })
}

async fn decide(
    store: &dyn Store,
    at: usize,
    step: &Step,
    Decided { id, fence, grant, presented }: Decided,
) -> Result<Answer, StoreError> {
    let id = &connection(id);
    let secret = format!("sealed at {at}");
    Ok(match step {
        Step::Commit { request: by, answered_ago, granted, .. } => {
            let commit = Commit {
                id,
                request: request(*by),
                fence,
                grant,
                presented,
                secret: secret.as_bytes(),
                refresh_token: granted.refresh_token.map(refresh_token),
                expires_in: granted.expires_in,
                next_in: granted.next_in.map(|next| next + apart(at)),
                // The later step has the later answer, if nothing else tells them apart.
                answered_ago: *answered_ago + Duration::from_millis(500) - apart(at),
                sealed_by: u32::try_from(at).unwrap(),
                refresh_expires_in: granted.refresh_expires_in,
                by: BY,
            };
            outcome("commit", store.commit(commit).await?)
        }
        Step::Fail { request: by, kind, backoff, horizon, .. } => {
            let fail = Fail {
                id,
                request: request(*by),
                fence,
                grant,
                presented,
                kind: *kind,
                reason: &format!("failed at {at}"),
                backoff: *backoff + apart(at),
                horizon: horizon.map(|horizon| horizon + apart(at)),
                by: BY,
            };
            outcome("fail", store.fail(fail).await?)
        }
        other => unreachable!("{other:?}"),
    })
}

/// `Word { field: value }`, apart.
pub(super) fn outcome(verb: &str, outcome: impl std::fmt::Debug) -> Answer {
    let whole = format!("{outcome:?}");
    let (word, detail) = whole.split_once(' ').unwrap_or((&whole, ""));
    Answer::new(format!("{verb} {word}")).detail(detail)
}

/// All in one shard, so that they meet in one due index.
pub(super) const SHARD: u8 = 0xc3;

pub(super) fn connection(number: u8) -> ConnectionId {
    format!("{SHARD:x}{number:032x}").parse().unwrap()
}

pub(super) fn owner(number: u8) -> Digest {
    digest(b'o', number)
}

pub(super) fn request(number: u8) -> Digest {
    digest(b'r', number)
}

pub(super) fn refresh_token(number: u8) -> Digest {
    digest(b't', number)
}

fn record(number: u8) -> RecordName {
    RecordName::alone(Kind::Pkce, digest(b'n', number))
}

pub(super) fn digest(pool: u8, number: u8) -> Digest {
    let mut bytes = [number; 16];
    bytes[..2].copy_from_slice(&[SHARD, pool]);
    Digest::from_bytes(&bytes).unwrap()
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
