//! What the provider counted: the figures a demo or a test may quote.

use serde::Serialize;

/// Everything counted since the start. No figure is derived from what a client claims.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Codes issued.
    pub authorizations: u64,
    /// Requests that reached the token endpoint, whatever became of them.
    pub token_calls: u64,
    /// The most that were received and not answered yet at one time.
    pub peak_in_flight: u64,
    /// Codes exchanged for tokens.
    pub code_exchanges: u64,
    /// Refreshes answered with tokens, replays inside the grace included.
    pub refreshes: u64,
    /// Second and later presentations of a refresh token, replayed inside the grace or not.
    pub reused_presentations: u64,
    /// Those of them that the grace answered with tokens.
    pub replays_in_grace: u64,
    /// Families revoked because a refresh token or a code was used again.
    pub family_revocations: u64,
    /// Families revoked because their subject withdrew.
    pub subject_revocations: u64,
    /// Token requests that were refused on their merits.
    pub refused: u64,
    /// Token requests that met a scripted [`Failure`](super::Failure).
    pub scripted_failures: u64,
    /// Device codes issued.
    pub device_authorizations: u64,
    /// Polls with a device code, whatever became of them; polls that met a scripted
    /// [`Failure`](super::Failure) before the endpoint are not among them.
    pub device_polls: u64,
    /// Those of them that came sooner than the interval allowed.
    pub device_polls_too_fast: u64,
    /// Device codes exchanged for tokens.
    pub device_grants: u64,
    /// Requests to the place that [`Answer::Redirect`](super::Answer::Redirect) points at: a
    /// client that follows it hands its secrets to whoever answers there.
    pub followed_redirects: u64,
}
