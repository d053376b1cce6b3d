//! All credentials for a client: listed page by page, and marked.

use std::collections::BTreeSet;

use vestibule::{
    headers::{HeadersError, Identity, Status},
    store::{Reaped, RestoredHeaders, WithdrawnHeaders},
};

use super::{Host, alice, bearer, key_of, of, value};
use crate::support::verbs::request;

/// H-8: any status, or one; page by page, over all shards, without headers.
#[tokio::test]
async fn a_clients_credentials_are_listed() {
    for host in Host::both().await {
        let mut ids = BTreeSet::new();
        for number in 0..70 {
            ids.insert(host.one.upsert(&key_of(number), &bearer("hunter2")).await.unwrap().id);
        }
        host.one.upsert(&of(Identity::virtual_key("vk-1"), "other"), &bearer("x")).await.unwrap();
        for limit in [1, 7, 70, 100, 1000] {
            let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
            loop {
                let page = host.two.list("weather", None, cursor, limit).await.unwrap();
                assert!(page.credentials.len() <= usize::from(limit.min(100)), "{limit}");
                assert!(page.damaged.is_empty() && !format!("{page:?}").contains("hunter2"));
                seen.extend(page.credentials.iter().map(|row| row.id));
                (cursor, pages) = (page.next, pages + 1);
                if cursor.is_none() {
                    break;
                }
                assert!(pages < 300, "it has no end");
            }
            assert_eq!(seen.len(), 70, "by {limit}");
            assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), ids);
        }
        host.one.withdraw_access(&key_of(3), "left").await.unwrap();
        for (status, count) in
            [(Status::Active, 69), (Status::Orphaned, 1), (Status::NeedsUpdate, 0)]
        {
            let page = host.one.list("weather", Some(status), None, 100).await.unwrap();
            assert_eq!(page.credentials.len(), count, "{status:?}");
        }
        let nothing = host.one.list("nobody", None, None, 100).await.unwrap();
        assert_eq!((nothing.credentials.len(), nothing.next), (0, None));
    }
}

/// H-8, H-2: all of a client are marked, sessions too; what is there is still read, and not sent. An
/// orphan stays one, and needs an update when it is back.
#[tokio::test]
async fn a_client_that_wants_others_marks_all_of_its_own() {
    for host in Host::both().await {
        let session = of(Identity::session("s-1"), "weather");
        let (orphan, other) = (key_of(1), of(Identity::user("alice@example.com"), "other"));
        for binding in [&alice(), &session, &orphan, &other] {
            host.one.upsert(binding, &bearer("old")).await.unwrap();
        }
        host.one.withdraw_access(&orphan, "left").await.unwrap();
        assert_eq!(host.two.mark_needs_update("weather", "Client Changed!").await.unwrap(), 3);
        assert_eq!(host.one.mark_needs_update("weather", "again").await.unwrap(), 0);
        for binding in [&alice(), &session] {
            let found = host.one.get(binding).await.unwrap();
            assert_eq!((found.row.status, value(&found.headers)), (Status::NeedsUpdate, "old"));
            assert_eq!(found.row.reason.as_deref(), Some("clientchanged"));
            let error = host.one.vend(binding).await.unwrap_err();
            assert!(matches!(error, HeadersError::NeedsUpdate { .. }), "{error}");
        }
        assert_eq!(value(&host.one.vend(&other).await.unwrap()), "old", "another client's");
        assert!(matches!(host.one.get(&orphan).await, Err(HeadersError::NotFound)), "still hidden");
        let back = host.one.restore_access(&orphan).await.unwrap();
        assert_eq!(back, RestoredHeaders::Restored(Status::NeedsUpdate));
        let row = host.one.get(&orphan).await.unwrap().row;
        assert_eq!(row.reason.as_deref(), Some("clientchanged"));

        host.one.upsert(&alice(), &bearer("new")).await.unwrap();
        let row = host.one.get(&alice()).await.unwrap().row;
        assert_eq!((row.status, row.reason), (Status::Active, None));
        assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "new");
    }
}

/// More than a page of one shard: all are marked, once each.
#[tokio::test]
async fn marks_go_on_behind_a_page() {
    for host in Host::both().await {
        // The host's own are all in one shard, and so is each client's one; a session's has many.
        let first = host.one.upsert(&key_of(0), &bearer("x")).await.unwrap().id;
        let mut near = vec![key_of(0)];
        for number in 1.. {
            let binding = key_of(number);
            let digest = host.one.identity_digest(binding.identity());
            if digest.as_bytes()[0] == first.shard().number() {
                host.one.upsert(&binding, &bearer("x")).await.unwrap();
                near.push(binding);
            }
            if near.len() == 120 {
                break;
            }
        }
        assert_eq!(host.one.mark_needs_update("weather", "x").await.unwrap(), 120);
        let marked = Some(Status::NeedsUpdate);
        let mut cursor = None;
        let mut seen = 0;
        loop {
            let page = host.one.list("weather", marked, cursor, 50).await.unwrap();
            seen += page.credentials.len();
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, 120);
    }
}

/// What is listed of an orphan says what it was; and it goes when it is swept.
#[tokio::test]
async fn an_orphan_is_listed_until_it_is_swept() {
    for host in Host::both().await {
        let id = host.one.upsert(&alice(), &bearer("x")).await.unwrap().id;
        let withdrawn = host.one.withdraw_access(&alice(), "grant-lost").await.unwrap();
        assert_eq!(withdrawn.credential, WithdrawnHeaders::Withdrawn);
        let page = host.one.list("weather", None, None, 10).await.unwrap();
        let [row] = &page.credentials[..] else { panic!("{page:?}") };
        assert_eq!((row.status, row.was), (Status::Orphaned, Some(Status::Active)));
        assert_eq!(row.reason.as_deref(), Some("grant-lost"));
        let retention = std::time::Duration::from_secs(30);
        let young = host.side.store.reap_headers(id, retention, request()).await.unwrap();
        assert!(matches!(young, Reaped::TooYoung { .. }), "{young:?}");
        host.pass(31).await;
        assert_eq!(host.one.reap(id, retention).await.unwrap(), Reaped::Reaped);
        assert_eq!(host.one.reap(id, retention).await.unwrap(), Reaped::Absent);
        assert_eq!(host.one.list("weather", None, None, 10).await.unwrap().credentials, []);
        assert_eq!(host.one.restore_access(&alice()).await.unwrap(), RestoredHeaders::Absent);
    }
}
