//! What a person at the command line may do to a record: by its id alone, whoever it belongs to.

use std::{sync::Arc, time::Duration};

use crate::{
    digest::{Digest, RequestId},
    foundation::Foundation,
    store::{
        Actor, By, ConnectionId, ConnectorName, Ending, Finish, Finished, PendingId,
        RestoredConnection, Resumed, Retry, Revocation, Revoke, RevokedConnection, Shard,
        StoreError, TokenId, WithdrawConnection, WithdrawnConnection,
    },
};

/// How long the outcome of a pending is kept that an operator cancels.
const OUTCOME: Duration = Duration::from_secs(3600);
/// Who did it, in outcomes.
const ACTOR: &str = BY.actor.as_str();
/// Who did it, in events. No registry is asked for the host of a provider.
const BY: By<'_> = By { actor: Actor::Operator, idp_host: "" };

/// The verbs of an operator, who needs neither an owner's name nor a registry of connectors. For a
/// command line; a host's handlers use the features, which ask whose a record is.
///
/// # Errors
///
/// Every method fails with a [`StoreError`], and nothing else.
#[derive(Debug, Clone)]
pub struct Operator {
    foundation: Arc<Foundation>,
}

impl Operator {
    pub(crate) fn new(foundation: Arc<Foundation>) -> Self {
        Self { foundation }
    }

    /// Cancels a pending, and wakes whoever waits. `subject` is the digest of whom it is bound to, as
    /// the [inspector](crate::inspect) reads it; without that a bound one is
    /// [another's](Finished::OtherSubject).
    pub async fn cancel(
        &self,
        id: PendingId,
        subject: Option<Digest>,
    ) -> Result<Finished, StoreError> {
        let finish = Finish {
            id,
            request: RequestId::random().digest(),
            how: Ending::Cancelled,
            subject,
            by: ACTOR,
            body: &[],
            longest: OUTCOME,
        };
        let finished = self.foundation.store.finish_pending(finish).await?;
        tracing::info!(pending = %id, actor = ACTOR, outcome = finished.as_str(), "cancel");
        Ok(finished)
    }

    /// Revokes a connection, whoever owns it. The reason is for people: at most 200 printable
    /// characters of it are kept.
    pub async fn revoke_connection(
        &self,
        id: &ConnectionId,
        reason: &str,
    ) -> Result<RevokedConnection, StoreError> {
        let store = &self.foundation.store;
        let Some(row) = store.read_credential(id).await? else {
            return Ok(RevokedConnection::Absent);
        };
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
        let (request, owner) = (RequestId::random().digest(), row.owner);
        let revoke = Revoke { id, request, owner, reason: &reason, by: BY };
        let outcome = store.revoke_connection(revoke).await?;
        tracing::info!(connection = %id, actor = ACTOR, ?outcome, "revoke");
        Ok(outcome)
    }

    /// Withdraws the access to a connection, whoever owns it: it is kept as an orphan, until it is
    /// [given back](Self::restore) or the retention is over. `reason` is a word for people.
    pub async fn withdraw(
        &self,
        id: &ConnectionId,
        reason: &str,
    ) -> Result<WithdrawnConnection, StoreError> {
        let store = &self.foundation.store;
        let Some(row) = store.read_credential(id).await? else {
            return Ok(WithdrawnConnection::Absent);
        };
        let (request, owner) = (RequestId::random().digest(), row.owner);
        let withdraw = WithdrawConnection { id, request, owner, reason };
        let outcome = store.withdraw_connection(withdraw).await?;
        tracing::info!(connection = %id, actor = ACTOR, ?outcome, "access withdrawn");
        Ok(outcome)
    }

    /// Gives the access to a connection back, whoever owns it: it is what it was.
    pub async fn restore(&self, id: &ConnectionId) -> Result<RestoredConnection, StoreError> {
        let store = &self.foundation.store;
        let Some(row) = store.read_credential(id).await? else {
            return Ok(RestoredConnection::Absent);
        };
        let request = RequestId::random().digest();
        let outcome = store.restore_connection(row.owner, id, request).await?;
        tracing::info!(connection = %id, actor = ACTOR, ?outcome, "access given back");
        Ok(outcome)
    }

    /// Revokes a temp token.
    pub async fn revoke_token(&self, id: TokenId) -> Result<Revocation, StoreError> {
        let request = RequestId::random().digest();
        let outcome = self.foundation.store.revoke_token(id, request).await?;
        tracing::info!(token_id = %id, actor = ACTOR, outcome = outcome.as_str(), "revoke");
        Ok(outcome)
    }

    /// Makes a connection due at once that backs off after failures, or was given up.
    pub async fn retry(&self, id: &ConnectionId) -> Result<Retry, StoreError> {
        let request = RequestId::random().digest();
        let outcome = self.foundation.store.retry(id, request, Actor::Operator).await?;
        tracing::info!(connection = %id, actor = ACTOR, ?outcome, "retry");
        Ok(outcome)
    }

    /// Ends a connector's pause, whether a registry knows it or not.
    pub async fn resume(&self, connector: &str) -> Result<Resumed, StoreError> {
        let digest = self.foundation.naming.digest("connector", &[connector.as_bytes()]);
        let name = ConnectorName { shard: Shard::new(digest.as_bytes()[0]), slug: connector };
        let request = RequestId::random().digest();
        let outcome = self.foundation.store.resume_connector(name, request, BY).await?;
        tracing::info!(connector, actor = ACTOR, ?outcome, "resume");
        Ok(outcome)
    }
}
