use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What is sealed of a token.
#[derive(Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) scope: String,
    pub(super) resource: String,
    /// The digest of whom it is bound to.
    pub(super) subject: Option<[u8; 16]>,
    /// As the scope was when it was minted.
    pub(super) max_uses: Option<u32>,
    pub(super) created_at_ms: u64,
}

/// What is sealed of a token for a mint that is retried.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Kept {
    pub(super) text: String,
}
