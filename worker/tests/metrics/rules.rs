//! The alert rules and the dashboard under `deploy/`: what they ask for is what is measured.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::Value;
use vestibule::metric::{ALL, Label, Metric};

use crate::support::exposition::metric_of;

/// What Prometheus adds.
const OF_TARGETS: [&str; 2] = ["job", "instance"];

fn text(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A metric in a query or in a sentence, and what is in the braces behind it.
fn mentions(text: &str) -> Vec<(&str, &str)> {
    let starts = text.match_indices("vestibule_").map(|(at, _)| at);
    let whole =
        starts.filter(|at| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    let mention = |at: usize| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(rest.len());
        let braces = rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next());
        (&rest[..end], braces.unwrap_or_default())
    };
    whole.map(mention).collect()
}

/// What is wrong with the metrics, labels and values in a text.
fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, braces) in mentions(text) {
        let known = metric_of(name).or_else(|| ALL.iter().copied().find(|it| it.name() == name));
        let Some(metric) = known else {
            faults.push(format!("{name} is not measured"));
            continue;
        };
        for matcher in braces.split(',').filter(|matcher| !matcher.is_empty()) {
            faults.extend(matcher_fault(metric, matcher));
        }
    }
    faults
}

/// `outcome=~"client|config"`, of this metric.
fn matcher_fault(metric: &Metric, matcher: &str) -> Option<String> {
    let at = matcher.find(['=', '!'])?;
    let (name, value) = (matcher[..at].trim(), matcher[at..].trim_start_matches(['=', '!', '~']));
    if OF_TARGETS.contains(&name) {
        return None;
    }
    let fault = || Some(format!("{} has no {matcher}", metric.name()));
    let Some(label) = metric.labels().iter().find(|label| label.name() == name) else {
        return fault();
    };
    let words = label.closed()?;
    let wanted = value.trim_matches(['"', '\\']).split('|');
    let wrong = wanted.filter(|word| !word.starts_with('$')).any(|word| !words.contains(&word));
    if wrong { fault() } else { None }
}

/// What a query's answer is labelled with, as far as it says so.
fn grouped(query: &str) -> BTreeSet<&str> {
    let groups = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    groups.flat_map(|group| group.split(',').map(str::trim)).collect()
}

fn grouping_faults(query: &str) -> Vec<String> {
    let metrics = mentions(query).into_iter().filter_map(|(name, _)| metric_of(name));
    let labels: BTreeSet<_> = metrics.flat_map(Metric::labels).map(Label::name).collect();
    let known =
        |label: &&str| labels.contains(label) || OF_TARGETS.contains(label) || *label == "le";
    let unknown = grouped(query).into_iter().filter(|label| !known(label));
    unknown.map(|label| format!("nothing has {label} in: {query}")).collect()
}

fn rules() -> Vec<Value> {
    let file: serde_norway::Value =
        serde_norway::from_str(&text("deploy/prometheus/alerts.yaml")).unwrap();
    let file = serde_json::to_value(file).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Every rule asks for what there is, and says how bad it is, what it means and what to do.
#[test]
fn the_alerts_ask_for_what_is_measured() {
    assert_eq!(faults(&text("deploy/prometheus/alerts.yaml")), [""; 0]);
    let mut names = BTreeSet::new();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert!(name.starts_with("Vestibule") && names.insert(name.to_owned()), "{name}");
        let query = rule["expr"].as_str().unwrap();
        assert_eq!(grouping_faults(query), [""; 0], "{name}");
        assert!(rule["for"].is_string(), "{name}");
        let severity = rule["labels"]["severity"].as_str();
        assert!(["critical", "warning"].map(Some).contains(&severity), "{name}");
        for (annotation, least) in [("summary", 10), ("action", 40)] {
            let said = rule["annotations"][annotation].as_str().unwrap_or_default();
            assert!(said.len() >= least, "{name}: {annotation}");
            // A label in a sentence has to be one that the answer has.
            for label in said.split("$labels.").skip(1) {
                let label = label.split([' ', '}']).next().unwrap();
                let has = grouped(query).contains(label) || !query.contains("by (");
                assert!(
                    has && (label != "instance" || !query.contains("absent")),
                    "{name}: {label}"
                );
            }
        }
    }
    assert!(names.len() >= 20, "{}", names.len());
    let wanted = [
        "VestibuleOverdueGrowing",
        "VestibuleExhausted",
        "VestibuleNeedsReauthSpike",
        "VestibuleNoWorkerReady",
        "VestibuleSweepNotRun",
        "VestibuleOutboxLag",
        "VestibuleRedisNeedsSomebody",
        "VestibuleLeasesLost",
        "VestibuleJournalReplayFailing",
        "VestibuleUnpersisted",
    ];
    assert!(wanted.iter().all(|name| names.contains(*name)));
}

/// Every panel asks for what there is, and every metric is on the dashboard or behind an alert.
#[test]
fn the_dashboard_shows_what_is_measured() {
    let (json, alerts) =
        (text("deploy/grafana/dashboard.json"), text("deploy/prometheus/alerts.yaml"));
    assert_eq!(faults(&json), [""; 0]);
    let dashboard: Value = serde_json::from_str(&json).unwrap();
    let mut places = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        let place = &panel["gridPos"];
        let at = |side: &str| place[side].as_u64().unwrap();
        for (x, y) in (at("x")..at("x") + at("w"))
            .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(x < 24 && places.insert((x, y)), "{title} lies over another panel, or outside");
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            assert!(!mentions(query).is_empty(), "{title}: {query}");
            assert_eq!(grouping_faults(query), [""; 0], "{title}");
            let legend = target["legendFormat"].as_str().unwrap();
            for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                assert!(grouped(query).contains(label), "{title}: {label} in {legend}");
            }
        }
        let is_row = panel["type"] == "row";
        assert!(is_row || !panel["description"].as_str().unwrap().is_empty(), "{title}");
    }
    let shown: BTreeSet<_> = [&*json, &*alerts]
        .into_iter()
        .flat_map(mentions)
        .filter_map(|(name, _)| metric_of(name).map(Metric::name))
        .collect();
    let hidden: Vec<_> = ALL.iter().map(|it| it.name()).filter(|it| !shown.contains(it)).collect();
    assert_eq!(hidden, [""; 0], "shown nowhere");
}

/// What operators read names metrics that there are.
#[test]
fn the_documents_name_what_is_measured() {
    for path in ["docs/operations.md", "docs/metrics.md", "README.md", "deploy/README.md"] {
        assert_eq!(faults(&text(path)), [""; 0], "{path}");
    }
}

/// The rules above find what is wrong.
#[test]
fn a_wrong_query_is_found() {
    for (query, count) in [
        ("rate(vestibule_vends_total{path=\"warm\"}[5m])", 0),
        ("rate(vestibule_vends_total{path=~\"warm|$path\",job=\"x\"}[5m])", 0),
        ("vestibule_exchange_seconds_bucket{connector=\"any\"}", 0),
        ("rate(vestibule_vend_total[5m])", 1),
        ("rate(vestibule_vends_total{path=\"borrowed\"}[5m])", 1),
        ("rate(vestibule_vends_total{connector=\"demo\"}[5m])", 1),
        ("vestibule_exchange_seconds_total", 1),
    ] {
        assert_eq!(faults(query).len(), count, "{query}");
    }
    assert_eq!(grouping_faults("sum by (job, path) (vestibule_vends_total)"), [""; 0]);
    assert_eq!(grouping_faults("sum by (connector) (vestibule_vends_total)").len(), 1);
}
