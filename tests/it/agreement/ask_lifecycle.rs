//! One step of an owner's, asked of one store.

use vestibule::store::{ConnectionRow, NewConnection, Revoke, Store, StoreError};

use super::{
    ask::{Answer, connection, outcome, owner, request},
    step_lifecycle::LifecycleStep,
};
use crate::support::verbs::BY;

pub(super) async fn ask(store: &dyn Store, step: &LifecycleStep) -> Result<Answer, StoreError> {
    Ok(match *step {
        LifecycleStep::Create { id, request: by, owner: of, connector } => {
            let (id, request, owner) = (&connection(id), request(by), owner(of));
            let new = NewConnection { id, request, owner, connector, reason: "new" };
            outcome("create", store.create_connection(new).await?)
        }
        LifecycleStep::Get { id, owner: of } => {
            match store.read_connection(owner(of), &connection(id)).await? {
                Some(row) => known(row, store),
                None => Answer::new("get nothing"),
            }
        }
        LifecycleStep::List { owner: of, limit } => {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = store.list_connections(owner(of), cursor, limit).await?;
                assert!(page.damaged.is_empty() && page.connections.len() <= limit.into());
                seen.extend(page.connections);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            // What was created in one millisecond is in no certain order.
            seen.sort_by(|one, two| one.id.cmp(&two.id));
            let seen: Vec<_> =
                seen.iter().map(|row| format!("{} {:?}", row.id, row.status)).collect();
            Answer::new(format!("list {}", seen.len())).detail(seen.join(", "))
        }
        LifecycleStep::Revoke { id, request: by, owner: of } => {
            let (id, request, owner) = (&connection(id), request(by), owner(of));
            let reason = format!("by {by}");
            let revoke = Revoke { id, request, owner, reason: &reason, by: BY };
            outcome("revoke", store.revoke_connection(revoke).await?)
        }
        LifecycleStep::Delete { id, request: by, owner: of } => {
            let (id, request, owner) = (&connection(id), request(by), owner(of));
            outcome("delete", store.delete_connection(owner, id, request, BY).await?)
        }
    })
}

fn known(row: ConnectionRow, store: &dyn Store) -> Answer {
    let seen = format!(
        "{} {} {:?} {:?} {} {} {} {:?}",
        row.id,
        row.connector,
        row.status,
        row.reason,
        row.grant,
        row.ver,
        row.attempts,
        row.last_error,
    );
    Answer::new("get")
        .detail(seen)
        .time(" since", row.status_at_ms, store)
        .time(" expires", row.expires_at_ms, store)
        .time(" grant expires", row.refresh_expires_at_ms, store)
        .time(" signed in", row.authenticated_at_ms, store)
        .time(" next", row.next_at_ms, store)
        .time(" created", row.created_at_ms, store)
        .time(" updated", row.updated_at_ms, store)
}
