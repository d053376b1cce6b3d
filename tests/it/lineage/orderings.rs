//! Overlapping attempts at one refresh token, in every small ordering: a grace mints a new token for
//! each, only one of these lives, and nobody can tell which. It is never the one that is lost.
//!
//! Leases last no time here, so that every attempt may begin, and every credential is due at once.

use std::time::Duration;

use redis::{AsyncCommands, aio::MultiplexedConnection};
use vestibule::store::{
    Attempt, Begin, Begun, Commit, CommitOutcome, ConnectionId, Fail, FailOutcome, FailureKind,
    NewCredential, Status,
};

use crate::support::{
    side::Side,
    verbs::{answer, attempt, credential, digest, failure, request},
};

/// Three attempts in all commit orders, whichever of their answers lives, with a next refresh in
/// none, some or all of the gaps: 486 orderings on each store.
#[tokio::test]
async fn the_live_answer_is_never_the_one_dropped() {
    for world in Side::both().await.map(World) {
        let lost = world.play_all(3, Guard::None).await;
        assert_eq!(lost, [] as [String; 0]);
    }
}

/// What each guard is for: without it some ordering loses the account.
#[tokio::test]
async fn without_a_guard_some_ordering_loses_the_account() {
    let redis = World(Side::redis().await);
    for without in [Guard::Alt, Guard::LateCommits, Guard::Recovery] {
        let lost = redis.play_all(2, without).await;
        assert!(!lost.is_empty(), "nothing is lost without {without:?}");
    }
}

/// What a worse store would not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    None,
    /// Keep the sibling that is not current.
    Alt,
    /// Accept a commit under a stale fence.
    LateCommits,
    /// Accept a sibling of what was condemned.
    Recovery,
}

/// What happens around one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    Nothing,
    /// A refresh before it.
    Refresh,
    /// A refresh that begins before it, and whose verdict comes after it.
    Overlap,
}

#[derive(Debug)]
struct Ordering {
    commits: Vec<usize>,
    /// Which attempt got the answer that lives.
    live: usize,
    gaps: Vec<Gap>,
}

/// On which a story is played.
struct World(Side);

impl World {
    /// The orderings of so many attempts that end without the live token.
    async fn play_all(&self, attempts: usize, without: Guard) -> Vec<String> {
        let mut lost = Vec::new();
        let mut played = 0;
        for commits in permutations(attempts) {
            for live in 0..attempts {
                for gaps in all_gaps(attempts) {
                    let ordering = Ordering { commits: commits.clone(), live, gaps };
                    if let Err(how) = self.play(&ordering, without).await {
                        lost.push(format!("{ordering:?}: {how}"));
                    }
                    played += 1;
                }
            }
        }
        assert_eq!(played, if attempts == 3 { 6 * 3 * 27 } else { 2 * 2 * 9 });
        lost
    }

    async fn play(&self, ordering: &Ordering, without: Guard) -> Result<(), String> {
        let mut story =
            Story { side: &self.0, id: ConnectionId::random(digest(9)), live: 0, next: 0 };
        story.store().await;
        let mut attempts = Vec::new();
        for _ in 0..ordering.commits.len() {
            attempts.push(story.begin().await.expect("nothing is decided yet"));
        }
        story.live = 100 + u8::try_from(ordering.live).unwrap();
        for (&which, gap) in ordering.commits.iter().zip(&ordering.gaps) {
            let overlapping = match gap {
                Gap::Nothing => None,
                Gap::Refresh => {
                    story.refresh().await;
                    None
                }
                Gap::Overlap => story.begin().await,
            };
            // The earlier an attempt began, the longer ago.
            let ago = Duration::from_secs(10 * (1 + attempts.len() - which) as u64);
            let token = 100 + u8::try_from(which).unwrap();
            story.commit_unless(without, &attempts[which], token, ago).await;
            if let Some(begun) = overlapping {
                story.verdict(&begun).await;
            }
        }
        for _ in 0..4 {
            story.refresh().await;
        }
        story.lives().await
    }
}

/// One connection, and its provider.
struct Story<'a> {
    side: &'a Side,
    id: ConnectionId,
    /// The one refresh token that the provider accepts.
    live: u8,
    /// Counts what it was rotated into.
    next: u8,
}

impl Story<'_> {
    async fn store(&self) {
        let new =
            NewCredential { refresh_token: Some(digest(1)), ..credential(&self.id, request()) };
        self.side.store.store_credential(new).await.unwrap();
    }

    async fn begin(&self) -> Option<Begun> {
        let attempt = Attempt { lease: Duration::ZERO, ..attempt(&self.id, request()) };
        match self.side.store.begin(attempt).await.unwrap() {
            Begin::Begun(begun) => Some(begun),
            Begin::Inactive(Status::NeedsReauth) => None,
            other => panic!("{other:?}"),
        }
    }

    /// A whole refresh, as the provider answers it.
    async fn refresh(&mut self) {
        if let Some(begun) = self.begin().await {
            self.verdict(&begun).await;
        }
    }

    async fn verdict(&mut self, begun: &Begun) {
        // Before the first answers came nothing is refused: the token is not rotated then.
        if begun.refresh_token == digest(1) {
            return;
        }
        if begun.refresh_token == digest(self.live) {
            self.next += 1;
            self.live = 200 + self.next;
            self.commit(begun, self.live, Duration::ZERO).await;
        } else {
            let (kind, backoff) = (FailureKind::NeedsReauth, Duration::ZERO);
            let fail = Fail { kind, backoff, ..failure(&self.id, begun, request()) };
            let outcome = self.side.store.fail(fail).await.unwrap();
            assert_ne!(outcome, FailOutcome::Gone);
        }
    }

    async fn commit_unless(&self, without: Guard, begun: &Begun, token: u8, ago: Duration) {
        let row = self.side.store.read_credential(&self.id).await.unwrap().unwrap();
        let dropped = match without {
            Guard::None | Guard::Alt => false,
            Guard::LateCommits => begun.fence < self.last_fence().await,
            Guard::Recovery => row.status == Status::NeedsReauth,
        };
        if !dropped {
            self.commit(begun, token, ago).await;
        }
        if without == Guard::Alt {
            let alt = ["alt_secret", "alt_token", "alt2_secret", "alt2_token"];
            let (mut redis, key) = self.raw();
            redis.hdel::<_, _, ()>(key, &alt).await.unwrap();
        }
    }

    async fn commit(&self, begun: &Begun, token: u8, ago: Duration) -> CommitOutcome {
        let commit = Commit {
            secret: &[token],
            refresh_token: Some(digest(token)),
            next_in: Some(Duration::ZERO),
            answered_ago: ago,
            ..answer(&self.id, begun, request())
        };
        self.side.store.commit(commit).await.unwrap()
    }

    async fn last_fence(&self) -> u64 {
        let (mut redis, key) = self.raw();
        redis.hget(key, "fence").await.unwrap()
    }

    fn raw(&self) -> (MultiplexedConnection, String) {
        (self.side.raw(), self.side.key(self.id.shard(), format!("conn:{}", self.id)))
    }

    /// The token that the provider accepts is the one that the record holds.
    async fn lives(&self) -> Result<(), String> {
        let row = self.side.store.read_credential(&self.id).await.unwrap().unwrap();
        if row.status == Status::Active && row.secret == [self.live] {
            return Ok(());
        }
        Err(format!("{:?} with {:?}, and {} lives", row.status, row.secret, self.live))
    }
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for shorter in permutations(last) {
        for at in 0..count {
            let mut longer = shorter.clone();
            longer.insert(at, last);
            all.push(longer);
        }
    }
    all
}

fn all_gaps(count: usize) -> Vec<Vec<Gap>> {
    let Some(fewer) = count.checked_sub(1) else { return vec![Vec::new()] };
    let longer = |gaps: Vec<Gap>| {
        [Gap::Nothing, Gap::Refresh, Gap::Overlap]
            .map(|gap| gaps.iter().copied().chain([gap]).collect())
    };
    all_gaps(fewer).into_iter().flat_map(longer).collect()
}
