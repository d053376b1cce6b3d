//! Namespaces: whose pendings are, listed, cleared, and told by what a caller brings.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use redis::AsyncCommands;
use vestibule::{
    pending::{
        Completion, Created, Dedup, Life, Namespace, NamespaceProvider, PendingManager, Pendings,
        Spec, Waited,
    },
    store::{Ending, PendingId},
};

use super::{Device, PATIENCE, config, device, namespace, replicas};
use crate::{
    properties::connect,
    support::{server, stores::fresh_prefix},
};

/// P-5: an unknown namespace is empty; clearing ends every pending, wakes who waits, and leaves
/// other namespaces alone.
#[tokio::test]
async fn a_namespace_is_listed_and_cleared() {
    for [a, b] in replicas().await {
        assert!(a.list(&namespace(), None, 10).await.unwrap().ids.is_empty());
        assert!(a.clear(&namespace()).await.unwrap().is_empty());
        let spec = Spec::new("form", device());
        let mut ids = BTreeSet::new();
        for _ in 0..130 {
            ids.insert(a.create(&namespace(), &spec).await.unwrap().id);
        }
        let other = a.create(&Namespace::default(), &spec).await.unwrap().id;

        let (mut listed, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
        loop {
            let page = b.list(&namespace(), cursor, 50).await.unwrap();
            pages += 1;
            listed.extend(page.ids);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((listed == ids, pages), (true, 3));

        let waiting = tokio::spawn({
            let (a, id) = (a.clone(), *ids.first().unwrap());
            async move { a.wait::<()>(id, PATIENCE).await.unwrap() }
        });
        let ended = *ids.last().unwrap();
        b.cancel(ended, None).await.unwrap();
        ids.remove(&ended);
        let cleared: BTreeSet<_> = b.clear(&namespace()).await.unwrap().into_iter().collect();
        assert_eq!(cleared, ids);
        assert_eq!(waiting.await.unwrap(), Waited::Cleared);
        assert!(a.list(&namespace(), None, 10).await.unwrap().ids.is_empty());
        assert!(a.get(other).await.unwrap().is_some());
        let late = a.complete(*ids.first().unwrap(), None, &0).await.unwrap();
        assert!(matches!(late, Completion::Lost { how: Ending::Cleared, .. }), "{late:?}");
    }
}

/// P-5: a page that goes on behind an entry which was replaced meanwhile, and so has moved to the end,
/// leaves out none of those that it moved past.
#[tokio::test]
async fn a_page_leaves_out_nobody_when_its_last_entry_moves() {
    for [a, b] in replicas().await {
        let mut spec = Spec::new("form", device());
        let mut ids = Vec::new();
        for minutes in 1..=4 {
            spec.life = Life::For(Duration::from_secs(60 * minutes));
            ids.push(a.create(&namespace(), &spec).await.unwrap().id);
        }
        let first = b.list(&namespace(), None, 1).await.unwrap();
        assert_eq!(first.ids, ids[..1]);
        let moved = a.get(ids[0]).await.unwrap().unwrap();
        spec.life = Life::For(Duration::from_secs(3600));
        a.replace(&moved, &spec).await.unwrap();
        let rest = b.list(&namespace(), first.next, 100).await.unwrap();
        assert!(rest.ids.starts_with(&ids[1..]), "{:?}", rest.ids);
    }
}

/// P-2, P-6, P-10: the namespace is the caller's, never the spec's; nothing of the token is stored.
#[tokio::test]
async fn a_manager_knows_its_callers() {
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let vestibule = connect(&server.url(), &prefix).await;
    let provider = vestibule.bearer_namespace();
    let pendings: Pendings<Device> = vestibule.pendings(config("a"));
    let callback = |id: PendingId| format!("https://app.example/pending/{id}");
    let manager =
        PendingManager::new(pendings.clone(), Arc::new(provider.clone()), Arc::new(callback));
    let spec = Spec::new("form", device());
    let (Created { id, joined, .. }, url) =
        manager.create(Some("bearer-hunter2"), &spec).await.unwrap();
    assert!(!joined);
    assert_eq!(url, format!("https://app.example/pending/{id}"));
    let mine = provider.namespace(Some("bearer-hunter2")).await.unwrap();
    assert!(!mine.name().contains("hunter2") && !format!("{mine:?}").contains(mine.name()));
    assert_eq!(pendings.list(&mine, None, 10).await.unwrap().ids, [id]);
    let anonymous = manager.create(None, &spec).await.unwrap().0.id;
    assert_eq!(pendings.list(&Namespace::default(), None, 10).await.unwrap().ids, [anonymous]);
    assert!(matches!(manager.complete(id, None, &0).await.unwrap(), Completion::Won(_)));
    assert!(matches!(manager.cancel(anonymous, None).await.unwrap(), Completion::Won(_)));
}

/// Hostile ids and namespaces: refused, or names like any other; never repeated.
#[tokio::test]
async fn hostile_names_forge_nothing() {
    for bad in ["", "x", "{00}", &"a".repeat(65), &"A".repeat(64), &"é".repeat(32), "a\0"] {
        let error = bad.parse::<PendingId>().unwrap_err().to_string();
        assert!(error.contains("64 lower-case"), "{error}");
    }
    assert!(Namespace::new("").is_err() && Namespace::new("x".repeat(10_000)).is_err());
    let (server, prefix) = (server::shared().await, fresh_prefix());
    let pendings: Pendings<Device> = connect(&server.url(), &prefix).await.pendings(config("a"));
    for name in ["{x}", "a:b", "a\0b", "*", "\r\n", "../.."] {
        let namespace = Namespace::new(name).unwrap();
        let id = pendings.create(&namespace, &Spec::new("form", device())).await.unwrap().id;
        assert_eq!(pendings.list(&namespace, None, 10).await.unwrap().ids, [id]);
    }
    let keys: Vec<String> = server.raw().await.keys(format!("{prefix}:*pending*")).await.unwrap();
    let fits =
        |key: &String| key.bytes().all(|b| b.is_ascii_alphanumeric() || b":{}-".contains(&b));
    assert!(keys.iter().all(fits), "{keys:?}");
}

/// namespaces share shards, and never prompts: not even with the same key in the same shard.
#[tokio::test]
async fn namespaces_of_one_shard_share_no_prompt() {
    for [a, _] in replicas().await {
        let mut spec = Spec::new("device_code", device());
        spec.dedup = Dedup::Same;
        // By the pigeonhole some two of these share one of the 256 shards.
        let mut shards = BTreeSet::new();
        for number in 0..300 {
            let namespace = Namespace::new(format!("user-{number}")).unwrap();
            let created = a.create(&namespace, &spec).await.unwrap();
            assert!(!created.joined, "{number}");
            shards.insert(created.id.shard());
        }
        assert!(shards.len() < 300);
    }
}
