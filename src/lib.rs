//! Vestibule (work in progress).
pub mod connection;
mod digest;
mod foundation;
mod keys;
pub mod pkce;
pub mod seal;
mod secret;
pub mod store;
pub mod sweep;
mod vestibule;
mod wall_clock;

pub use digest::{Digest, NamingKey, RequestId};
pub use keys::{Keys, KeysError, TokenPepper};
pub use vestibule::Vestibule;
