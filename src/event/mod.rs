//! Events: what happened, for people, and told to whoever is to know.
//!
//! The store writes an event with the change itself, once for each transition; see
//! [`crate::store::Event`]. [`Events::list`] looks into the history. A [`Delivery`] tells a
//! [`Notifier`] what it has not been told yet:
//!
//! * **At least once**, and exactly once as long as nobody dies between telling and acknowledging.
//!   An event's id is the same each time, so a receiver can drop what it knows.
//! * **In order** for each record. Any number of replicas deliver: a shard by one at a time.
//! * **Nothing waits for it.** A notifier that fails, hangs or is away neither undoes nor delays the
//!   change. What it was not told is kept, up to [`OUTBOX_CAP`](crate::store::OUTBOX_CAP) a shard;
//!   what is dropped beyond that is counted (`vestibule_outbox_lost_total`).
//!
//! Without any notifier nothing is kept for delivery.

mod backoff;
mod budget;
mod delivery;
mod history;
mod notifier;
#[cfg(feature = "exchange")]
mod webhook;

#[cfg(feature = "exchange")]
pub use self::webhook::{Webhook, WebhookError, WebhookSecret};
pub use self::{
    budget::{DeliveryConfig, DeliveryPass},
    delivery::Delivery,
    history::{Events, EventsError, Filter, Listed},
    notifier::{LogNotifier, Notifier, NotifyError, TRANSITIONS},
};
pub use crate::store::{Actor, Event, EventId, EventKind, OutboxGroup, Subject};
