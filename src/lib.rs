#![doc = include_str!("../README.md")]
//!
//! # Layout of the crate
//!
//! Start at [`Vestibule`]. The features are [`pkce`], [`pending`], [`token`], [`headers`] and [`connection`];
//! what happened is told by [`event`], and the background duties are in [`sweep`]. They stand on two things
//! that never see each other: the [`store`], a port with
//! Redis and memory behind it, and the [`seal`].

mod builder;
mod cache;
pub mod connection;
pub mod device;
mod digest;
pub mod event;
mod foundation;
pub mod headers;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "exchange")]
mod http_client;
mod keys;
pub mod metric;
mod operator;
pub mod pending;
pub mod pkce;
mod resealing;
pub mod seal;
mod secret;
pub mod store;
pub mod sweep;
pub mod token;
pub mod trace;
mod vestibule;
mod wall_clock;

pub use builder::Builder;
pub use digest::{Digest, NamingKey, Peppers, RequestId, TokenPepper};
pub use keys::{KeyFile, Keys, KeysError};
pub use operator::Operator;
pub use store::redis::inspect;
pub use vestibule::Vestibule;
