//! What is found at one server.

use vestibule::inspect::NodeFacts;

use super::finding::Finding;

/// All of it, also what is well.
pub(super) fn node(node: &NodeFacts) -> Vec<Finding> {
    let mut found = vec![version(node), eviction(node)];
    found.extend(memory(node));
    found.push(persistence(node));
    found.extend(replication(node));
    if let Some(address) = &node.address {
        for finding in &mut found {
            finding.what = format!("{address}: {}", finding.what);
        }
    }
    found
}

fn version(node: &NodeFacts) -> Finding {
    let Some(version) = &node.version else { return Finding::unseen("version", "it") };
    let server = node.server.as_deref().unwrap_or("redis");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= 7) {
        Finding::ok("version", format!("{server} {version}"))
    } else {
        Finding::error(
            "version",
            format!("{server} {version} is too old"),
            "use Redis 7.0 or newer, or Valkey 7.2 or newer",
        )
    }
}

fn eviction(node: &NodeFacts) -> Finding {
    match node.maxmemory_policy.as_deref() {
        None => Finding::unseen("eviction", "the policy"),
        Some("noeviction") => Finding::ok("eviction", "the policy is noeviction"),
        Some(policy) => Finding::error(
            "eviction",
            format!("the policy is {policy}: it takes records that live, whichever it likes"),
            "CONFIG SET maxmemory-policy noeviction, and write it to the server's configuration",
        ),
    }
}

fn memory(node: &NodeFacts) -> Option<Finding> {
    if let Some(evicted @ 1..) = node.evicted_keys {
        return Some(Finding::warning(
            "memory",
            format!(
                "{evicted} keys were evicted since the server started: some may have been live"
            ),
            "keep noeviction, and give the server more memory",
        ));
    }
    let (used, most) = (node.used_memory?, node.maxmemory?);
    Some(match most {
        0 => Finding::note(
            "memory",
            format!("{} MB in use, without a limit", used / 1_000_000),
            "set maxmemory, so that a full server refuses new records instead of being killed",
        ),
        most if used / 9 > most / 10 => Finding::warning(
            "memory",
            format!("{} of {} MB are in use", used / 1_000_000, most / 1_000_000),
            "give the server more memory: when it is full nothing new starts",
        ),
        most => Finding::ok(
            "memory",
            format!("{} of {} MB are in use", used / 1_000_000, most / 1_000_000),
        ),
    })
}

fn persistence(node: &NodeFacts) -> Finding {
    if node.persisting == Some(false) {
        return Finding::error(
            "persistence",
            "the last snapshot or write of the append-only file failed",
            "see the server's log: the disk is full, or not writable; until that nothing new starts",
        );
    }
    match (node.aof, node.save.as_deref()) {
        (None, _) => Finding::unseen("persistence", "it"),
        (Some(true), _) => match node.appendfsync.as_deref() {
            Some("no") => Finding::warning(
                "persistence",
                "the append-only file is never synced",
                "set appendfsync everysec, or always",
            ),
            sync => Finding::ok(
                "persistence",
                format!("append-only file, synced {}", sync.unwrap_or("as the server says")),
            ),
        },
        (Some(false), Some("")) => Finding::warning(
            "persistence",
            "none: after a restart all records are gone",
            "set appendonly yes, unless this is for development",
        ),
        (Some(false), _) => Finding::warning(
            "persistence",
            "snapshots only: after a crash what came since the last one is gone, rotated refresh \
             tokens too",
            "set appendonly yes",
        ),
    }
}

fn replication(node: &NodeFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    match node.role.as_deref() {
        Some("slave" | "replica") => found.push(Finding::error(
            "replication",
            "this is a replica: it takes no writes",
            "name the primary, or let redis-sentinel:// or redis-cluster:// find it",
        )),
        Some(_) => match (node.replicas, node.min_replicas) {
            (Some(0), _) => found.push(Finding::note(
                "replication",
                "no replica: this server is the only copy",
                "add one, for failover",
            )),
            (Some(count), Some(0)) => found.push(Finding::note(
                "replication",
                format!("{count} replicas, and writes wait for none"),
                "set min-replicas-to-write 1 and min-replicas-max-lag 2: it bounds what a primary \
                 that is cut off goes on taking",
            )),
            (Some(count), _) => found.push(Finding::ok("replication", format!("{count} replicas"))),
            (None, _) => {}
        },
        None => {}
    }
    if node.cluster_ok == Some(false) {
        found.push(Finding::error(
            "cluster",
            "some slots are not served",
            "see CLUSTER INFO and CLUSTER NODES: a primary is down, or slots are on no node",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    fn of(change: impl FnOnce(&mut NodeFacts)) -> Vec<Finding> {
        let mut facts = NodeFacts::default();
        change(&mut facts);
        node(&facts)
    }

    fn level(findings: &[Finding], about: &str) -> Level {
        findings.iter().find(|finding| finding.about == about).map_or(Level::Ok, |it| it.level)
    }

    #[test]
    fn what_no_test_server_can_be_is_found_too() {
        for (version, found) in [
            ("6.2.14", Level::Error),
            ("7.0.15", Level::Ok),
            ("10.0.0", Level::Ok),
            ("unstable", Level::Error),
        ] {
            let findings = of(|node| node.version = Some(version.to_owned()));
            assert_eq!(level(&findings, "version"), found, "{version}");
        }
        let never_synced = of(|node| {
            node.aof = Some(true);
            node.appendfsync = Some("no".to_owned());
        });
        assert_eq!(level(&never_synced, "persistence"), Level::Warning);
        assert_eq!(level(&of(|node| node.cluster_ok = Some(false)), "cluster"), Level::Error);
        let replicated = of(|node| {
            node.role = Some("master".to_owned());
            node.replicas = Some(2);
            node.min_replicas = Some(0);
        });
        assert_eq!(level(&replicated, "replication"), Level::Note);
    }

    #[test]
    fn what_cannot_be_seen_is_no_fault() {
        assert!(of(|_| {}).iter().all(|finding| finding.level <= Level::Note));
    }
}
