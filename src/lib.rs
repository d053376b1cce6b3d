//! Vestibule (work in progress).
mod digest;
mod secret;
pub mod store;
mod wall_clock;

pub use digest::{Digest, NamingKey, RequestId};
