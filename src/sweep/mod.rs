//! Sweeps: the duties that somebody must see to, each as one bounded pass.
//!
//! No pass loops, sleeps or spawns; the worker does. Any number of replicas may run the same pass
//! at once: they share the work without doing it twice, and a pass that is interrupted anywhere is
//! gone on with by the next. No sweep is needed for the correctness of anything else.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tokio_util::sync::CancellationToken;
//! use vestibule::{
//!     Vestibule,
//!     sweep::{Budget, Orphans},
//! };
//!
//! let vestibule = Vestibule::in_memory();
//! let week = Duration::from_secs(7 * 24 * 3600);
//! let dry = Budget { dry_run: true, ..Budget::default() };
//! let sweep = Orphans { retention: week, budget: dry };
//! let swept = sweep.pass(&vestibule, &CancellationToken::new()).await;
//! println!("{} orphans are older than a week", swept.found);
//! # Ok(()) }
//! ```

mod expired;
mod orphans;
mod refresh_due;
mod reseal;
mod trim_events;
mod trim_history;
mod turns;

pub use expired::Expired;
pub use orphans::Orphans;
pub use refresh_due::{RefreshDue, RefreshDuePass};
pub use reseal::Reseal;
pub use trim_events::TrimEvents;
pub use trim_history::TrimHistory;
pub use turns::{Budget, Swept};
