//! Sweeps: the duties that somebody must see to, each as one bounded pass.
//!
//! No pass loops, sleeps or spawns; the worker does. Any number of replicas may run the same pass
//! at once: they share the work without doing it twice. No sweep is needed for the correctness of
//! anything else.

mod refresh_due;

pub use refresh_due::{RefreshDue, RefreshDuePass};
