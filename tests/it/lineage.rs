//! What judges a commit and a fail, verb by verb, on both stores. What races and dies is in
//! `prove_small`; what agrees at random is in `agreement`.

mod orderings;
mod replicas;

use std::time::Duration;

use vestibule::{
    Digest,
    store::{
        Attempt, Begin, Begun, Commit, CommitOutcome, ConnectionId, CredentialRow, Fail,
        FailOutcome, FailureKind, NewCredential, Status, Stored,
    },
};

use crate::support::{
    side::Side,
    verbs::{self, LEASE, answer, attempt, credential, digest, failure, request},
};

const HOUR: Duration = Duration::from_secs(3600);

/// One store with one due connection.
struct Scene {
    side: Side,
    id: ConnectionId,
}

impl Scene {
    async fn on_both() -> [Self; 2] {
        let scenes =
            Side::both().await.map(|side| Self { side, id: ConnectionId::random(digest(9)) });
        for scene in &scenes {
            scene.store_secret(request(), b"first", digest(1)).await;
            scene.side.pass(HOUR).await;
        }
        scenes
    }

    async fn store_secret(&self, request: Digest, secret: &[u8], token: Digest) -> Stored {
        let (refresh_token, next_in) = (Some(token), Some(HOUR));
        let new = credential(&self.id, request);
        let new = NewCredential { secret, refresh_token, next_in, ..new };
        self.side.store.store_credential(new).await.unwrap()
    }

    async fn begin_as(&self, holder: Digest) -> Begin {
        verbs::begin(&*self.side.store, &self.id, holder).await.unwrap()
    }

    async fn begun(&self) -> Begun {
        verbs::begin_as(&*self.side.store, attempt(&self.id, request())).await
    }

    /// A commit of `secret` for what `begun` presented; `ago` is when the provider answered.
    async fn commit(
        &self,
        begun: &Begun,
        request: Digest,
        secret: &[u8],
        ago: u64,
    ) -> CommitOutcome {
        let commit = Commit {
            secret,
            refresh_token: Some(digest(secret[0])),
            next_in: Some(HOUR),
            answered_ago: Duration::from_millis(ago),
            ..answer(&self.id, begun, request)
        };
        self.side.store.commit(commit).await.unwrap()
    }

    async fn fail(&self, begun: &Begun, request: Digest, kind: FailureKind) -> FailOutcome {
        let fail = Fail { kind, ..failure(&self.id, begun, request) };
        self.side.store.fail(fail).await.unwrap()
    }

    async fn answered(&self, begun: &Begun, secret: &[u8], ago: u64) -> CommitOutcome {
        self.commit(begun, request(), secret, ago).await
    }

    async fn rejected(&self, begun: &Begun) -> FailOutcome {
        self.fail(begun, request(), FailureKind::NeedsReauth).await
    }

    /// An attempt whose lease runs out, and the next one.
    async fn overlapping(&self) -> [Begun; 2] {
        let slow = self.begun().await;
        self.side.pass(LEASE * 2).await;
        [slow, self.begun().await]
    }

    /// `2` is current, `1` is kept beside it, and a refresh is due.
    async fn gets_a_sibling(&self) {
        let [one, two] = self.overlapping().await;
        self.answered(&two, b"2", 0).await;
        self.answered(&one, b"1", 500).await;
        self.side.pass(HOUR * 2).await;
    }

    async fn row(&self) -> CredentialRow {
        self.side.store.read_credential(&self.id).await.unwrap().unwrap()
    }

    async fn secret(&self) -> Vec<u8> {
        self.row().await.secret
    }
}

/// A freshly rotated token is kept however late its holder is: its lease ran out, another attempt
/// has begun, and the token that it presented is still the current one.
#[tokio::test]
async fn a_commit_under_a_stale_fence_is_accepted() {
    for scene in Scene::on_both().await {
        let [slow, newer] = scene.overlapping().await;
        assert!(newer.fence > slow.fence && newer.undecided_since.is_some_and(|d| d >= LEASE));
        let outcome = scene.answered(&slow, b"slow", 0).await;
        assert_eq!(outcome, CommitOutcome::Committed { ver: 2, recovered: false });
        // The newer attempt's failure does not condemn what the older one saved.
        let verdict = scene.rejected(&newer).await;
        assert_eq!(verdict, FailOutcome::Stale);
        assert_eq!(scene.secret().await, b"slow");
    }
}

/// Two answers to one refresh token: the later exchange's is current, in either order, and the
/// other is kept beside it. What becomes of it then is in `orderings`.
#[tokio::test]
async fn of_two_siblings_the_later_answer_is_current() {
    for (first_ago, second_ago, current) in [(500, 0, b"B-later"), (0, 500, b"A-later")] {
        for scene in Scene::on_both().await {
            let [one, two] = scene.overlapping().await;
            scene.answered(&one, b"A-later", first_ago).await;
            let second = request();
            let outcome = scene.commit(&two, second, b"B-later", second_ago).await;
            let late = first_ago < second_ago;
            assert_eq!(outcome == CommitOutcome::Alt, late, "{outcome:?}");
            let row = scene.row().await;
            assert_eq!((row.secret.as_slice(), row.alts), (current.as_slice(), 1));
            assert_eq!(row.lease_ends_at_ms, None, "the second attempt is decided either way");
            // also of one that is kept.
            let again = scene.commit(&two, second, b"B-later", second_ago).await;
            assert!(matches!(again, CommitOutcome::AlreadyCommitted { .. }), "{again:?}");
        }
    }
}

/// A refresh token is refused while a sibling of its secret is kept: that takes its place at once,
/// nobody has to sign in again, and the next good refresh forgets the siblings.
#[tokio::test]
async fn a_sibling_takes_the_place_of_what_is_dead() {
    for scene in Scene::on_both().await {
        scene.gets_a_sibling().await;

        let three = scene.begun().await;
        assert_eq!(three.refresh_token, digest(b'2'));
        let by = request();
        let switched = FailOutcome::Switched { attempts: 1 };
        assert_eq!(scene.fail(&three, by, FailureKind::NeedsReauth).await, switched);
        assert_eq!(scene.fail(&three, by, FailureKind::NeedsReauth).await, switched, "a retry");
        let row = scene.row().await;
        assert_eq!((row.status, row.secret.as_slice(), row.alts), (Status::Active, &b"1"[..], 0));

        let four = scene.begun().await;
        assert_eq!((four.refresh_token, four.undecided_since), (digest(b'1'), None));
        scene.answered(&four, b"4", 0).await;
        let row = scene.row().await;
        assert_eq!((row.secret.as_slice(), row.attempts, row.alts), (&b"4"[..], 0, 0));
    }
}

/// Of four siblings the three latest are held, in whatever order they come, and take each other's place
/// in turn; the first is one too many.
#[tokio::test]
async fn a_fourth_sibling_is_one_too_many() {
    for order in [*b"1234", *b"4321", *b"2413", *b"3142"] {
        for scene in Scene::on_both().await {
            let mut attempts = Vec::new();
            for _ in 0..order.len() {
                let overlaps = Attempt { lease: Duration::ZERO, ..attempt(&scene.id, request()) };
                attempts.push(verbs::begin_as(&*scene.side.store, overlaps).await);
            }
            for token in order {
                let began = &attempts[usize::from(token - b'1')];
                let ago = 1000 * u64::from(b'9' - token);
                let outcome = scene.answered(began, &[token], ago).await;
                let last_of_four = order == *b"4321" && token == b'1';
                assert_eq!(outcome == CommitOutcome::Superseded, last_of_four, "{order:?}");
            }
            let row = scene.row().await;
            assert_eq!((row.secret.as_slice(), row.alts), (&b"4"[..], 2), "{order:?}");
            scene.side.pass(HOUR * 2).await;
            for (token, next) in [(b'4', Some(1)), (b'3', Some(2)), (b'2', None)] {
                let begun = scene.begun().await;
                assert_eq!(begun.refresh_token, digest(token), "{order:?}");
                let outcome = scene.rejected(&begun).await;
                let switched = next.map(|attempts| FailOutcome::Switched { attempts });
                assert_eq!(outcome, switched.unwrap_or(FailOutcome::Recorded { attempts: 3 }));
            }
            assert_eq!(scene.row().await.status, Status::NeedsReauth, "{order:?}");
        }
    }
}

/// An answer to a token that somebody else was refused with proves that the token lives.
#[tokio::test]
async fn an_answer_to_a_refused_token_is_accepted() {
    for scene in Scene::on_both().await {
        scene.gets_a_sibling().await;
        let [slow, refused] = scene.overlapping().await;
        assert_eq!(slow.refresh_token, refused.refresh_token);
        scene.rejected(&refused).await;
        let outcome = scene.answered(&slow, b"slow", 0).await;
        assert_eq!(outcome, CommitOutcome::Committed { ver: 4, recovered: false });
        assert_eq!(scene.secret().await, b"slow");
    }
}

/// A sibling may be the current answer told again, by a grace that mints nothing new: then there is
/// nothing to keep, and what is dead is not brought back.
#[tokio::test]
async fn a_repeated_answer_is_no_sibling() {
    for scene in Scene::on_both().await {
        let [one, two] = scene.overlapping().await;
        scene.answered(&two, b"same", 0).await;
        assert_eq!(scene.answered(&one, b"same", 500).await, CommitOutcome::Superseded);
        scene.side.pass(HOUR * 2).await;
        let three = scene.begun().await;
        let verdict = scene.rejected(&three).await;
        assert_eq!(verdict, FailOutcome::Recorded { attempts: 1 });
        assert_eq!(scene.answered(&one, b"same", 500).await, CommitOutcome::Superseded);
        let row = scene.row().await;
        assert_eq!(row.status, Status::NeedsReauth);
    }
}

/// An answer that is not the current secret's sibling comes too late.
#[tokio::test]
async fn an_answer_from_before_the_last_refresh_is_superseded() {
    for scene in Scene::on_both().await {
        let [slow, two] = scene.overlapping().await;
        scene.answered(&two, b"two", 0).await;
        scene.side.pass(HOUR * 2).await;
        let three = scene.begun().await;
        scene.answered(&three, b"3", 0).await;
        assert_eq!(scene.answered(&slow, b"slow", 0).await, CommitOutcome::Superseded);
        assert_eq!(scene.secret().await, b"3");
    }
}

/// A new grant refuses the old one's answers, and drops its lease and attempt.
#[tokio::test]
async fn a_new_grant_refuses_the_old_ones_answers() {
    for scene in Scene::on_both().await {
        let old = scene.begun().await;
        assert_eq!(
            scene.store_secret(request(), b"again", digest(2)).await,
            Stored::Stored { grant: 2 }
        );
        assert_eq!(scene.answered(&old, b"old", 0).await, CommitOutcome::Refused);
        assert_eq!(scene.rejected(&old).await, FailOutcome::Stale);
        assert_eq!(scene.secret().await, b"again");
        scene.side.pass(HOUR * 2).await;
        assert_eq!(scene.begun().await.undecided_since, None);
    }
}

/// a begin that is asked for again is told the same, the undecided attempt included.
#[tokio::test]
async fn a_retried_begin_remembers_the_undecided_attempt() {
    for scene in Scene::on_both().await {
        let holder = request();
        let Begin::Begun(first) = scene.begin_as(holder).await else { panic!() };
        let Begin::Begun(again) = scene.begin_as(holder).await else { panic!() };
        assert_eq!((first.fence, first.undecided_since), (again.fence, None));
        scene.side.pass(LEASE * 2).await;

        let holder = request();
        let Begin::Begun(first) = scene.begin_as(holder).await else { panic!() };
        let Begin::Begun(again) = scene.begin_as(holder).await else { panic!() };
        assert_eq!(first.fence, again.fence);
        assert!(first.undecided_since.is_some_and(|since| since >= LEASE * 2));
        assert!(again.undecided_since.is_some_and(|since| since >= LEASE * 2));
    }
}

/// An attempt is decided once: by its commit, or by its first fail.
#[tokio::test]
async fn a_decided_attempt_cannot_fail_again() {
    for scene in Scene::on_both().await {
        let failed = scene.begun().await;
        let by = request();
        let recorded = FailOutcome::Recorded { attempts: 1 };
        assert_eq!(scene.fail(&failed, by, FailureKind::Undecided).await, recorded);
        assert_eq!(scene.fail(&failed, by, FailureKind::Undecided).await, recorded, "a retry");
        let other = scene.rejected(&failed).await;
        assert_eq!(other, FailOutcome::Stale);

        scene.side.pass(HOUR).await;
        let good = scene.begun().await;
        // A provider that does not rotate: the token stays the same.
        let refresh_token = Some(good.refresh_token);
        let commit = Commit { refresh_token, ..answer(&scene.id, &good, request()) };
        scene.side.store.commit(commit).await.unwrap();
        let late = scene.rejected(&good).await;
        assert_eq!(late, FailOutcome::Stale);
        let row = scene.row().await;
        assert_eq!((row.status, row.attempts), (Status::Active, 0));
    }
}

/// a late retry of an older store or commit does not put its secret back.
#[tokio::test]
async fn a_late_retry_does_not_overwrite_what_came_after() {
    for scene in Scene::on_both().await {
        let (old, new) = (request(), request());
        scene.store_secret(old, b"old", digest(2)).await;
        scene.store_secret(new, b"new", digest(3)).await;
        let late = scene.store_secret(old, b"old", digest(2)).await;
        assert_eq!(late, Stored::Stored { grant: 3 });
        assert_eq!(scene.secret().await, b"new");

        scene.side.pass(HOUR * 2).await;
        let [one, two] = scene.overlapping().await;
        let (first, second) = (request(), request());
        scene.commit(&one, first, b"1", 100).await;
        scene.commit(&two, second, b"2", 0).await;
        let late = scene.commit(&one, first, b"1", 0).await;
        assert_eq!(late, CommitOutcome::AlreadyCommitted { ver: 5 });
        assert_eq!(scene.secret().await, b"2");
    }
}

/// X-11 in part: an answer that arrives after the verdict brings the connection back.
#[tokio::test]
async fn a_commit_recovers_what_was_condemned_under_the_same_grant() {
    for scene in Scene::on_both().await {
        let [slow, newer] = scene.overlapping().await;
        let verdict = scene.rejected(&newer).await;
        assert_eq!(verdict, FailOutcome::Recorded { attempts: 1 });
        let outcome = scene.answered(&slow, b"slow", 0).await;
        assert_eq!(outcome, CommitOutcome::Committed { ver: 2, recovered: true });
        let row = scene.row().await;
        assert_eq!((row.status, row.reason), (Status::Active, None));
    }
}

/// A provider may name any number of seconds: it is kept, cut, and never breaks the record.
#[tokio::test]
async fn absurd_durations_do_not_break_a_record() {
    for scene in Scene::on_both().await {
        for (life, ago) in [
            (Duration::MAX, Duration::MAX),
            (Duration::from_secs(u64::MAX / 1000), Duration::from_secs(60)),
            (Duration::ZERO, Duration::ZERO),
        ] {
            let begun = scene.begun().await;
            let commit = Commit {
                refresh_token: Some(begun.refresh_token),
                expires_in: Some(life),
                next_in: Some(Duration::ZERO),
                answered_ago: ago,
                ..answer(&scene.id, &begun, request())
            };
            scene.side.store.commit(commit).await.unwrap();
            let row = scene.row().await;
            assert!(row.expires_at_ms.is_some_and(|at| at >= scene.side.store.now_ms() - 60_000));
        }
    }
}
