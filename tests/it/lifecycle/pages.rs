//! Lists: every connection once, in pages, without one that is gone, and none hidden by another.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream};
use redis::AsyncCommands;
use vestibule::{
    connection::ConnectionError,
    store::{ConnectionId, ConnectionPage, Status},
};

use super::Host;
use crate::support::{server, server::TestServer, side::Side};

/// V-9, C-1: pages of an owner's connections by creation; a deleted one between two pages hides no
/// other.
#[tokio::test]
async fn a_list_has_every_connection_once() {
    for host in Host::both().await {
        let all = &host.connections;
        let mut created = Vec::new();
        for _ in 0..25 {
            created.push(all.create("alice", "demo").await.unwrap());
            host.stored("bob").await;
        }
        let mut seen = Vec::new();
        let (mut cursor, mut sizes) = (None, Vec::new());
        loop {
            let page = all.list("alice", cursor, 10).await.unwrap();
            sizes.push(page.connections.len());
            seen.extend(page.connections);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(sizes, [10, 10, 5]);
        assert!(seen.is_sorted_by_key(|row| row.created_at_ms), "by creation");
        let ids: BTreeSet<_> = seen.iter().map(|row| row.id.clone()).collect();
        assert_eq!(ids, created.iter().cloned().collect());

        // The one that the first page ends with goes, and so do the first of the next.
        let first = all.list("alice", None, 10).await.unwrap();
        for gone in &seen[9..12] {
            all.delete("alice", &gone.id).await.unwrap();
        }
        let rest = all.list("alice", first.next, 100).await.unwrap();
        let rest: BTreeSet<_> = ids_of(&rest).into_iter().collect();
        let expected: BTreeSet<_> = seen[12..].iter().map(|row| row.id.clone()).collect();
        assert!(rest.is_superset(&expected), "{rest:?}");
        assert!(rest.len() <= expected.len() + 9, "at least once, not everything again");
    }
}

/// V-9: a list of those that stand somewhere; its pages may be short, and lead on.
#[tokio::test]
async fn a_list_can_be_of_one_status() {
    for host in Host::both().await {
        let all = &host.connections;
        for number in 0..9 {
            let id = host.stored("alice").await;
            if number % 3 == 0 {
                all.revoke("alice", &id, "every third").await.unwrap();
            }
        }
        for (status, count) in [(Status::Active, 6), (Status::Revoked, 3), (Status::Exhausted, 0)] {
            let (mut found, mut cursor) = (0, None);
            loop {
                let page = all.list_with_status("alice", status, cursor, 2).await.unwrap();
                assert!(page.connections.iter().all(|row| row.status == status));
                found += page.connections.len();
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, count, "{status:?}");
        }
    }
}

/// A record that is gone, or is not what this library writes, hides no other; what is gone leaves
/// the index, and what is damaged is named and left.
#[tokio::test]
async fn a_list_heals_and_hides_nothing() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(host.stored("alice").await);
    }
    let keys: Vec<_> = ids.iter().map(|id| host.key(id)).collect();
    let _: () = raw.del(&keys[0]).await.unwrap();
    let _: () = raw.hset(&keys[1], "status", "unheard of").await.unwrap();
    let _: () = raw.hdel(&keys[2], "owner").await.unwrap();
    let _: () = raw.hset(&keys[3], "created_at", "yesterday").await.unwrap();
    for of_another_type in [false, true] {
        if of_another_type {
            let _: () = raw.set(&keys[4], "no hash").await.unwrap();
        }
        let page = host.connections.list("alice", None, 100).await.unwrap();
        let damaged = if of_another_type { &ids[1..5] } else { &ids[1..4] };
        assert_eq!(sorted(page.damaged.clone()), sorted(damaged.to_vec()));
        assert_eq!(page.connections.len(), 5 - damaged.len());
        let index: Vec<String> =
            raw.keys(format!("{}:*:owner:*", host.side.prefix())).await.unwrap();
        assert_eq!(raw.zcard::<_, usize>(&index[0]).await.unwrap(), 5, "the first is off it");
    }
    // What is gone is not put back by a store.
    let granted = super::granted("again");
    let stored = host.connections.store("alice", "demo", Some(&ids[0]), &granted).await;
    assert!(matches!(stored, Err(ConnectionError::NotFound)), "{stored:?}");
}

/// 10,000 connections of one owner: no script, and no read of a page, holds Redis for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_are_listed_without_holding_redis() {
    const ALL: usize = 10_000;
    const A_SCRIPT: Duration = Duration::from_millis(1);
    const A_READ: Duration = Duration::from_micros(20);
    let server = TestServer::builder().cluster(false).start().await;
    let host = Host::on(Side::redis_on(&server).await);
    let all = &host.connections;
    let creating = stream::iter(0..ALL).map(|_| all.create("alice", "demo"));
    let created = creating.buffer_unordered(64).map(Result::unwrap).collect::<BTreeSet<_>>().await;
    assert_eq!(created.len(), ALL);

    let mut raw = server.raw().await;
    // Redis goes by a clock on the wall, with whatever else the machine did: the least of some lists.
    let (mut script, mut read) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        redis::cmd("CONFIG").arg(&["RESETSTAT"]).exec_async(&mut raw).await.unwrap();
        let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
        loop {
            let page = all.list("alice", cursor, 100).await.unwrap();
            seen.extend(ids_of(&page));
            pages += 1;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, created);
        let mut stats = redis::cmd("INFO");
        let stats: String = stats.arg("commandstats").query_async(&mut raw).await.unwrap();
        script = script.min(per_call(&stats, "evalsha"));
        read = read.min(per_call(&stats, "hmget"));
        println!("{pages} pages; a script took {script:?}, a read of one connection {read:?}");
        if script < A_SCRIPT && read < A_READ {
            return;
        }
    }
    panic!("a script took {script:?}, a read {read:?}, of which a page has a hundred");
}

fn ids_of(page: &ConnectionPage) -> Vec<ConnectionId> {
    page.connections.iter().map(|connection| connection.id.clone()).collect()
}

fn sorted(mut ids: Vec<ConnectionId>) -> Vec<ConnectionId> {
    ids.sort();
    ids
}

/// The server's own time of one call.
fn per_call(stats: &str, command: &str) -> Duration {
    let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:")));
    let line = line.unwrap_or_else(|| panic!("no {command} was called"));
    let field = line.split(',').find_map(|field| field.strip_prefix("usec_per_call="));
    Duration::from_secs_f64(field.unwrap().parse::<f64>().unwrap() / 1e6)
}
