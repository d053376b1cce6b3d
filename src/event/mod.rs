//! Events: what happened, for people, and told to whoever is to know.
//!
//! The store writes an event with the change itself, once for each transition; see
//! [`crate::store::Event`]. [`Events::list`] looks into the history. A [`Delivery`] tells a
//! [`Notifier`] what it has not been told yet:
//!
//! * **At least once**, and exactly once as long as nobody dies, or stands still for longer than
//!   [`idle`](DeliveryConfig::idle), between telling and acknowledging, however slow a receiver is. An
//!   event's id is the same each time, so a receiver can drop what it knows.
//! * **In order** for each record. Any number of replicas deliver: a shard by one at a time.
//! * **Nothing waits for it.** A notifier that fails, hangs or is away neither undoes nor delays the
//!   change. What it was not told is kept, up to [`OUTBOX_CAP`](crate::store::OUTBOX_CAP) a shard;
//!   what is dropped beyond that is counted (`vestibule_outbox_lost_total`).
//!
//! Without any notifier nothing is kept for delivery.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use vestibule::{
//!     Vestibule,
//!     event::{EventKind, Filter},
//! };
//! # use std::sync::Arc;
//! # use vestibule::connection::*;
//! # #[derive(Debug)]
//! # struct NoProvider;
//! # #[async_trait::async_trait]
//! # impl TokenExchange for NoProvider {
//! #     async fn exchange_code(
//! #         &self, _: &Connector, _: CodeGrant<'_>,
//! #     ) -> Result<TokenAnswer, ExchangeError> { unreachable!() }
//! #     async fn exchange_refresh_token(
//! #         &self, _: &Connector, _: &RefreshToken,
//! #     ) -> Result<TokenAnswer, ExchangeError> { unreachable!() }
//! # }
//! # let key = Connector::api_key("maps", AuthType::ApiKey)?;
//! # let config = ConnectionsConfig::new(Registry::new([key])?, Arc::new(NoProvider));
//!
//! let vestibule = Vestibule::in_memory();
//! # let connections = vestibule.connections(config);
//! let id = connections.create("alice", "maps").await?;
//! connections.revoke("alice", &id, "a laptop was lost").await?;
//!
//! let listed = vestibule.events().list(&Filter::newest(10)).await?;
//! assert_eq!(listed.events[0].kind, EventKind::TokenDeletedRevoked);
//! # Ok(()) }
//! ```

mod backoff;
mod budget;
mod delivery;
mod history;
mod notifier;
mod walk;
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
