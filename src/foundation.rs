//! What every feature stands on: a store, a seal, and the key that names things.

use std::sync::Arc;

use crate::{
    digest::{NamingKey, Peppers},
    seal::Seal,
    store::Store,
};

/// Shared by all features of one process.
#[derive(Debug)]
pub(crate) struct Foundation {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) seal: Seal,
    pub(crate) naming: NamingKey,
    pub(crate) peppers: Peppers,
}
