//! What is told of connections besides what the store tells with a change of its own, and who is said
//! to have made a change.

use std::time::Duration;

use super::{ConnectionError, Connections, Connector, Inner};
use crate::{
    digest::{Digest, RequestId},
    foundation::Foundation,
    store::{Actor, By, ConnectionId, EventKind, NewEvent, PendingId, Shard, Subject},
};

/// Who refreshes: the worker serves all owners, a vend the one who asks.
pub(super) fn by(owner: Option<Digest>, connector: Option<&Connector>) -> By<'_> {
    let actor = if owner.is_some() { Actor::ToolCall } else { Actor::BackgroundRefresh };
    By { actor, idp_host: connector.map_or("", Connector::idp_host) }
}

impl Connections {
    /// A sign-in began whose state is this pending.
    pub(crate) async fn tell_started(
        &self,
        state: PendingId,
        owner: &str,
        connector: &str,
        reauthorises: Option<&ConnectionId>,
    ) -> Result<(), ConnectionError> {
        let owner = self.inner.owner(owner)?;
        let reauthorises = reauthorises.map_or("", ConnectionId::as_str);
        let sign_in = Began { connector, owner, reauthorises };
        self.inner.tell_started((state.shard(), &state.to_string()), sign_in).await;
        Ok(())
    }
}

/// A sign-in that began.
pub(super) struct Began<'a> {
    pub(super) connector: &'a str,
    pub(super) owner: Digest,
    /// Empty for a new connection.
    pub(super) reauthorises: &'a str,
}

impl Inner {
    /// A sign-in began, with its state there.
    pub(super) async fn tell_started(&self, (shard, state): (Shard, &str), sign_in: Began<'_>) {
        let Began { connector: name, owner, reauthorises } = sign_in;
        let connector = self.config.registry.lookup(name).ok();
        let event = NewEvent {
            kind: EventKind::ConnectStarted,
            subject: Subject::State,
            subject_id: state,
            name,
            owner: Some(owner),
            actor: Actor::Owner,
            idp_host: connector.map_or("", Connector::idp_host),
            detail: &match reauthorises {
                "" => String::new(),
                id => format!("reauthorises={id}"),
            },
        };
        self.foundation.tell(shard, event, RequestId::random().digest()).await;
    }
}

impl Foundation {
    /// A provider's answer was not stored in time. The journal has brought it back since, or may yet.
    pub(super) async fn tell_unpersisted(
        &self,
        id: &ConnectionId,
        (connector, owner, commit): (&str, Digest, Digest),
        by: By<'_>,
        brought_back_after: Option<Duration>,
    ) {
        let (when, detail) = match brought_back_after {
            Some(after) => ("late", format!("stored=late after_ms={}", after.as_millis())),
            None => ("given-up", "stored=no".to_owned()),
        };
        let event = NewEvent {
            kind: EventKind::RefreshRotationPersistenceFailed,
            subject: Subject::Connection,
            subject_id: id.as_str(),
            name: connector,
            owner: Some(owner),
            actor: by.actor,
            idp_host: by.idp_host,
            detail: &detail,
        };
        // Once, however often the commit is tried.
        let parts = [commit.as_bytes().as_slice(), when.as_bytes()];
        let request = self.naming.digest("unpersisted", &parts);
        self.tell(id.shard(), event, request).await;
    }
}
