//! Many at once.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{sync::Barrier, task::JoinSet};
use vestibule::{
    headers::{HeaderCredentials, HeadersError},
    store::{Reaped, RestoredHeaders, WithdrawnHeaders},
};

use super::{Host, alice, base, bearer, key_of, value};

const RACERS: usize = 64;

/// All begin together; what each got.
async fn race<T: Send + 'static, F>(
    host: &Host,
    mut run: impl FnMut(usize, HeaderCredentials) -> F,
) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(RACERS));
    let mut racers = JoinSet::new();
    for number in 0..RACERS {
        let replica = if number % 2 == 0 { &host.one } else { &host.two };
        let (barrier, run) = (barrier.clone(), run(number, replica.clone()));
        racers.spawn(async move {
            barrier.wait().await;
            run.await
        });
    }
    racers.join_all().await
}

/// H-6: 64 who ask at once get one flow, of which one was the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_get_one_flow() {
    for host in Host::both().await {
        for round in 0..5 {
            let asked = race(&host, |_, all| async move {
                let asked = all.initiate(&key_of(round), &base()).await.unwrap();
                (asked.flow, asked.joined)
            })
            .await;
            let flows: BTreeSet<_> = asked.iter().map(|asked| asked.0).collect();
            assert_eq!(flows.len(), 1, "{flows:?}");
            assert_eq!(asked.iter().filter(|asked| !asked.1).count(), 1);
            let page = host.one.pending_flows(key_of(round).identity(), None, 100).await.unwrap();
            assert_eq!(page.flows.len(), 1);
        }
    }
}

/// H-15: of 64 who claim at once, one checks; of 64 who submit, each with a claim of an own, at most
/// one stores.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_submit_store_one() {
    for host in Host::both().await {
        let flow = host.one.initiate(&alice(), &base()).await.unwrap().flow;
        let stored = race(&host, |number, all| async move {
            let claim = all.claim(flow).await.ok()?;
            let headers = bearer(&format!("number-{number}"));
            Some((number, all.submit(&claim, &headers).await.unwrap()))
        })
        .await;
        let stored: Vec<_> = stored.into_iter().flatten().collect();
        let [(number, stored)] = stored[..] else { panic!("{stored:?}") };
        assert_eq!(stored.ver, 1);
        assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), format!("number-{number}"));
    }
}

/// H-4: 64 who store at once store one after the other, under one id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_store_have_one_id() {
    for host in Host::both().await {
        let stored = race(&host, |number, all| async move {
            all.upsert(&alice(), &bearer(&number.to_string())).await.unwrap()
        })
        .await;
        let ids: BTreeSet<_> = stored.iter().map(|stored| stored.id).collect();
        let vers: BTreeSet<_> = stored.iter().map(|stored| stored.ver).collect();
        assert_eq!((ids.len(), vers), (1, (1..=RACERS as u64).collect()));
        let last = stored.iter().position(|stored| stored.ver == RACERS as u64).unwrap();
        let found = host.one.get(&alice()).await.unwrap();
        assert_eq!(found.row.ver, stored[last].ver);
        assert_eq!(host.one.list("weather", None, None, 100).await.unwrap().credentials.len(), 1);
    }
}

/// H-4, H-5, H-9: whatever races a store, what is there afterwards is whole: found by its binding
/// and its client, an orphan or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_races_a_store_leaves_it_whole() {
    for host in Host::both().await {
        for round in 0..6 {
            let id = host.one.upsert(&key_of(round), &bearer("first")).await.unwrap().id;
            race(&host, |number, all| async move {
                match number % 4 {
                    0 => drop(all.upsert(&key_of(round), &bearer("again")).await.unwrap()),
                    // And stores it again: it may be the last of all.
                    1 if number == 1 => {
                        all.delete(id).await.unwrap();
                        all.upsert(&key_of(round), &bearer("anew")).await.unwrap();
                    }
                    1 => drop(all.restore_access(&key_of(round)).await.unwrap()),
                    2 => drop(all.withdraw_access(&key_of(round), "x").await.unwrap()),
                    _ => drop(all.mark_needs_update("weather", "x").await.unwrap()),
                }
            })
            .await;
            let page = host.one.list("weather", None, None, 100).await.unwrap();
            assert!(page.damaged.is_empty(), "{page:?}");
            let identity = host.one.identity_digest(key_of(round).identity());
            let mine: Vec<_> =
                page.credentials.iter().filter(|row| row.identity == identity).collect();
            let [row] = mine[..] else { panic!("{mine:?}") };
            let back = host.one.restore_access(&key_of(round)).await.unwrap();
            assert_eq!(matches!(back, RestoredHeaders::Restored(_)), row.was.is_some());
            let found = host.one.get(&key_of(round)).await.unwrap();
            assert_eq!((found.row.id, value(&found.headers).is_empty()), (row.id, false));
        }
        if host.side.is_redis() {
            assert_eq!(host.keys("orphans").await, [] as [String; 0]);
            assert_eq!(host.keys("headers").await.len(), 6 + 6, "and the receipts of six");
        }
    }
}

/// H-9, H-10: access comes back while a sweep wants the orphan: either it was swept before, or it is
/// there, whole and active; never in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_restored_is_never_swept() {
    const ROUNDS: u32 = 500;
    for host in Host::both().await {
        let (mut swept, mut kept) = (0, 0);
        for round in 0..ROUNDS {
            let binding = key_of(round);
            let id = host.one.upsert(&binding, &bearer("kept")).await.unwrap().id;
            let gone = host.one.withdraw_access(&binding, "left").await.unwrap();
            assert_eq!(gone.credential, WithdrawnHeaders::Withdrawn);
            // The retention is over, so that only the status saves it.
            let (reaped, restored) = if round % 2 == 0 {
                tokio::join!(host.one.reap(id, Duration::ZERO), host.two.restore_access(&binding))
            } else {
                let (restored, reaped) = tokio::join!(
                    host.two.restore_access(&binding),
                    host.one.reap(id, Duration::ZERO)
                );
                (reaped, restored)
            };
            let found = host.one.vend(&binding).await;
            match (reaped.unwrap(), restored.unwrap()) {
                (Reaped::Reaped, RestoredHeaders::Absent) => {
                    assert!(matches!(found, Err(HeadersError::NotFound)), "{found:?}");
                    swept += 1;
                }
                (Reaped::NotOrphaned, RestoredHeaders::Restored(_)) => {
                    assert_eq!(value(&found.unwrap()), "kept");
                    kept += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        println!("{swept} swept, {kept} restored");
        assert!(swept > 0 && kept > 0);
    }
}
