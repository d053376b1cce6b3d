//! What happened, for people.

use vestibule::{
    connection::{AuthType, ConnectionsConfig, Connector, Registry},
    event::{EventsError, Filter},
    sweep::TrimHistory,
};

use super::*;

async fn list(scene: &Scene, filter: Filter) -> Vec<Event> {
    let listed = scene.vestibule.events().list(&filter).await.unwrap();
    assert!(listed.whole);
    listed.events
}

/// E-2: a list needs a limit, up to 10,000.
#[tokio::test]
async fn a_list_needs_a_limit() {
    let events = Vestibule::in_memory().events();
    for limit in [0, 10_001, usize::MAX] {
        let error = events.list(&Filter::newest(limit)).await.unwrap_err();
        assert!(matches!(error, EventsError::Limit { limit: told } if told == limit), "{error}");
    }
    assert!(events.list(&Filter::newest(10_000)).await.unwrap().events.is_empty());
}

/// E-2: the newest first over all shards, each filter by itself, and all of them together.
#[tokio::test]
async fn filters_find_what_they_say() {
    let scene = Scene::new().await;
    for nth in 0..30 {
        for record in 0..10 {
            let kind = if nth % 3 == 0 { EventKind::Recovered } else { EventKind::NeedsReauth };
            append(&*scene.store, record, kind, &format!("nth={nth}")).await;
        }
    }
    let all = list(&scene, Filter::newest(1000)).await;
    assert_eq!(all.len(), 300);
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id), "the newest first");
    assert_eq!(list(&scene, Filter::newest(123)).await, all[..123]);

    let kinds = vec![EventKind::Recovered];
    let found = list(&scene, Filter { kinds: kinds.clone(), ..Filter::newest(1000) }).await;
    assert_eq!(found.len(), 100);
    assert!(found.iter().all(|event| event.kind == EventKind::Recovered));

    let id = all[0].subject_id.parse().unwrap();
    let of_one = Filter { connection: Some(id), ..Filter::newest(1000) };
    let found = list(&scene, of_one.clone()).await;
    assert_eq!(found.len(), 30);
    assert!(found.iter().all(|event| event.subject_id == all[0].subject_id));

    let since_ms = Some(all[99].at_ms);
    let newer = list(&scene, Filter { since_ms, ..Filter::newest(1000) }).await;
    // Others may have happened in the same millisecond.
    let expected = all.iter().filter(|event| Some(event.at_ms) >= since_ms).count();
    assert_eq!(newer, all[..expected]);

    let elsewhere = Filter { connector: Some("gitlab".to_owned()), ..Filter::newest(9) };
    assert_eq!(list(&scene, elsewhere).await, []);
    let together = Filter { kinds, connector: Some("github".to_owned()), since_ms, ..of_one };
    assert!(!list(&scene, together).await.is_empty());
    let stranger = Filter { owner: Some("nobody".to_owned()), ..Filter::newest(9) };
    assert_eq!(list(&scene, stranger).await, []);
}

/// E-2: by its owner: what is found is all of the one, and of nobody else.
#[tokio::test]
async fn an_owner_finds_what_is_of_it() {
    let scene = Scene::new().await;
    let config = ConnectionsConfig::new(
        Registry::new([Connector::api_key("maps", AuthType::ApiKey).unwrap()]).unwrap(),
        crate::support::provider::Scripted::nobody(),
    );
    let connections = scene.vestibule.connections(config);
    let mut ids = Vec::new();
    for owner in ["alice", "bob", "alice"] {
        let id = connections.create(owner, "maps").await.unwrap();
        connections.revoke(owner, &id, "a laptop was lost").await.unwrap();
        ids.push(id.to_string());
    }
    let of = |owner: &str| Filter { owner: Some(owner.to_owned()), ..Filter::newest(100) };
    let found = |listed: Vec<Event>| {
        let mut found: Vec<_> = listed.into_iter().map(|event| event.subject_id).collect();
        found.sort();
        found
    };
    let mut of_alice = vec![ids[0].clone(), ids[2].clone()];
    of_alice.sort();
    assert_eq!(found(list(&scene, of("alice")).await), of_alice);
    assert_eq!(found(list(&scene, of("bob")).await), [ids[1].clone()]);
    let connection = Some(ids[1].parse().unwrap());
    assert_eq!(list(&scene, Filter { connection, ..of("alice") }).await, []);
    assert_eq!(list(&scene, of("carol")).await, []);
    assert_eq!(list(&scene, Filter::newest(100)).await.len(), 3);
}

/// E-2: what is older than the retention goes; the rest stays.
#[tokio::test]
async fn history_is_trimmed_by_age() {
    let scene = Scene::new().await;
    for record in 0..10 {
        scene.happens(record, 0).await;
    }
    let day = Duration::from_secs(24 * 3600);
    scene.age(day * 89).await;
    for record in 0..5 {
        scene.happens(record, 1).await;
    }
    let sweep = TrimHistory { age: day * 90, ..TrimHistory::default() };
    let never = CancellationToken::new();
    assert_eq!(sweep.pass(&scene.vestibule, &never).await.found, 0);
    scene.age(day * 2).await;
    let swept = sweep.pass(&scene.vestibule, &never).await;
    assert_eq!((swept.found, swept.done), (10, 10), "{swept:?}");
    assert_eq!(list(&scene, Filter::newest(100)).await.len(), 5);
}

/// E-1: the set is closed, and each word is read back.
#[test]
fn each_word_stands_for_its_kind() {
    for kind in EventKind::ALL {
        assert_eq!(EventKind::from_word(kind.as_str()), Some(kind));
    }
    assert_eq!(EventKind::from_word("connect"), None);
    for bad in ["", "c3", "c3-1", "c3-1-2-3", "C3-1-2", "c3-+1-2", "c3-1--2", "zz-1-2"] {
        assert!(bad.parse::<EventId>().is_err(), "{bad}");
    }
    let id: EventId = "c3-1763697824123-7".parse().unwrap();
    assert_eq!(id.to_string(), "c3-1763697824123-7");
}

/// E-2: whatever stands in a detail, it is one line of a log.
#[tokio::test]
async fn a_hostile_detail_stays_one_line() {
    let logs = crate::support::logs::capture();
    let scene = Scene::new().await;
    let delivery = scene.delivery("log", Arc::new(vestibule::event::LogNotifier));
    delivery.open().await.unwrap();
    let hostile = format!(
        "mark={} \r\nfake\u{2028}line\u{1b}[31m\" id=forged\0{}",
        scene.prefix,
        "x".repeat(5000)
    );
    append(&*scene.store, 1, EventKind::NeedsReauth, &hostile).await;
    assert_eq!(pass(&delivery).await.delivered, 1);
    let text = logs.text();
    let marked = |line: &&str| line.contains("vestibule::event") && line.contains(&scene.prefix);
    let lines: Vec<_> = text.lines().filter(marked).collect();
    let [line] = lines[..] else { panic!("{lines:?}") };
    assert!(line.contains("fakeline") && line.contains("\\\" id=forged"), "{line}");
    assert!(!line.contains('\u{1b}') && line.len() < 1200, "{line}");
}
