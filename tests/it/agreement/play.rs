//! Plays a sequence on two stores, step by step, and stops where they differ.

use std::time::Duration;

use vestibule::{Digest, store::Begun};

use super::{
    Tally,
    ask::{Answer, Decided, ask, refresh_token},
    ask_access,
    ask_pending::Rest,
    step::{Attempted, Step, Which},
    step_event::EventStep,
    step_lifecycle::{LifecycleStep, owner_of},
    step_pending::PendingStep,
    step_token::TokenStep,
};
use crate::support::side::Side;

/// An error tells what the two answered.
pub(super) async fn play(
    steps: &[Step],
    sides: &[Side; 2],
    tally: &mut Tally,
) -> Result<(), String> {
    let (made, paging) = (vec![Made::NEVER], Paging::default());
    let mut game = Game { made, paging, sent: Vec::new(), tally };
    for (at, step) in steps.iter().enumerate() {
        match game.settle(step) {
            None => {}
            Some(Step::Wait(by)) => {
                game.paging.waited = true;
                for side in sides {
                    side.pass(by).await;
                }
            }
            Some(step) => {
                game.compare(at, &step, sides).await?;
                for shows in game.shown_by(&step) {
                    game.compare(at, &shows, sides).await?;
                }
            }
        }
    }
    let end = steps.len();
    if steps.iter().any(|step| matches!(step, Step::Pending(_))) {
        for step in PendingStep::all() {
            game.compare(end, &Step::Pending(step), sides).await?;
        }
        return Ok(());
    }
    if steps.iter().any(|step| matches!(step, Step::Token(_))) {
        for step in TokenStep::all() {
            game.compare(end, &Step::Token(step), sides).await?;
        }
        return Ok(());
    }
    // What was told of all that.
    let all = EventStep::History { limit: 1000, before: None, since: None };
    game.compare(end, &Step::Event(all), sides).await?;
    game.compare(end, &Step::Sealed, sides).await?;
    game.compare(end, &Step::Backlog, sides).await?;
    if steps.iter().any(|step| matches!(step, Step::Access(_))) {
        game.compare(end, &Step::Access(ask_access::last()), sides).await?;
    }
    // When each of those in the due index is due, if nothing showed it so far.
    for request in 100..106 {
        let all = Step::Claim { request, limit: 100, hide: Duration::from_secs(600) };
        game.compare(end, &all, sides).await?;
        for side in sides {
            side.pass(Duration::from_secs(7)).await;
        }
    }
    Ok(())
}

struct Game<'a> {
    made: Vec<Made>,
    paging: Paging,
    sent: Vec<Step>,
    tally: &'a mut Tally,
}

/// What the last list left, on each side, and what has happened since.
#[derive(Debug, Default)]
struct Paging {
    rests: [Option<Rest>; 2],
    waited: bool,
}

impl Paging {
    /// Where it goes on. A cursor does not age with the records: it leads elsewhere then.
    fn rest(&self, side: usize) -> Option<Rest> {
        self.rests[side].clone().filter(|_| !self.waited)
    }
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

    /// What shows the change that a step made.
    fn shown_by(&self, step: &Step) -> Vec<Step> {
        let id = match step {
            Step::Store { id, .. }
            | Step::Begin { id, .. }
            | Step::Renew { id, .. }
            | Step::Reseal { id, .. }
            | Step::Retry { id, .. } => *id,
            Step::Commit { of, .. } | Step::Fail { of, .. } => self.decided(of, 0).id,
            Step::Pending(step) => return step.shown_by().into_iter().map(Step::Pending).collect(),
            Step::Event(step) => return step.shown_by().into_iter().map(Step::Event).collect(),
            Step::Token(step) => return step.shown_by().into_iter().map(Step::Token).collect(),
            Step::Headers(step) => return step.shown_by().into_iter().map(Step::Headers).collect(),
            Step::Limit(step) => return step.shown_by().into_iter().map(Step::Limit).collect(),
            Step::Lifecycle(step) => step.id(),
            Step::Access(step) => match step.id() {
                Some(id) => id,
                None => return Vec::new(),
            },
            _ => return Vec::new(),
        };
        // Each connection has its owner.
        let owner = owner_of(id, false);
        let mut known = vec![Step::Read { id }, Step::Lifecycle(LifecycleStep::Get { id, owner })];
        if self.sent.iter().any(|step| matches!(step, Step::Lifecycle(_))) {
            known.push(Step::Lifecycle(LifecycleStep::List { owner, limit: 1 }));
        }
        known
    }

    async fn compare(&mut self, at: usize, step: &Step, sides: &[Side; 2]) -> Result<(), String> {
        let decided = |side| match step {
            Step::Commit { of, .. } | Step::Fail { of, .. } => Some(self.decided(of, side)),
            _ => None,
        };
        let rest = |side| self.paging.rest(side);
        let [left, right] = [
            ask(&*sides[0].store, at, step, decided(0), rest(0)).await,
            ask(&*sides[1].store, at, step, decided(1), rest(1)).await,
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
        if left.rest.is_some() {
            self.paging = Paging { rests: [left.rest, right.rest], ..Paging::default() };
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
