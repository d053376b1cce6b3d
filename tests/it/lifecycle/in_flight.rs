//! Every small ordering of revocations, deletions and sign-ins around what an exchange brings: no
//! resurrection, no foreign secret.
//!
//! Every credential is due at once, and each sign-in is given the same refresh token, as some
//! providers do: nothing but the grant and the receipts keeps the old exchange's answer away.

use std::time::Duration;

use redis::{AsyncCommands, aio::MultiplexedConnection};
use vestibule::{
    Digest,
    store::{
        Attempt, Begun, Claim, Commit, CommitOutcome, ConnectionId, DeletedConnection, Fail,
        FailOutcome, FailureKind, NewCredential, Revoke, RevokedConnection, Status, Stored,
    },
};

use crate::support::{
    side::Side,
    verbs::{BY, answer, attempt, begin_as, connection, credential, failure, owner_of, request},
};

/// Up to three of these, in any order; what arrives comes before, between or after them, twice: 710
/// orderings on each store.
#[tokio::test]
async fn what_was_ended_stays_ended() {
    for world in Side::both().await.map(World) {
        assert_eq!(world.play_all(3, Without::Nothing).await, [] as [String; 0]);
    }
}

/// What each guard is for: without it some ordering brings something back.
#[tokio::test]
async fn without_a_guard_something_comes_back() {
    let redis = World(Side::redis().await);
    for without in [Without::TheGrantOfARevocation, Without::TheReceiptsOfADeletion] {
        let wrong = redis.play_all(2, without).await;
        println!("without {without:?}: {}", wrong.join("\n"));
        // What nobody wants any more was taken, or what was deleted is there again.
        let back = |how: &String| how.ends_with(": committed") || how.contains(": Some(");
        assert!(wrong.iter().any(back), "nothing comes back without {without:?}: {wrong:?}");
    }
}

/// What a worse store would not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Only the status is changed.
    TheGrantOfARevocation,
    /// The record and its index entries go, and that is all.
    TheReceiptsOfADeletion,
}

/// What ends the grant that the exchange began under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Revoke,
    Delete,
    SignIn,
}

/// What arrives late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Commit,
    Fail(FailureKind),
    /// The retry of the sign-in that made the connection, whose reply was lost.
    FirstSignIn,
}

const ENDS: [End; 3] = [End::Revoke, End::Delete, End::SignIn];
const ARRIVALS: [Arrival; 5] = [
    Arrival::Commit,
    Arrival::Fail(FailureKind::Transient),
    Arrival::Fail(FailureKind::Undecided),
    Arrival::Fail(FailureKind::NeedsReauth),
    Arrival::FirstSignIn,
];

/// On which a story is played.
struct World(Side);

impl World {
    /// The orderings with up to so many ends that went wrong.
    async fn play_all(&self, ends: usize, without: Without) -> Vec<String> {
        let (mut wrong, mut played) = (Vec::new(), 0);
        for ends in sequences(ends) {
            for arrives_at in 0..=ends.len() {
                for arrival in ARRIVALS {
                    played += 1;
                    if let Err(how) = self.play(&ends, arrives_at, arrival, without).await {
                        wrong.push(format!("{ends:?}, {arrival:?} at {arrives_at}: {how}"));
                    }
                }
            }
        }
        println!("{played} orderings");
        assert_eq!(played, if ends == 3 { 5 * (1 + 3 * 2 + 9 * 3 + 27 * 4) } else { 5 * 34 });
        wrong
    }

    async fn play(
        &self,
        ends: &[End],
        arrives_at: usize,
        arrival: Arrival,
        without: Without,
    ) -> Result<(), String> {
        let mut story = Story::begin(&self.0).await;
        for at in 0..=ends.len() {
            if at == arrives_at {
                story.arrives(arrival, at > 0).await?;
                story.is_as_expected().await?;
            }
            if let Some(end) = ends.get(at) {
                story.end(*end, without).await;
                story.is_as_expected().await?;
            }
        }
        // Once more: a retry, or a journal's replay.
        if arrives_at < ends.len() {
            story.arrives(arrival, true).await?;
            story.is_as_expected().await?;
        }
        story.is_due_if_active().await?;
        story.clear_away().await;
        Ok(())
    }
}

/// One connection, and what it must be.
struct Story<'a> {
    side: &'a Side,
    id: ConnectionId,
    owner: Digest,
    begun: Begun,
    first_sign_in: Digest,
    arrival: Digest,
    sign_ins: u8,
    /// Where it stands, and its secret.
    expected: Option<(Status, Vec<u8>)>,
}

impl<'a> Story<'a> {
    /// Signed in, and an exchange begun.
    async fn begin(side: &'a Side) -> Self {
        let (id, first_sign_in) = (connection(), request());
        let new = NewCredential { secret: &[0], ..credential(&id, first_sign_in) };
        let stored = side.store.store_credential(new).await.unwrap();
        assert_eq!(stored, Stored::Stored { grant: 1 });
        let attempt = Attempt { lease: Duration::ZERO, ..attempt(&id, request()) };
        Self {
            side,
            owner: owner_of(&id),
            begun: begin_as(&*side.store, attempt).await,
            id,
            first_sign_in,
            arrival: request(),
            sign_ins: 0,
            expected: Some((Status::Active, vec![0])),
        }
    }

    async fn store(&self, request: Digest, secret: u8) -> Stored {
        let new = NewCredential { secret: &[secret], ..credential(&self.id, request) };
        self.side.store.store_credential(new).await.unwrap()
    }

    async fn end(&mut self, end: End, without: Without) {
        let was = self.expected.is_some();
        match (end, without) {
            (End::SignIn, _) => {
                self.sign_ins += 1;
                self.store(request(), self.sign_ins).await;
                self.expected = Some((Status::Active, vec![self.sign_ins]));
            }
            (End::Revoke, Without::TheGrantOfARevocation) if was => {
                let (mut raw, key, due) = self.raw();
                let _: () = raw.hset(key, "status", "revoked").await.unwrap();
                let _: () = raw.zrem(due, self.id.as_str()).await.unwrap();
                let secret = self.expected.take().unwrap().1;
                self.expected = Some((Status::Revoked, secret));
            }
            (End::Revoke, _) => {
                let already =
                    self.expected.as_ref().is_some_and(|(status, _)| *status == Status::Revoked);
                let revoked = self.revoke().await;
                let right = match revoked {
                    RevokedConnection::Revoked { .. } => was && !already,
                    RevokedConnection::Already => already,
                    RevokedConnection::Absent => !was,
                };
                assert!(right, "{revoked:?}");
                self.expected = was.then(|| (Status::Revoked, Vec::new()));
            }
            (End::Delete, Without::TheReceiptsOfADeletion) => {
                let (mut raw, key, due) = self.raw();
                let _: () = raw.del(key).await.unwrap();
                let _: () = raw.zrem(due, self.id.as_str()).await.unwrap();
                self.expected = None;
            }
            (End::Delete, _) => {
                let deleted = self.delete().await;
                let expected =
                    if was { DeletedConnection::Deleted } else { DeletedConnection::Absent };
                assert_eq!(deleted, expected);
                self.expected = None;
            }
        }
    }

    /// `late`: the grant that it belongs to has ended.
    async fn arrives(&mut self, arrival: Arrival, late: bool) -> Result<(), String> {
        let (there, outcome) = (self.expected.is_some(), self.ask(arrival).await);
        if !late {
            match arrival {
                Arrival::Commit => self.expected = Some((Status::Active, vec![99])),
                Arrival::Fail(FailureKind::NeedsReauth) => {
                    self.expected = Some((Status::NeedsReauth, vec![0]));
                }
                Arrival::Fail(_) | Arrival::FirstSignIn => {}
            }
            return Ok(());
        }
        let right: &[&str] = match (arrival, there) {
            (Arrival::Commit, true) => &["refused", "already_committed"],
            (Arrival::Commit, false) => &["gone"],
            // A retry of one that had been recorded is told so, by what it finds now.
            (Arrival::Fail(_), true) => &["Stale", "Recorded", "Switched"],
            (Arrival::Fail(_), false) => &["Gone"],
            (Arrival::FirstSignIn, _) => &["Stored"],
        };
        if right.iter().any(|right| outcome.starts_with(right)) {
            return Ok(());
        }
        Err(outcome)
    }

    async fn ask(&self, arrival: Arrival) -> String {
        let (id, begun, request) = (&self.id, &self.begun, self.arrival);
        let store = &self.side.store;
        match arrival {
            Arrival::Commit => {
                let next_in = Some(Duration::ZERO);
                let commit = Commit { secret: &[99], next_in, ..answer(id, begun, request) };
                let outcome: CommitOutcome = store.commit(commit).await.unwrap();
                outcome.as_str().to_owned()
            }
            Arrival::Fail(kind) => {
                let fail = Fail { kind, backoff: Duration::ZERO, ..failure(id, begun, request) };
                let outcome: FailOutcome = store.fail(fail).await.unwrap();
                format!("{outcome:?}")
            }
            Arrival::FirstSignIn => format!("{:?}", self.store(self.first_sign_in, 0).await),
        }
    }

    async fn is_as_expected(&self) -> Result<(), String> {
        let store = &self.side.store;
        let row = store.read_credential(&self.id).await.unwrap();
        let found = row.map(|row| (row.status, row.secret));
        if found != self.expected {
            return Err(format!("{found:?}, not {:?}", self.expected));
        }
        let shown = store.read_connection(self.owner, &self.id).await.unwrap();
        if shown.map(|row| row.status) != self.expected.as_ref().map(|expected| expected.0) {
            return Err("it is shown as something else".to_owned());
        }
        Ok(())
    }

    /// What is not active is not refreshed any more; what is, is.
    async fn is_due_if_active(&self) -> Result<(), String> {
        let (shard, hide) = (self.id.shard(), Duration::ZERO);
        let claim = Claim { shard, request: request(), limit: 100, hide };
        let due = self.side.store.claim_due(claim).await.unwrap().contains(&self.id);
        let active = self.expected.as_ref().is_some_and(|(status, _)| *status == Status::Active);
        if due == active { Ok(()) } else { Err(format!("due: {due}, active: {active}")) }
    }

    /// No other story finds it in its shard.
    async fn clear_away(&self) {
        self.delete().await;
    }

    async fn revoke(&self) -> RevokedConnection {
        let revoke = Revoke {
            id: &self.id,
            request: request(),
            owner: self.owner,
            reason: "withdrawn",
            by: BY,
        };
        self.side.store.revoke_connection(revoke).await.unwrap()
    }

    async fn delete(&self) -> DeletedConnection {
        self.side.store.delete_connection(self.owner, &self.id, request(), BY).await.unwrap()
    }

    /// A connection to Redis, and the keys of the record and the due index.
    fn raw(&self) -> (MultiplexedConnection, String, String) {
        let (side, shard) = (self.side, self.id.shard());
        (side.raw(), side.key(shard, format!("conn:{}", self.id)), side.key(shard, "due"))
    }
}

/// All sequences of up to so many ends.
fn sequences(most: usize) -> Vec<Vec<End>> {
    let mut all = vec![Vec::new()];
    let mut longest = all.clone();
    for _ in 0..most {
        longest = longest
            .iter()
            .flat_map(|ends| ENDS.map(|end| ends.iter().copied().chain([end]).collect()))
            .collect();
        all.extend(longest.iter().cloned());
    }
    all
}
