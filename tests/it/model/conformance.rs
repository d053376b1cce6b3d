//! The model is no story of its own: what it does, the store does, step by step. On memory; that
//! Redis agrees with that is shown in `agreement`.

use std::{collections::HashMap, time::Duration};

use stateright::Model;
use vestibule::store::{
    self, Begin, Commit, CommitOutcome, ConnectionId, Fail, FailOutcome, FailureKind,
    NewCredential, Status, Store, memory::MemoryStore,
};

use crate::{
    properties::model::{
        SMALL,
        record::{Attempt, Committed, Failed, Guards, Record},
        world::{State, Step, Worker, World},
    },
    support::{
        server,
        verbs::{LEASE, answer, attempt, credential, digest, failure, request},
    },
};

#[tokio::test]
async fn the_store_does_what_the_model_does() {
    let (mut steps, mut seen) = (0, HashMap::<String, u32>::new());
    for walk in 0..400 {
        let rotates = walk % 4 != 0;
        let world = World { attempts: 12, rotates, ..SMALL };
        let mut state = world.init_states().remove(0);
        let mut real = Real::new(&state.credentials[0].record).await;
        for _ in 0..60 {
            let mut possible = Vec::new();
            world.actions(&state, &mut possible);
            if possible.is_empty() {
                break;
            }
            let step = possible[server::random() as usize % possible.len()];
            let next = world.next_state(&state, step).unwrap();
            let outcome = real.play(&state, &next, step).await;
            *seen.entry(outcome).or_default() += 1;
            real.compare(&next, step).await;
            state = next;
            steps += 1;
        }
    }
    println!("{steps} steps: {seen:?}");
    for outcome in
        ["begun", "Current", "Alt", "Superseded", "Refused", "Recorded", "Switched", "Stale"]
    {
        assert!(seen.contains_key(outcome), "{outcome} never came up: {seen:?}");
    }
}

/// A store with the one connection that the model has.
struct Real {
    store: MemoryStore,
    id: ConnectionId,
    /// Each attempt, and when it began.
    began: HashMap<u8, (store::Begun, u64)>,
}

impl Real {
    async fn new(record: &Record) -> Self {
        let id = ConnectionId::random(digest(9));
        let real = Self { store: MemoryStore::new(), id, began: HashMap::new() };
        real.sign_in(record).await;
        real
    }

    /// Asserts that the outcome is the model's, and says its word.
    async fn play(&mut self, before: &State, after: &State, step: Step) -> String {
        let record = &before.credentials[0].record;
        match step {
            Step::Begin { .. } => {
                let mut expected = record.clone();
                self.begin(expected.begin().unwrap()).await;
                return "begun".to_owned();
            }
            Step::LeaseEnds { .. } => self.store.advance(LEASE),
            Step::Commit { worker } => {
                let Worker::Answered(_, attempt, token) = before.workers[worker] else { panic!() };
                let expected = record.clone().commit(attempt, token, Guards::ALL);
                let outcome = self.commit(attempt, token.number, token.grant).await;
                let same = match (expected, outcome) {
                    (Committed::Current, CommitOutcome::Committed { recovered, .. }) => {
                        recovered != record.active
                    }
                    (Committed::Alt, CommitOutcome::Alt)
                    | (Committed::Superseded, CommitOutcome::Superseded)
                    | (Committed::Refused, CommitOutcome::Refused) => true,
                    _ => false,
                };
                assert!(same, "{step:?} at {before:?}: {outcome:?}, not {expected:?}");
                return format!("{expected:?}");
            }
            Step::Fail { worker } => {
                let Worker::Refused(_, attempt) = before.workers[worker] else { panic!() };
                let expected = record.clone().fail(attempt, Guards::ALL);
                let outcome = self.fail(attempt).await;
                let same = matches!(
                    (expected, outcome),
                    (Failed::Recorded, FailOutcome::Recorded { .. })
                        | (Failed::Switched, FailOutcome::Switched { .. })
                        | (Failed::Stale, FailOutcome::Stale)
                );
                assert!(same, "{step:?} at {before:?}: {outcome:?}, not {expected:?}");
                return format!("{expected:?}");
            }
            Step::SignIn { .. } => self.sign_in(&after.credentials[0].record).await,
            Step::Present { .. } | Step::Crash { .. } => {}
        }
        String::new()
    }

    async fn compare(&self, after: &State, step: Step) {
        let record = &after.credentials[0].record;
        let row = self.store.read_credential(&self.id).await.unwrap().unwrap();
        let token = record.held[0].token;
        assert_eq!(row.secret, [token.number, token.grant], "{step:?} to {after:?}");
        assert_eq!(row.alts, record.held.len() - 1, "{step:?} to {after:?}");
        assert_eq!(row.status == Status::Active, record.active, "{step:?} to {after:?}");
        assert_eq!(row.grant, u64::from(record.grant));
    }

    async fn sign_in(&self, record: &Record) {
        let token = record.held[0].token;
        let new = NewCredential {
            secret: &[token.number, token.grant],
            refresh_token: Some(digest(token.number)),
            ..credential(&self.id, request())
        };
        self.store.store_credential(new).await.unwrap();
    }

    async fn begin(&mut self, expected: Attempt) {
        // So that no two begin at the same moment.
        self.store.advance(Duration::from_millis(10));
        let attempt = attempt(&self.id, request());
        let outcome = self.store.begin(attempt).await.unwrap();
        let Begin::Begun(begun) = outcome else { panic!("{outcome:?}, not {expected:?}") };
        assert_eq!(begun.fence, u64::from(expected.fence));
        assert_eq!(begun.grant, u64::from(expected.grant));
        assert_eq!(begun.refresh_token, digest(expected.presented));
        self.began.insert(expected.fence, (begun, self.store.now_ms()));
    }

    async fn commit(&self, attempt: Attempt, number: u8, grant: u8) -> CommitOutcome {
        let (begun, began) = &self.began[&attempt.fence];
        let commit = Commit {
            secret: &[number, grant],
            refresh_token: Some(digest(number)),
            next_in: Some(Duration::ZERO),
            answered_ago: Duration::from_millis(self.store.now_ms() - began),
            ..answer(&self.id, begun, request())
        };
        self.store.commit(commit).await.unwrap()
    }

    async fn fail(&self, attempt: Attempt) -> FailOutcome {
        let (begun, _) = &self.began[&attempt.fence];
        let (kind, backoff) = (FailureKind::NeedsReauth, Duration::ZERO);
        let fail = Fail { kind, backoff, ..failure(&self.id, begun, request()) };
        self.store.fail(fail).await.unwrap()
    }
}
