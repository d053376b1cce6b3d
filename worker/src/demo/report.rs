//! What was proved: a table for people, one object for programs.

use std::collections::BTreeMap;

use comfy_table::{Cell, Color, LineStyle, Table, presets};
use serde::Serialize;

use super::narrator::Narrator;
use crate::provider::Counts;

/// The figures. The scene that fills one in has it from the provider, from Redis, or from what the
/// replicas answered; what no scene filled in stays zero or false, and fails.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a figure of its own")]
pub(super) struct Report {
    pub(super) ok: bool,
    pub(super) backend: &'static str,
    pub(super) replicas: usize,
    pub(super) workers: usize,
    pub(super) signin_cross_replica: bool,
    pub(super) replay_refused: bool,
    pub(super) prompts: usize,
    pub(super) joined: usize,
    pub(super) woken: usize,
    pub(super) slowest_wake_up_ms: f64,
    pub(super) second_answer_refused: bool,
    pub(super) pending_keys_left: usize,
    pub(super) link_crosses_replicas: bool,
    pub(super) link_refused_elsewhere: usize,
    pub(super) link_refused_afterwards: usize,
    pub(super) credentials: usize,
    pub(super) refreshed: usize,
    pub(super) reused_presentations_before_kill: u64,
    pub(super) reused_presentations: u64,
    pub(super) in_flight_at_kill: usize,
    pub(super) family_revocations: u64,
    pub(super) worker_killed: bool,
    pub(super) recovered_after_kill_ms: u64,
    pub(super) vends: u64,
    pub(super) access_returned: bool,
    pub(super) orphans_swept: u64,
    pub(super) storm: Stormed,
    pub(super) strict: Stormed,
    pub(super) provider_calls: u64,
    pub(super) seconds: u64,
    #[serde(skip)]
    proofs: Vec<Proof>,
}

/// What the storm has cost at one provider.
#[derive(Debug, Default, Serialize)]
pub(super) struct Stormed {
    pub(super) credentials: usize,
    pub(super) kills: usize,
    /// Credentials that a killed worker left in the middle of an exchange.
    pub(super) in_flight_at_kills: usize,
    /// Those that a replica vends a live token for at the end.
    pub(super) live: usize,
    /// Those that are told as lost inside an exchange that a kill interrupted.
    pub(super) labelled: usize,
    /// What neither lives nor is told so.
    pub(super) lost_otherwise: usize,
    pub(super) vends: u64,
    /// Tokens that the provider would not take, handed out all the same.
    pub(super) dead_vends: u64,
    /// Vends that gave no token, by their reason.
    pub(super) refused: BTreeMap<String, u64>,
    /// Of these, what no kill had left in the middle of an exchange.
    pub(super) refused_otherwise: usize,
    pub(super) refreshes: u64,
    pub(super) reused_presentations: u64,
    pub(super) family_revocations: u64,
}

impl Stormed {
    pub(super) fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

#[derive(Debug)]
struct Proof {
    property: String,
    figure: String,
    holds: bool,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            ok: false,
            backend: "redis",
            replicas: 0,
            workers: 0,
            signin_cross_replica: false,
            replay_refused: false,
            prompts: 0,
            joined: 0,
            woken: 0,
            slowest_wake_up_ms: 0.0,
            second_answer_refused: false,
            pending_keys_left: 0,
            link_crosses_replicas: false,
            link_refused_elsewhere: 0,
            link_refused_afterwards: 0,
            credentials: 0,
            refreshed: 0,
            reused_presentations_before_kill: 0,
            reused_presentations: 0,
            in_flight_at_kill: 0,
            family_revocations: 0,
            worker_killed: false,
            recovered_after_kill_ms: 0,
            vends: 0,
            access_returned: false,
            orphans_swept: 0,
            storm: Stormed::default(),
            strict: Stormed::default(),
            provider_calls: 0,
            seconds: 0,
            proofs: Vec::new(),
        }
    }
}

impl Report {
    /// One line of the table. A property that does not hold fails the demo.
    pub(super) fn prove(
        &mut self,
        property: impl Into<String>,
        figure: impl Into<String>,
        holds: bool,
    ) {
        self.proofs.push(Proof { property: property.into(), figure: figure.into(), holds });
    }

    /// What the provider has counted by the end, however that came.
    pub(super) fn count(&mut self, counts: Counts) {
        self.provider_calls = counts.token_calls;
        self.reused_presentations = counts.reused_presentations;
        self.family_revocations = counts.family_revocations;
        self.prove(
            "The provider never had to revoke a sign-in for reuse",
            format!("{} revoked", counts.family_revocations),
            counts.family_revocations == 0,
        );
    }

    /// Judges: all scenes were played, and everything that they wanted to show holds.
    pub(super) fn close(&mut self, played: bool, narrator: &Narrator) {
        if !played && !self.proofs.is_empty() {
            self.prove("All scenes are played to their end", "no: see above", false);
        }
        self.ok = played && self.proofs.iter().all(|proof| proof.holds);
        // Rounded up, so that nothing looks quicker than it was.
        self.seconds = narrator.elapsed().as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX);
    }

    /// `None` if nothing was proved.
    pub(super) fn table(&self, narrator: &Narrator) -> Option<String> {
        if self.proofs.is_empty() {
            return None;
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
        table.force_no_tty();
        if narrator.is_colored() {
            table.enforce_styling();
        }
        table.set_header(["What was to be proved", "Counted", ""]);
        for proof in &self.proofs {
            let (word, color) =
                if proof.holds { ("PASS", Color::Green) } else { ("FAIL", Color::Red) };
            let verdict = Cell::new(word).fg(color);
            table.add_row([Cell::new(&proof.property), Cell::new(&proof.figure), verdict]);
        }
        Some(table.trim_fmt())
    }

    /// `12 passed, 0 failed`.
    pub(super) fn tally(&self) -> String {
        let passed = self.proofs.iter().filter(|proof| proof.holds).count();
        format!("{passed} passed, {} failed", self.proofs.len() - passed)
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| r#"{"ok":false}"#.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Options;

    #[test]
    fn nothing_is_ok_by_default() {
        let narrator = Narrator::new(&Options { redis: None, json: true, no_color: None });
        let mut report = Report::default();
        report.close(false, &narrator);
        assert!(!report.ok);
        report.prove("a", "1", true);
        report.close(true, &narrator);
        assert!(report.ok);
        report.prove("b", "2", false);
        report.close(true, &narrator);
        assert!(!report.ok);
        assert_eq!(report.tally(), "1 passed, 1 failed");
        assert!(report.json().starts_with(r#"{"ok":false,"backend":"redis","replicas":0,"#));
    }
}
