//! What an answer is worth, by the refresh token that it was exchanged for.

use super::{Answer, Connection};
use crate::{digest::Digest, store::Status};

/// What an answer is to what is held.
#[derive(Clone, Copy)]
pub(super) enum Lineage {
    /// To the refresh token that is current, or kept, or was refused: it lives, and what came of
    /// it is the freshest there is.
    Proven,
    /// To the same refresh token as what is current.
    Sibling,
    /// The same, and what is current is dead.
    SiblingOfTheDead,
    /// To none of these, or no news.
    Foreign,
}

impl Connection {
    pub(super) fn judge(&self, presented: Digest, answer: &Answer) -> Lineage {
        let held = |token: Digest| {
            let mut answers = self.alts.iter().chain([&self.current]);
            answers.any(|held| held.refresh_token == Some(token))
        };
        if held(presented) || self.refused.contains(&presented) {
            // Not rotated: of two access tokens the later is current.
            let same = answer.refresh_token == self.current.refresh_token;
            let stale = same && answer.answered_at <= self.current.answered_at;
            return if stale { Lineage::Foreign } else { Lineage::Proven };
        }
        let refused = answer.refresh_token.is_some_and(|token| self.refused.contains(&token));
        match self.base {
            Some(base) if base == presented && !refused => {
                if self.standing() == Status::NeedsReauth {
                    Lineage::SiblingOfTheDead
                } else {
                    Lineage::Sibling
                }
            }
            _ => Lineage::Foreign,
        }
    }

    /// Puts a sibling where its time belongs, and says where: 0 is current. `None` if it is no
    /// news, or one too many.
    pub(super) fn keep(&mut self, answer: Answer) -> Option<usize> {
        let mut kept = vec![self.current.clone()];
        kept.append(&mut self.alts.clone());
        let same = |held: &Answer| held.refresh_token == answer.refresh_token;
        if kept.iter().any(|held| same(held) && held.answered_at >= answer.answered_at) {
            return None;
        }
        kept.retain(|held| held.refresh_token.is_some() && !same(held));
        let place = kept.iter().take_while(|held| held.answered_at >= answer.answered_at).count();
        if place > 2 || place > 0 && answer.refresh_token.is_none() {
            return None;
        }
        kept.insert(place, answer);
        kept.truncate(3);
        self.current = kept.remove(0);
        self.alts = kept;
        Some(place)
    }
}
