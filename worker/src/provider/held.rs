//! Answers that are held back until somebody says so.

use super::Provider;

/// Whether answers are held, and how often those that were have been given.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) holds: bool,
    pub(super) given: u64,
}

impl Provider {
    /// Holds every answer of the token endpoint back from now on, until it is released. What was
    /// asked for has been done by then, as under a delay.
    pub fn hold_answers(&self) {
        self.shared.held.send_modify(|held| held.holds = true);
    }

    /// Gives the answers that are held now, and goes on holding those to come.
    pub fn give_held_answers(&self) {
        self.shared.held.send_modify(|held| held.given += 1);
    }

    /// Gives the answers that are held, and holds none any more.
    pub fn release_answers(&self) {
        self.shared.held.send_modify(|held| *held = Held { holds: false, given: held.given + 1 });
    }
}
