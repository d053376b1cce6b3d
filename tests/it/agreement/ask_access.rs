//! One step with orphans or sweeps, asked of one store.

use std::time::Duration;

use vestibule::store::{
    BeginTurn, EndTurn, Orphan, OrphanPage, ReapConnection, Reaped, Shard, Store, StoreError,
    SweepName, Turn, WithdrawConnection,
};

use super::{
    ask::{Answer, SHARD, connection, outcome, owner, request},
    step::apart,
    step_access::AccessStep,
};

pub(super) async fn ask(
    store: &dyn Store,
    at: usize,
    step: &AccessStep,
) -> Result<Answer, StoreError> {
    let (shard, sweep) = (Shard::new(SHARD), SweepName::Orphans);
    Ok(match *step {
        AccessStep::Withdraw { id, request: by, owner: of } => {
            let (id, request, owner) = (&connection(id), request(by), owner(of));
            let withdraw = WithdrawConnection { id, request, owner, reason: "lost" };
            outcome("withdraw", store.withdraw_connection(withdraw).await?)
        }
        AccessStep::Restore { id, request: by, owner: of } => {
            let (id, request, owner) = (&connection(id), request(by), owner(of));
            outcome("restore", store.restore_connection(owner, id, request).await?)
        }
        AccessStep::Reap { id, request: by, owner: of, retention } => {
            let (id, request, owner) = (&connection(id), request(by), owner(of));
            let reap = ReapConnection { id, request, owner, retention };
            let reaped = store.reap_connection(reap).await?;
            let answer = Answer::new(format!("reap {}", reaped.as_str()));
            match reaped {
                Reaped::TooYoung { remaining } => answer.span(remaining),
                _ => answer,
            }
        }
        AccessStep::Orphans { retention } => {
            let page = |skip| OrphanPage { shard, retention, skip, limit: 1 };
            let mut seen = Vec::new();
            while let [orphan] = store.list_orphans(page(seen.len())).await?.as_slice() {
                let Orphan::Connection { id, owner } = orphan else { panic!("{orphan:?}") };
                seen.push(format!("{id} {owner:?}"));
            }
            let count = store.count_orphans(shard, retention).await?;
            assert_eq!(count, seen.len() as u64);
            // What became one in the same millisecond is in no certain order.
            seen.sort();
            Answer::new(format!("orphans {count}")).detail(seen.join(", "))
        }
        AccessStep::BeginTurn { request: by, lease, not_within } => {
            let (request, lease) = (request(by), lease + apart(at));
            let begin = BeginTurn { sweep, shard, request, lease, not_within };
            match store.begin_turn(begin).await? {
                Turn::Begun { cursor } => Answer::new("turn begun").detail(cursor),
                Turn::Held { remaining } => Answer::new("turn held").span(remaining),
                Turn::Recent { remaining } => Answer::new("turn recent").span(remaining),
            }
        }
        AccessStep::EndTurn { request: by, cursor } => {
            let (request, cursor) = (request(by), cursor.map(|cursor| cursor.to_string()));
            let cursor = cursor.as_deref();
            let end = EndTurn { sweep, shard, request, cursor, found: 2, done: 1 };
            outcome("turn", store.end_turn(end).await?)
        }
    })
}

/// What shows all that is left at the end.
pub(super) fn last() -> AccessStep {
    AccessStep::Orphans { retention: Duration::ZERO }
}
