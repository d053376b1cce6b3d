//! One connection's record, and the rules by which its verbs change it: those of `lua/connection`,
//! with each guard there to be taken out.

/// A refresh token. Its number is what the record knows of it; the grant is whose account it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    pub number: u8,
    pub grant: u8,
}

/// What was exchanged, and in which order the exchanges began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Answer {
    pub token: Token,
    pub began: u8,
}

/// What a worker carries from its begin on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    pub fence: u8,
    pub grant: u8,
    pub presented: u8,
}

/// What judges; a store that does without one is what the checker must find out.
#[derive(Debug, Clone, Copy)]
pub struct Guards {
    /// A commit must answer a token that is held, or be a sibling.
    pub lineage: bool,
    /// A commit must be of the grant that it began under.
    pub grant: bool,
    /// A fail must be of the newest attempt.
    pub fence: bool,
    /// A sibling that is not current is kept.
    pub alt: bool,
}

impl Guards {
    pub const ALL: Self = Self { lineage: true, grant: true, fence: true, alt: true };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    Current,
    Alt,
    Superseded,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    Recorded,
    Switched,
    Stale,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    pub grant: u8,
    /// Or it needs re-authorisation.
    pub active: bool,
    /// The current answer, then its siblings.
    pub held: Vec<Answer>,
    pub base: Option<u8>,
    pub refused: Vec<u8>,
    pub fence: u8,
    /// The fence of the undecided attempt, whose holder has the lease, and whether that is live.
    pub attempt: Option<u8>,
    pub holder: bool,
    pub leased: bool,
    /// Which attempt's verdict it was.
    pub condemned_by: u8,
}

impl Record {
    pub fn new() -> Self {
        Self {
            grant: 1,
            active: true,
            held: vec![Answer { token: Token { number: 1, grant: 1 }, began: 0 }],
            base: None,
            refused: Vec::new(),
            fence: 0,
            attempt: None,
            holder: false,
            leased: false,
            condemned_by: 0,
        }
    }

    pub fn current(&self) -> u8 {
        self.held[0].token.number
    }

    pub fn holds(&self, number: u8) -> bool {
        self.held.iter().any(|answer| answer.token.number == number)
    }

    /// `None`: it is held, or not active.
    pub fn begin(&mut self) -> Option<Attempt> {
        if !self.active || self.leased {
            return None;
        }
        self.fence += 1;
        self.attempt = Some(self.fence);
        (self.holder, self.leased) = (true, true);
        Some(Attempt { fence: self.fence, grant: self.grant, presented: self.current() })
    }

    /// A sign-in: a new grant, which drops what was under way.
    pub fn store(&mut self, number: u8) {
        let grant = self.grant + 1;
        let held = vec![Answer { token: Token { number, grant }, began: 0 }];
        *self = Self { grant, held, fence: self.fence, ..Self::new() };
    }

    pub fn commit(&mut self, attempt: Attempt, token: Token, guards: Guards) -> Committed {
        let new = Answer { token, began: attempt.fence };
        if guards.grant && attempt.grant != self.grant {
            return Committed::Refused;
        }
        let proven = self.holds(attempt.presented) || self.refused.contains(&attempt.presented);
        let mut kept = Vec::new();
        if proven || !guards.lineage {
            let same = token.number == self.current();
            if guards.lineage && same && new.began <= self.held[0].began {
                return Committed::Superseded;
            }
            self.refused.clear();
        } else if self.base != Some(attempt.presented) || self.refused.contains(&token.number) {
            return Committed::Superseded;
        } else if self.active {
            kept = self.held.clone();
        }
        let place = kept.iter().take_while(|held| held.began >= new.began).count();
        kept.insert(place, new);
        kept.truncate(if guards.alt { 3 } else { 1 });
        if self.attempt == Some(attempt.fence) {
            (self.attempt, self.holder, self.leased) = (None, false, false);
        }
        self.held = kept;
        if place > 0 {
            return Committed::Alt;
        }
        self.base = Some(attempt.presented);
        self.active = true;
        Committed::Current
    }

    /// The provider refused what was presented.
    pub fn fail(&mut self, attempt: Attempt, guards: Guards) -> Failed {
        let newest = self.attempt == Some(attempt.fence) && self.holder;
        let current = self.grant == attempt.grant && self.current() == attempt.presented;
        if !self.active || !current || guards.fence && !newest {
            return Failed::Stale;
        }
        (self.attempt, self.holder, self.leased) = (None, false, false);
        self.refused.insert(0, attempt.presented);
        self.refused.truncate(3);
        if self.held.len() > 1 {
            self.held.remove(0);
            return Failed::Switched;
        }
        self.active = false;
        self.condemned_by = attempt.fence;
        Failed::Recorded
    }
}
