//! What is found in what was seen. Pure, so that every finding can be tested without a server that
//! has the fault.

use vestibule::inspect::{Facts, Role};

use super::{super::when::long, finding::Finding, server::node};

/// What was looked at. `None` is what could not be.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Of the server.
    pub facts: Facts,
    /// The check value of the naming key, if there is a key file.
    pub naming: Option<String>,
    /// Whose rights were looked at.
    pub role: Role,
    /// Which user has them.
    pub user: Option<String>,
    /// Which rights are missing.
    pub lacks: Option<Vec<String>>,
    /// Which keys the records ask for.
    pub sealing: Sealing,
    /// How many credentials are due.
    pub overdue: Option<u64>,
    /// For how long the first of them.
    pub overdue_ms: Option<u64>,
    /// The connectors that are paused, and why.
    pub paused: Vec<(String, String)>,
}

/// What is known of the keys that records ask for.
#[derive(Debug, Clone)]
pub(super) enum Sealing {
    /// There are no keys to compare with.
    NoKeys,
    /// This user may not look.
    Refused,
    /// It could not be counted, and why.
    Damaged(String),
    /// Those that the ring does not have, and how many records ask for each.
    Unknown(Vec<(String, u64)>),
}

/// How far two clocks may be apart: a sealed life is judged with so much tolerance.
const CLOCK_MS: u64 = 2_000;
/// What is overdue for so long, no worker takes.
const OVERDUE_MS: u64 = 5 * 60_000;

/// What the servers alone tell.
pub(crate) fn of_facts(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts.nodes.iter().flat_map(node).collect();
    findings.extend([tls(facts), clock(facts.clock_ahead_ms)]);
    findings
}

/// All findings, also those that are well.
pub(super) fn judge(seen: &Seen) -> Vec<Finding> {
    let mut findings: Vec<Finding> = seen.facts.nodes.iter().flat_map(node).collect();
    findings.push(tls(&seen.facts));
    findings.extend(login(seen));
    findings.push(clock(seen.facts.clock_ahead_ms));
    findings.push(meta(&seen.facts, seen.naming.as_deref()));
    findings.push(match seen.facts.scripts {
        Some((loaded, all)) => {
            Finding::ok("scripts", format!("{loaded} of {all} are loaded; others are when needed"))
        }
        None => Finding::unseen("scripts", "whether they are loaded"),
    });
    findings.push(sealing(&seen.sealing));
    findings.push(backlog(seen));
    for (slug, reason) in &seen.paused {
        findings.push(Finding::warning(
            "connector",
            format!("{slug} is paused: {reason}"),
            format!("mend its client, then `resume {slug}`"),
        ));
    }
    findings
}

fn backlog(seen: &Seen) -> Finding {
    let Some(overdue) = seen.overdue else {
        return Finding::unseen("refresh", "what is due");
    };
    let due = if overdue == 1 {
        "1 credential is".to_owned()
    } else {
        format!("{overdue} credentials are")
    };
    match seen.overdue_ms {
        Some(ms) if ms > OVERDUE_MS => Finding::warning(
            "refresh",
            format!("{due} due, the first for {}", long(ms)),
            "see that a worker runs and is ready, with their connectors in its configuration; \
             `ls due` and `why ID` tell of each",
        ),
        _ => Finding::ok("refresh", format!("{due} due now")),
    }
}

fn tls(facts: &Facts) -> Finding {
    match (facts.place.tls, facts.place.loopback) {
        (true, _) => Finding::ok("tls", "the connection is encrypted"),
        (false, true) => Finding::warning(
            "tls",
            "none, on this machine",
            "use rediss:// as soon as Redis is on another one",
        ),
        (false, false) => Finding::warning(
            "tls",
            "none, over a network: ids, states and who owns what can be read on it",
            "use rediss://, unless the network is encrypted",
        ),
    }
}

fn login(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    let user = seen.user.as_deref().unwrap_or("?");
    if seen.facts.user.as_deref() == Some("default") {
        let what = if seen.facts.place.password {
            "the default user is used, who may do everything"
        } else {
            "the default user is used, without a password"
        };
        let fix = "make users with the rules that `acl` prints, and turn the default user off";
        found.push(Finding::warning("login", what, fix));
    }
    let role = seen.role.as_str();
    found.push(match &seen.lacks {
        None => Finding::unseen("rights", &format!("those of user {user}")),
        Some(lacks) if lacks.is_empty() => {
            Finding::ok("rights", format!("user {user} has those of the {role}"))
        }
        Some(lacks) => Finding::error(
            "rights",
            format!("user {user} lacks what the {role} needs: {}", lacks.join(" ")),
            format!("ACL SETUSER with what `acl --role {role}` prints"),
        ),
    });
    found
}

fn clock(ahead_ms: i64) -> Finding {
    let off = ahead_ms.unsigned_abs();
    let which = if ahead_ms > 0 { "ahead of" } else { "behind" };
    if off > CLOCK_MS {
        Finding::error(
            "clock",
            format!("the clock of Redis is {} {which} this machine's", long(off)),
            "run NTP on both: sealed lives are judged by this machine's clock, so records look \
             expired, or live longer",
        )
    } else {
        Finding::ok("clock", format!("{off} ms {which} this machine's"))
    }
}

fn meta(facts: &Facts, naming: Option<&str>) -> Finding {
    let Some(meta) = facts.meta.as_deref() else {
        let fix = "check the database number and the prefix, if there should be something";
        return Finding::note("layout", "nobody has used this database under this prefix", fix);
    };
    let (layout, check) = meta.split_once(" naming=").unwrap_or((meta, ""));
    if layout != facts.layout {
        return Finding::error(
            "layout",
            format!("the database has `{layout}`, this version `{}`", facts.layout),
            "use the version that made it, or another prefix or database",
        );
    }
    match naming {
        None => Finding::note(
            "layout",
            format!("{layout}; whether the naming key is right cannot be told"),
            "give the key file with --keys",
        ),
        Some(naming) if naming == check => {
            Finding::ok("layout", format!("{layout}, and the naming key is its own"))
        }
        Some(_) => Finding::error(
            "layout",
            "the naming key is not the one that this database was made with: every record would \
             seem absent",
            "use the key file that made it, or another prefix or database",
        ),
    }
}

fn sealing(sealing: &Sealing) -> Finding {
    match sealing {
        Sealing::Refused => Finding::unseen("sealing", "which keys the records ask for"),
        Sealing::Damaged(why) => Finding::error(
            "sealing",
            format!("which keys the records ask for cannot be counted: {why}"),
            "see who else writes there, and move that key away; what stood in it is counted again when \
             it is next stored or refreshed: until then retire no key",
        ),
        Sealing::NoKeys => Finding::note(
            "sealing",
            "which keys the records ask for was not compared",
            "give the key file with --keys",
        ),
        Sealing::Unknown(unknown) if unknown.is_empty() => Finding::ok(
            "sealing",
            "the ring has every key that secrets, and a sample of other records, ask for",
        ),
        Sealing::Unknown(unknown) => {
            let told: Vec<_> =
                unknown.iter().map(|(id, n)| format!("{id} ({n} records)")).collect();
            Finding::error(
                "sealing",
                format!("records ask for keys that are not in the ring: {}", told.join(", ")),
                "put the retired keys back behind the first one, until nothing asks for them",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    #[test]
    fn networks_and_clocks_are_judged() {
        let mut facts = Facts::default();
        assert!(tls(&facts).what.contains("network"), "not on this machine");
        facts.place.tls = true;
        assert_eq!(tls(&facts).level, Level::Ok);
        assert_eq!(clock(2_000).level, Level::Ok);
        assert_eq!(clock(-2_001).level, Level::Error);
    }
}
