//! Pendings on Redis and in memory: created, joined, ended once, listed, cleared, awaited.

mod namespaces;
mod waits;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use vestibule::{
    RequestId, Vestibule,
    pending::{
        Completion, Dedup, InvalidSpec, Life, Namespace, PendingError, Pendings, PendingsConfig,
        Replacement, Spec, Waited,
    },
    seal::Seal,
    store::{
        Ending, PendingId,
        redis::{RedisConfig, RedisStore},
    },
};

use crate::{
    properties::{connect, pkce::shared_keys},
    support::{ageing::age, server, stores::fresh_prefix},
};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Device {
    user_code: String,
}

fn device() -> Device {
    Device { user_code: "BLUE-OTTER".to_owned() }
}

fn namespace() -> Namespace {
    Namespace::new("alice@example.com").unwrap()
}

fn config(instance: &str) -> PendingsConfig {
    PendingsConfig { instance: instance.to_owned(), ..PendingsConfig::default() }
}

/// Two replicas on one Redis, and two handles of one memory store.
async fn replicas() -> [[Pendings<Device>; 2]; 2] {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let (a, b) = (connect(&server.url(), &prefix).await, connect(&server.url(), &prefix).await);
    let memory = Vestibule::in_memory();
    [
        [a.pendings(config("a")), b.pendings(config("b"))],
        [memory.pendings(config("a")), memory.pendings(config("b"))],
    ]
}

/// P-1, P-3, P-4: everything comes back; the first ending wins; the others learn how, when and who.
#[tokio::test]
async fn a_pending_ends_exactly_once() {
    for [a, b] in replicas().await {
        let mut spec = Spec::new("device_code", device());
        spec.alias = "github".to_owned();
        spec.resource = "https://api.example/mcp".to_owned();
        spec.elicit_id = "e-1".to_owned();
        let created = a.create(&namespace(), &spec).await.unwrap();
        assert!(!created.joined);
        let read = b.get(created.id).await.unwrap().unwrap();
        assert_eq!((read.kind.as_str(), read.alias.as_str()), ("device_code", "github"));
        assert_eq!(
            (read.resource.as_str(), read.elicit_id.as_str()),
            ("https://api.example/mcp", "e-1")
        );
        assert_eq!((read.data, read.namespace), (device(), namespace()));
        assert!(read.created_at_ms > 0 && read.expires_in > Duration::from_secs(590));

        let won = b.complete(created.id, None, &"yes").await.unwrap();
        assert!(matches!(won, Completion::Won(pending) if pending.data == device()));
        for late in [a.complete(created.id, None, &"no").await, a.cancel(created.id, None).await] {
            let Completion::Lost { how, at_ms, by } = late.unwrap() else { panic!() };
            assert_eq!((how, by.as_str()), (Ending::Completed, "b"));
            // Redis stamps the end; the creation is a replica's estimate of Redis's time.
            assert!(at_ms + 1_000 >= read.created_at_ms, "{at_ms} {}", read.created_at_ms);
        }
        assert!(a.get(created.id).await.unwrap().is_none());
        let unknown = PendingId::random(created.id.namespace());
        assert!(a.get(unknown).await.unwrap().is_none());
        assert!(matches!(a.cancel(unknown, None).await.unwrap(), Completion::Absent));
    }
}

/// P-12: the life is native, zero and above the ceiling are refused, "never" is a choice.
#[tokio::test]
async fn a_life_is_stated_and_ends_by_itself() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let pendings: Pendings<Device> = connect(&server.url(), &prefix).await.pendings(config("a"));
    for life in [Duration::ZERO, Duration::from_micros(1), Duration::from_secs(24 * 3600 + 1)] {
        let mut spec = Spec::new("form", device());
        spec.life = Life::For(life);
        let error = pendings.create(&namespace(), &spec).await.unwrap_err();
        assert!(matches!(error, PendingError::Invalid(_)), "{error}");
    }
    let mut spec = Spec::new("form", device());
    spec.life = Life::Ceiling;
    let created = pendings.create(&namespace(), &spec).await.unwrap();
    assert_eq!(created.expires_in, Duration::from_secs(24 * 3600));

    let mut raw = server.raw().await;
    age(&mut raw, &prefix, Duration::from_secs(24 * 3600 + 1)).await;
    assert!(pendings.get(created.id).await.unwrap().is_none());
    assert!(matches!(pendings.complete(created.id, None, &0).await.unwrap(), Completion::Expired));
    assert!(pendings.list(&namespace(), None, 100).await.unwrap().ids.is_empty());
    age(&mut raw, &prefix, Duration::from_secs(61)).await;
    let left: Vec<String> = raw.keys(format!("{prefix}:*pending*")).await.unwrap();
    assert_eq!(
        left,
        Vec::<String>::new(),
        "neither a record nor an index is left, without a sweep"
    );
}

/// P-13, X-1: a retry with the same request id finds the same pending, and ends it once.
#[tokio::test]
async fn a_retry_finds_the_same_pending() {
    for [a, b] in replicas().await {
        let (create, finish) = (RequestId::random(), RequestId::random());
        let spec = Spec::new("form", device());
        let one = a.create_as(&create, &namespace(), &spec).await.unwrap();
        let two = b.create_as(&create, &namespace(), &spec).await.unwrap();
        assert_eq!(one.id, two.id);
        assert_eq!(a.list(&namespace(), None, 10).await.unwrap().ids, [one.id]);
        let answer = a.seal_answer(one.id, &1).unwrap();
        for replica in [&a, &b] {
            let how = Ending::Completed;
            let again = replica.finish_as(&finish, one.id, how, None, &answer).await.unwrap();
            assert!(matches!(again, Completion::Won(_)), "{again:?}");
        }
    }
}

/// P-13: a replacement keeps id, namespace and creation; its index entry and its dedup key move
/// with it; it is bounded by the ceiling; the namespace cannot change.
#[tokio::test]
async fn a_replacement_stays_where_it_was() {
    for [a, b] in replicas().await {
        let mut spec = Spec::new("form", device());
        spec.dedup = Dedup::Same;
        let created = a.create(&namespace(), &spec).await.unwrap();
        let before = b.get(created.id).await.unwrap().unwrap();
        spec.data.user_code = "RED-HERON".to_owned();
        spec.subject = Some("alice".to_owned());
        spec.life = Life::For(Duration::from_secs(3600));
        let (request, hour) = (RequestId::random(), Duration::from_secs(3600));
        for replica in [&a, &b] {
            let replaced = replica.replace_as(&request, &before, &spec).await.unwrap();
            assert_eq!(replaced, Replacement::Replaced { expires_in: hour }, "a retry too");
        }
        let after = a.get(created.id).await.unwrap().unwrap();
        assert_eq!(after.data.user_code, "RED-HERON");
        assert_eq!((after.namespace, after.created_at_ms), (namespace(), before.created_at_ms));
        assert!(after.expires_in > hour - Duration::from_secs(10));
        assert_eq!(a.list(&namespace(), None, 10).await.unwrap().ids, [created.id]);
        let joined = b.create(&namespace(), &spec).await.unwrap();
        assert!(joined.joined && joined.id == created.id);
        assert!(joined.expires_in > hour - Duration::from_secs(10));

        spec.life = Life::Ceiling;
        tokio::time::sleep(Duration::from_millis(5)).await; // it has lived for some of it
        let error = a.replace(&before, &spec).await.unwrap_err();
        let beyond = matches!(error, PendingError::Invalid(InvalidSpec::BeyondCeiling { .. }));
        assert!(beyond, "{error}");
        spec.life = Life::For(hour);
        let mut moved = before.clone();
        moved.namespace = Namespace::default();
        let error = a.replace(&moved, &spec).await.unwrap_err();
        assert!(matches!(error, PendingError::OtherNamespace { .. }), "{error}");
        assert!(a.list(&Namespace::default(), None, 10).await.unwrap().ids.is_empty());

        assert!(matches!(b.complete(created.id, None, &0).await.unwrap(), Completion::Absent));
        let won = b.complete(created.id, Some("alice"), &0).await.unwrap();
        assert!(matches!(won, Completion::Won(pending) if pending.data.user_code == "RED-HERON"));
        let late = a.replace(&before, &spec).await.unwrap();
        assert_eq!(late, Replacement::Ended(Ending::Completed));
        let mut unknown = before;
        unknown.id = PendingId::random(unknown.id.namespace());
        assert_eq!(a.replace(&unknown, &spec).await.unwrap(), Replacement::Absent);
    }
}

/// many callers, one prompt; a dedup key never leads to a dead pending.
#[tokio::test]
async fn many_callers_get_one_prompt() {
    for [a, b] in replicas().await {
        let mut spec = Spec::new("device_code", device());
        spec.dedup = Dedup::Same;
        let mut callers = JoinSet::new();
        for number in 0..32 {
            let (replica, spec) =
                (if number % 2 == 0 { a.clone() } else { b.clone() }, spec.clone());
            callers.spawn(async move { replica.create(&namespace(), &spec).await.unwrap() });
        }
        let created = callers.join_all().await;
        let ids: BTreeSet<_> = created.iter().map(|created| created.id).collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(created.iter().filter(|created| !created.joined).count(), 1);

        // Another resource, another namespace, another key: another prompt.
        let mut other = spec.clone();
        other.resource = "other".to_owned();
        assert!(!a.create(&namespace(), &other).await.unwrap().joined);
        assert!(!a.create(&Namespace::default(), &spec).await.unwrap().joined);
        other.dedup = Dedup::Key("mine".to_owned());
        assert!(!a.create(&namespace(), &other).await.unwrap().joined);
        assert!(b.create(&namespace(), &other).await.unwrap().joined);

        // Once it ended, the next caller gets a new one.
        let first = *ids.first().unwrap();
        a.cancel(first, None).await.unwrap();
        let next = b.create(&namespace(), &spec).await.unwrap();
        assert!(!next.joined && next.id != first);
    }
}

/// nobody joins what is bound to another, nor what is of another kind.
#[tokio::test]
async fn whoever_joins_can_read_and_end_it() {
    for [a, b] in replicas().await {
        for dedup in [Dedup::Same, Dedup::Key("user-7".to_owned())] {
            let mut spec = Spec::new("form", device());
            spec.dedup = dedup;
            let mut ids = BTreeSet::new();
            for (kind, subject) in
                [("form", None), ("form", Some("alice")), ("form", Some("bob")), ("redirect", None)]
            {
                spec.kind = kind.to_owned();
                spec.subject = subject.map(str::to_owned);
                let created = a.create(&namespace(), &spec).await.unwrap();
                assert!(!created.joined, "{kind} {subject:?}");
                let again = b.create(&namespace(), &spec).await.unwrap();
                assert!(again.joined && again.id == created.id);
                ids.insert(created.id);
                let ended = b.cancel(created.id, subject).await.unwrap();
                assert!(matches!(ended, Completion::Won(_)), "{kind} {subject:?}");
            }
            assert_eq!(ids.len(), 4);
        }
    }
}

/// a retry gets the same answer for a minute, also of a pending that ended at the end of its
/// life; one whose life was over when it was ended gets none.
#[tokio::test]
async fn a_retry_outlives_the_pending() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let config_of = || RedisConfig::new(&server.url()).unwrap().with_prefix(&prefix).unwrap();
    let store = |shift| async move {
        let keys = shared_keys();
        let store = RedisStore::connect(config_of(), &keys.naming).await.unwrap();
        let seal = Seal::new(keys.ring.clone()).with_wall_clock_shift(shift);
        let vestibule = Vestibule::assemble(Arc::new(store), seal, &keys);
        vestibule.pendings::<Device>(config("a"))
    };
    let (now, later) = (store(0).await, store(630_000).await);
    let request = RequestId::random();
    let id = now.create(&namespace(), &Spec::new("form", device())).await.unwrap().id;
    let request = &request;
    let finish = async |pendings: Pendings<Device>| {
        pendings.finish_as(request, id, Ending::Completed, None, b"").await.unwrap()
    };
    // Half a minute short of its end; then that minute passes, on every clock.
    age(&mut server.raw().await, &prefix, Duration::from_secs(570)).await;
    assert!(matches!(finish(now.clone()).await, Completion::Won(_)));
    age(&mut server.raw().await, &prefix, Duration::from_secs(50)).await;
    let again = finish(store(620_000).await).await;
    assert!(matches!(again, Completion::Won(pending) if pending.data == device()));

    // By this machine's clock its life was over when it was ended.
    let id = now.create(&namespace(), &Spec::new("form", device())).await.unwrap().id;
    assert!(later.get(id).await.unwrap().is_none());
    assert!(matches!(later.cancel(id, None).await.unwrap(), Completion::Expired));
}

/// A replica's name is for people, and must be one that the scripts read back.
#[tokio::test]
async fn any_name_of_a_replica_is_told_alike() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let vestibule = connect(&server.url(), &prefix).await;
    let pendings: Pendings<Device> = vestibule.pendings(config("Web_1.\n Prod"));
    let id = pendings.create(&namespace(), &Spec::new("form", device())).await.unwrap().id;
    pendings.complete(id, None, &7).await.unwrap();
    let told = pendings.wait::<u8>(id, PATIENCE).await.unwrap();
    assert!(matches!(told, Waited::Completed { answer: 7, by, .. } if by == "web1prod"));
    let late = pendings.cancel(id, None).await.unwrap();
    assert!(matches!(late, Completion::Lost { by, .. } if by == "web1prod"));
}

/// a bound pending is ended by its subject alone; a mismatch neither consumes nor reveals.
#[tokio::test]
async fn a_bound_pending_is_ended_by_its_subject_alone() {
    for [a, b] in replicas().await {
        let mut spec = Spec::new("form", device());
        spec.subject = Some("alice".to_owned());
        let id = a.create(&namespace(), &spec).await.unwrap().id;
        for subject in [None, Some("mallory"), Some("")] {
            let refused = b.complete(id, subject, &0).await.unwrap();
            assert!(matches!(refused, Completion::Absent), "{refused:?}");
            assert!(matches!(b.cancel(id, subject).await.unwrap(), Completion::Absent));
        }
        assert!(a.get(id).await.unwrap().is_some());
        assert!(matches!(b.complete(id, Some("alice"), &0).await.unwrap(), Completion::Won(_)));
    }
}

/// What is for people is readable in Redis, what is a user's is not.
#[tokio::test]
async fn redis_sees_no_payload() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let pendings: Pendings<Device> = connect(&server.url(), &prefix).await.pendings(config("a"));
    let mut spec = Spec::new("device_code", device());
    spec.alias = "github".to_owned();
    spec.subject = Some("alice".to_owned());
    spec.dedup = Dedup::Key("dedup-hunter2".to_owned());
    let id = pendings.create(&namespace(), &spec).await.unwrap().id;
    pendings.complete(id, Some("alice"), &"answer-hunter2").await.unwrap();
    let mut raw = server.raw().await;
    let keys: Vec<String> = raw.keys(format!("{prefix}:*")).await.unwrap();
    let mut all = keys.join("\n");
    for key in keys.iter().filter(|key| key.contains("pending:") || key.contains("outcome:")) {
        let value: Vec<u8> = raw.get(key).await.unwrap();
        all.push_str(&String::from_utf8_lossy(&value));
    }
    assert!(all.contains("v1 completed") && all.contains("kind=device_code alias=github"));
    for secret in ["OTTER", "alice", "example.com", "hunter2"] {
        assert!(!all.contains(secret), "{secret}");
    }
}

/// A payload whose type changed since: a typed error that names the record, which stays.
#[tokio::test]
async fn another_payload_type_is_told_and_the_record_stays() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let vestibule = connect(&server.url(), &prefix).await;
    let old: Pendings<Device> = vestibule.pendings(config("a"));
    let new: Pendings<Vec<u64>> = vestibule.pendings(config("a"));
    let id = old.create(&namespace(), &Spec::new("form", device())).await.unwrap().id;
    let error = new.get(id).await.unwrap_err();
    assert!(matches!(&error, PendingError::Shape { id: named, .. } if *named == id), "{error}");
    assert!(!error.to_string().contains("OTTER"));
    assert!(old.get(id).await.unwrap().is_some());
}

/// A payload or an answer over the cap: a typed error that says so, and nothing is written or
/// consumed.
#[tokio::test]
async fn what_is_too_large_is_refused() {
    for [a, b] in replicas().await {
        let large = Device { user_code: "x".repeat(65 * 1024) };
        let error = a.create(&namespace(), &Spec::new("form", large.clone())).await.unwrap_err();
        assert!(matches!(error, PendingError::Seal(_)), "{error}");
        assert!(error.to_string().contains("65536"), "{error}");
        assert!(b.list(&namespace(), None, 10).await.unwrap().ids.is_empty());

        let id = a.create(&namespace(), &Spec::new("form", device())).await.unwrap().id;
        assert!(matches!(b.complete(id, None, &large).await, Err(PendingError::Seal(_))));
        let pending = b.get(id).await.unwrap().expect("not consumed");
        let replaced = b.replace(&pending, &Spec::new("form", large)).await;
        assert!(matches!(replaced, Err(PendingError::Seal(_))));
        assert_eq!(b.get(id).await.unwrap().unwrap().data, device());
        let mut spec = Spec::new("form", device());
        spec.alias = "x".repeat(2049);
        let error = a.create(&namespace(), &spec).await.unwrap_err();
        assert!(error.to_string().contains("alias has 2049 bytes"), "{error}");
    }
}
