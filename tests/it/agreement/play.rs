//! Plays a sequence on two stores, step by step, and stops where they differ.

use std::time::Duration;

use vestibule::{Digest, store::Begun};

use super::{
    Tally,
    ask::{Answer, Decided, ask, refresh_token},
    side::Side,
    step::{Attempted, Step, Which},
};

/// An error tells what the two answered.
pub(super) async fn play(
    steps: &[Step],
    sides: &mut [Side; 2],
    tally: &mut Tally,
) -> Result<(), String> {
    let mut game = Game { made: vec![Made::NEVER], sent: Vec::new(), tally };
    for (at, step) in steps.iter().enumerate() {
        match game.settle(step) {
            None => {}
            Some(Step::Wait(by)) => {
                for side in &mut *sides {
                    side.wait(by).await;
                }
            }
            Some(step) => {
                game.compare(at, &step, sides).await?;
                if let Some(id) = game.touched(&step) {
                    game.compare(at, &Step::Read { id }, sides).await?;
                }
            }
        }
    }
    let end = steps.len();
    game.compare(end, &Step::Backlog, sides).await?;
    // When each of those in the due index is due, if nothing showed it so far.
    for request in 100..106 {
        let all = Step::Claim { request, limit: 100, hide: Duration::from_secs(600) };
        game.compare(end, &all, sides).await?;
        for side in &mut *sides {
            side.wait(Duration::from_secs(7)).await;
        }
    }
    Ok(())
}

struct Game<'a> {
    made: Vec<Made>,
    sent: Vec<Step>,
    tally: &'a mut Tally,
}

/// An attempt, with the fence that each side gave it.
#[derive(Debug)]
struct Made {
    id: u8,
    fences: [u64; 2],
    grant: u64,
    presented: Digest,
}

impl Made {
    /// What is decided before anything began.
    const NEVER: Self = Self { id: 0, fences: [999; 2], grant: 1, presented: Digest::NONE };
}

impl Game<'_> {
    /// The step with what it refers to; `None` if there is no such thing yet.
    fn settle(&mut self, step: &Step) -> Option<Step> {
        let mut step = step.clone();
        if let Step::Again(back) = step {
            step = self.sent.iter().rev().nth(back)?.clone();
        }
        if let Step::Commit { of, .. } | Step::Fail { of, .. } = &mut step
            && let Which::Back(back) = of.which
        {
            let begun = self.made.len() - 1;
            of.which = Which::Number(if begun == 0 { 0 } else { begun - back % begun });
        }
        if !matches!(step, Step::Wait(_)) {
            self.sent.push(step.clone());
        }
        Some(step)
    }

    fn touched(&self, step: &Step) -> Option<u8> {
        match step {
            Step::Store { id, .. } | Step::Begin { id, .. } | Step::Renew { id, .. } => Some(*id),
            Step::Commit { of, .. } | Step::Fail { of, .. } => Some(self.decided(of, 0).id),
            _ => None,
        }
    }

    async fn compare(&mut self, at: usize, step: &Step, sides: &[Side; 2]) -> Result<(), String> {
        let decided = |side| match step {
            Step::Commit { of, .. } | Step::Fail { of, .. } => Some(self.decided(of, side)),
            _ => None,
        };
        let [left, right] = [
            ask(&*sides[0].store, at, step, decided(0)).await,
            ask(&*sides[1].store, at, step, decided(1)).await,
        ];
        let differ = || Err(format!("step {at}, {step:?}:\n{left:?}\n{right:?}"));
        if !left.agrees(&right) {
            return differ();
        }
        let mut outcome = left.outcome.clone();
        if let (
            Step::Begin { id, .. },
            Answer { begun: Some(l), .. },
            Answer { begun: Some(r), .. },
        ) = (step, &left, &right)
        {
            let before =
                [(0, l), (1, r)].map(|(side, begun)| self.position(*id, side, begun.fence));
            if before[0] != before[1] {
                return differ();
            }
            match before[0] {
                Some(_) => outcome = "begin begun again".to_owned(),
                None => self.made.push(Made::new(*id, l, r)),
            }
        }
        *self.tally.entry(outcome).or_default() += 1;
        Ok(())
    }

    /// Which attempt it is, going by one side's fence.
    fn position(&self, id: u8, side: usize, fence: u64) -> Option<usize> {
        self.made.iter().position(|made| made.id == id && made.fences[side] == fence)
    }

    fn decided(&self, of: &Attempted, side: usize) -> Decided {
        let Which::Number(number) = of.which else { unreachable!("it was settled") };
        let Made { id, fences, grant, presented } = self.made[number];
        Decided {
            id,
            fence: fences[side],
            grant: grant + u64::from(of.other_grant),
            presented: of.other_token.map_or(presented, refresh_token),
        }
    }
}

impl Made {
    fn new(id: u8, left: &Begun, right: &Begun) -> Self {
        let fences = [left.fence, right.fence];
        Self { id, fences, grant: left.grant, presented: left.refresh_token }
    }
}

/// What comes up in any run that is worth its name.
pub(super) const OUTCOMES: [&str; 33] = [
    "put Stored",
    "put Collision",
    "take taken",
    "take already_taken",
    "take expired",
    "take absent",
    "store Stored",
    "store Foreign",
    "read",
    "read nothing",
    "claim 0",
    "claim 1",
    "claim 2",
    "give back",
    "begin begun",
    "begin begun again",
    "begin begun undecided",
    "begin held",
    "begin not_due",
    "begin not_refreshable",
    "begin inactive",
    "begin absent",
    "renew Renewed",
    "renew Lost",
    "renew Absent",
    "commit Committed",
    "commit AlreadyCommitted",
    "commit Superseded",
    "commit Refused",
    "commit Gone",
    "fail Recorded",
    "fail Stale",
    "fail Gone",
];
