//! Who is told.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;

use crate::store::{Event, EventKind};

/// What a notifier is told by default: each of them is a transition that somebody may have to act
/// on, or the end of one. What happens all day long is left out.
pub const TRANSITIONS: [EventKind; 11] = [
    EventKind::NeedsReauth,
    EventKind::Recovered,
    EventKind::ConnectorPaused,
    EventKind::ConnectorResumed,
    EventKind::TokenDeletedRevoked,
    EventKind::TokenDeletedAdmin,
    EventKind::Orphaned,
    EventKind::Reactivated,
    EventKind::Reaped,
    EventKind::RefreshRotationPersistenceFailed,
    EventKind::ReplayRefused,
];

/// The outbound port: somebody is told of an event.
///
/// The same event may come again, under the same id. A call that takes longer than
/// [`DeliveryConfig::timeout`](super::DeliveryConfig) is dropped, and counts as *away*.
#[async_trait]
pub trait Notifier: Send + Sync + Debug {
    /// Tells it. `Ok` means that it need not be told again.
    async fn notify(&self, event: &Event) -> Result<(), NotifyError>;
}

/// Why somebody was not told. The reasons are this library's words, without a URL or a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// The receiver is away, or takes nothing now: everything waits, and nothing is given up. Unless
    /// it takes others meanwhile: then it is this event that does not get through, and its record waits
    /// alone, [not for ever](super::DeliveryConfig::patience).
    #[error("away: {reason}")]
    Away {
        /// Why, for the log.
        reason: String,
        /// How long it wants to be left alone, if it said so; an hour at the most is heeded. Then it
        /// is not the event's fault, whatever else is told.
        retry_after: Option<Duration>,
    },
    /// It does not take this event: the others go on. It is tried again
    /// [a few times](super::DeliveryConfig::tries), before what comes later of the same record.
    #[error("refused: {reason}")]
    Refused {
        /// Why, for the log.
        reason: String,
    },
}

/// Tells the log: one line for each event, at the level *info*, under the target
/// `vestibule::event`. Nothing in a line comes from outside unescaped.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogNotifier;

#[async_trait]
impl Notifier for LogNotifier {
    async fn notify(&self, event: &Event) -> Result<(), NotifyError> {
        tracing::info!(
            target: "vestibule::event",
            id = %event.id,
            r#type = event.kind.as_str(),
            kind = event.subject.as_str(),
            subject = ?event.subject_id,
            name = ?event.name,
            actor = event.actor.as_str(),
            idp_host = ?event.idp_host,
            detail = ?event.detail,
            at_ms = event.at_ms,
            "event"
        );
        Ok(())
    }
}
