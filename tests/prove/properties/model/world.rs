//! Workers, credentials and their provider, as a checker explores them: whatever may happen next
//! does. A pause is nothing of its own: another's step comes in between, and a lease may end at any
//! time. A claim only hides a connection, and a vend begins without one: so here everybody does.

use stateright::{Model, Property};

use super::record::{Attempt, Guards, Record, Token};

/// How much may happen.
#[derive(Debug, Clone, Copy)]
pub struct World {
    pub workers: usize,
    pub credentials: usize,
    /// Attempts at each credential.
    pub attempts: u8,
    pub crashes: u8,
    /// Whether the provider rotates. One that does not may give the same refresh token at a sign-in.
    pub rotates: bool,
    pub guards: Guards,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub credentials: Vec<Credential>,
    pub workers: Vec<Worker>,
    crashes: u8,
}

/// A record, and what the provider knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Credential {
    pub record: Record,
    /// The one refresh token that may be exchanged; and the one before it, which a grace forgives.
    live: u8,
    before: u8,
    minted: u8,
    /// The live one died with a worker.
    lost: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Worker {
    Idle,
    Begun(usize, Attempt),
    Answered(usize, Attempt, Token),
    Refused(usize, Attempt),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Begin { worker: usize, credential: usize },
    LeaseEnds { credential: usize },
    Present { worker: usize, grace: Grace },
    Commit { worker: usize },
    Fail { worker: usize },
    Crash { worker: usize },
    SignIn { credential: usize },
}

/// What a provider makes of the token before the live one, once its successor is not used yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grace {
    /// A new token, and that is the live one.
    MintsTheLive,
    /// A new token that is worth nothing: the first successor stays the live one.
    MintsTheDead,
    /// It has none.
    Refuses,
}

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let credential =
            Credential { record: Record::new(), live: 1, before: 0, minted: 1, lost: false };
        vec![State {
            credentials: vec![credential; self.credentials],
            workers: vec![Worker::Idle; self.workers],
            crashes: 0,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (credential, it) in state.credentials.iter().enumerate() {
            if it.record.leased {
                steps.push(Step::LeaseEnds { credential });
            }
            if it.record.grant == 1 {
                steps.push(Step::SignIn { credential });
            }
        }
        for (worker, it) in state.workers.iter().enumerate() {
            // All idle workers are one.
            let first = !state.workers[..worker].contains(it);
            match it {
                Worker::Idle if first => {
                    let all = 0..state.credentials.len();
                    let open = all.filter(|at| {
                        let record = &state.credentials[*at].record;
                        record.active && !record.leased && record.fence < self.attempts
                    });
                    steps.extend(open.map(|credential| Step::Begin { worker, credential }));
                }
                Worker::Idle => continue,
                Worker::Begun(credential, attempt) => {
                    let it = &state.credentials[*credential];
                    let again = self.rotates && attempt.presented == it.before;
                    let graces = [Grace::MintsTheLive, Grace::MintsTheDead, Grace::Refuses];
                    let graces = if again { &graces[..] } else { &graces[2..] };
                    steps.extend(graces.iter().map(|&grace| Step::Present { worker, grace }));
                }
                Worker::Answered(..) => steps.push(Step::Commit { worker }),
                Worker::Refused(..) => steps.push(Step::Fail { worker }),
            }
            if *it != Worker::Idle && state.crashes < self.crashes {
                steps.push(Step::Crash { worker });
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Begin { worker, credential } => {
                let attempt = next.credentials[credential].record.begin()?;
                next.workers[worker] = Worker::Begun(credential, attempt);
            }
            Step::LeaseEnds { credential } => next.credentials[credential].record.leased = false,
            Step::Present { worker, grace } => {
                let Worker::Begun(at, attempt) = next.workers[worker] else { return None };
                let answer = next.credentials[at].present(attempt, grace, self.rotates);
                next.workers[worker] = match answer {
                    Some(token) => Worker::Answered(at, attempt, token),
                    None => Worker::Refused(at, attempt),
                };
            }
            Step::Commit { worker } => {
                let Worker::Answered(at, attempt, token) = next.workers[worker] else {
                    return None;
                };
                next.credentials[at].record.commit(attempt, token, self.guards);
                next.workers[worker] = Worker::Idle;
            }
            Step::Fail { worker } => {
                let Worker::Refused(at, attempt) = next.workers[worker] else { return None };
                next.credentials[at].record.fail(attempt, self.guards);
                next.workers[worker] = Worker::Idle;
            }
            Step::Crash { worker } => {
                if let Worker::Answered(at, _, token) = next.workers[worker] {
                    let it = &mut next.credentials[at];
                    it.lost |= it.live == token.number && !it.record.holds(token.number);
                }
                next.workers[worker] = Worker::Idle;
                next.crashes += 1;
            }
            Step::SignIn { credential } => next.credentials[credential].sign_in(self.rotates),
        }
        next.workers.sort(); // which worker it is does not matter
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the live token is never dropped", |_, state: &State| {
                state.all(|at, it| {
                    let held = it.record.holds(it.live);
                    held || it.lost || state.in_hand(at).any(|token| token.number == it.live)
                })
            }),
            Property::always("no live token is condemned", |_, state: &State| {
                state.all(|_, it| it.record.active || !it.record.holds(it.live))
            }),
            Property::always("the newest attempt judges", |_, state: &State| {
                state.all(|at, it| {
                    let verdict = it.record.condemned_by;
                    it.record.active || state.attempts(at).all(|attempt| attempt.fence <= verdict)
                })
            }),
            Property::always("no secret of another grant", |_, state: &State| {
                state.all(|_, it| {
                    it.record.held.iter().all(|answer| answer.token.grant == it.record.grant)
                })
            }),
        ]
    }
}

impl State {
    fn all(&self, holds: impl Fn(usize, &Credential) -> bool) -> bool {
        self.credentials.iter().enumerate().all(|(at, it)| holds(at, it))
    }

    /// The attempts that are under way, of the grant that the record is of.
    fn attempts(&self, at: usize) -> impl Iterator<Item = Attempt> {
        let grant = self.credentials[at].record.grant;
        self.workers.iter().filter_map(move |worker| match worker {
            Worker::Begun(of, attempt)
            | Worker::Answered(of, attempt, _)
            | Worker::Refused(of, attempt)
                if *of == at && attempt.grant == grant =>
            {
                Some(*attempt)
            }
            _ => None,
        })
    }

    /// What is answered and not committed, of the grant that the record is of.
    fn in_hand(&self, at: usize) -> impl Iterator<Item = Token> {
        let grant = self.credentials[at].record.grant;
        self.workers.iter().filter_map(move |worker| match worker {
            Worker::Answered(of, attempt, token) if *of == at && attempt.grant == grant => {
                Some(*token)
            }
            _ => None,
        })
    }
}

impl Credential {
    /// `None`: refused.
    fn present(&mut self, attempt: Attempt, grace: Grace, rotates: bool) -> Option<Token> {
        let grant = attempt.grant;
        if attempt.presented == self.live {
            if rotates {
                self.minted += 1;
                (self.before, self.live) = (self.live, self.minted);
            }
            return Some(Token { number: self.live, grant });
        }
        if attempt.presented != self.before || grace == Grace::Refuses {
            return None;
        }
        self.minted += 1;
        if grace == Grace::MintsTheLive {
            (self.live, self.lost) = (self.minted, false);
        }
        Some(Token { number: self.minted, grant })
    }

    fn sign_in(&mut self, rotates: bool) {
        if rotates {
            self.minted += 1;
            self.live = self.minted;
        }
        (self.before, self.lost) = (0, false);
        self.record.store(self.live);
    }
}
