//! Vending from memory.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use vestibule::connection::{CacheConfig, VendPath};

use crate::{
    Scale,
    connections::{answer, config},
    contestants,
    rounds::median,
    support::server::TestServer,
    table::{Reach::AtLeast, Table},
};

/// So many tokens in the cache.
const TOKENS: usize = 1_000;

/// One thread, one vend after the other; against a map behind a lock that knows as many texts.
pub async fn cached_vend(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    let mut config = config();
    config.cache = Some(CacheConfig::default());
    let connections = contestants::vestibule(&server).await.connections(config);
    let mut known = HashMap::new();
    let mut ids = Vec::new();
    for number in 0..TOKENS {
        let owner = format!("owner-{number}");
        let id = connections.store(&owner, "github", None, &answer()).await.unwrap();
        known.insert(id.clone(), "a".repeat(200));
        ids.push((owner, id));
    }
    let known = Mutex::new(known);

    let (mut vends, mut reads) = (Vec::new(), Vec::new());
    for round in 0..=9 {
        // All are in the cache, but for those that age just now.
        for (owner, id) in &ids {
            while connections.vend(owner, id).await.unwrap().path != VendPath::Cached {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let (mut served, mut cached) = (0_u64, 0_u64);
        let (started, time) = (Instant::now(), scale.time(300));
        while started.elapsed() < time {
            for (owner, id) in &ids {
                let vended = connections.vend(owner, id).await.unwrap();
                cached += u64::from(vended.path == VendPath::Cached);
                served += 1;
            }
        }
        assert!(cached * 100 >= served * 99, "{cached} of {served} from the cache");
        let vend = served as f64 / started.elapsed().as_secs_f64();
        let (started, mut found) = (Instant::now(), 0_u64);
        while started.elapsed() < time {
            for (_, id) in &ids {
                let text = known.lock().unwrap().get(id).cloned();
                found += u64::from(text.is_some_and(|text| text.len() == 200));
            }
        }
        let read = found as f64 / started.elapsed().as_secs_f64();
        if round > 0 {
            vends.push(vend / 1e6);
            reads.push(read / 1e6);
        }
    }
    let (vend, read) = (median(vends).unwrap(), median(reads).unwrap());
    table.judge(
        ["connections", "cached vend, one thread", "1 M/s"],
        vend,
        AtLeast(1.0),
        &format!("{vend:.2} M/s; a locked map and a copy of the text: {read:.2} M/s"),
    );
}
