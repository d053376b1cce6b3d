//! What the worker says on `/metrics`, and what alerts and dashboard make of it.
#![allow(
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is a failed test"
)]

#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the library's tests, which use all of it"
)]
#[path = "../../tests/it/support"]
mod support {
    pub mod ageing;
    pub mod exposition;
    pub mod process;
    pub mod server;
    pub mod sign_in;
    pub mod stores;
}

#[path = "metrics/rules.rs"]
mod rules;
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "shared by the worker's tests; each uses a part of it"
)]
#[path = "scene/mod.rs"]
mod scene;

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, SystemTime},
};

use redis::AsyncCommands;
use vestibule::metric::{self, Kind, Label, Origin};
use vestibule_worker::provider::Settings;

use scene::{Scene, end, get, signal, until};
use support::{
    ageing::age,
    exposition::Exposition,
    server::{self, free_port},
    sign_in::sign_in,
};

/// Whose connection, and what somebody wrote into Redis: neither may be in a label.
const OWNER: &str = "canary-owner@example.com";
const TEXT: &str = "canary-connector";

/// A worker that refreshed, failed, swept and delivered says what the list says: each name with its HELP
/// and TYPE, each label with one of its words; and nothing of an owner, a record or a secret.
#[tokio::test]
async fn a_worker_measures_what_the_list_says() {
    let (scene, server) = (Scene::shared().await, server::shared().await);
    let config = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    fs::write(scene.path("vestibule.toml"), format!("[notify]\nlog = true\n\n{config}")).unwrap();
    let host = scene.host().await;
    let mut raw = server.raw().await;
    let rejected = sign_in(&host, OWNER).await;
    assert!(scene.provider.revoke_subject("someone") > 0);
    let (fine, strange) = (sign_in(&host, OWNER).await, sign_in(&host, OWNER).await);
    let key = |id: &vestibule::store::ConnectionId| {
        format!("{}:{{{}}}:conn:{id}", scene.prefix, id.shard())
    };
    let _: () = raw.hset(key(&strange), "connector", TEXT).await.unwrap();
    age(&mut raw, &scene.prefix, Duration::from_secs(290)).await;

    let (port, started) = (free_port(), SystemTime::now());
    let child = scene.sweeping(&format!("127.0.0.1:{port}")).spawn().unwrap();
    let scrape = async || get(port, "/metrics").await.map_or(String::new(), |(_, text)| text);
    let has = async |series: &str, least: f64| {
        Exposition::read(&scrape().await).value(series).is_some_and(|value| value >= least)
    };
    for (series, least) in [
        ("vestibule_refresh_total{connector=\"demo\",outcome=\"fresh\"}", 1.0),
        ("vestibule_needs_reauth_total{connector=\"demo\",reason=\"rejected\"}", 1.0),
        ("vestibule_left_total{why=\"unknown_connector\"}", 1.0),
        ("vestibule_sweep_seconds_count{sweep=\"refresh_due\"}", 2.0),
        ("vestibule_sweep_seconds_count{sweep=\"expired\"}", 1.0),
        ("vestibule_sweep_seconds_count{sweep=\"orphans\"}", 1.0),
        ("vestibule_sweep_seconds_count{sweep=\"reseal\"}", 1.0),
        ("vestibule_sweep_seconds_count{sweep=\"history\"}", 1.0),
        ("vestibule_swept_total{sweep=\"events\",outcome=\"done\"}", 1.0),
        ("vestibule_sealed_records{key=\"unknown\"}", 0.0),
        ("vestibule_notified_total{notifier=\"log\",outcome=\"delivered\"}", 1.0),
        ("vestibule_oldest_overdue_seconds", 0.0),
        ("vestibule_outbox_lag{notifier=\"log\"}", 0.0),
    ] {
        until(series, || has(series, least)).await;
    }
    let text = scrape().await;
    signal(&child, "TERM");
    assert_eq!(end(child).await.0.code(), Some(0));
    expect_whole(&text, started);

    let [fine, rejected, strange] = [fine, rejected, strange].map(|id| id.to_string());
    let secrets = fs::read_to_string(scene.path("keys.toml")).unwrap();
    let secrets = secrets.split('"').skip(1).step_by(2).chain([OWNER, TEXT, &*fine, &*rejected]);
    let secret = Settings::default().client_secret;
    for secret in secrets.chain([&*strange, &*secret, &*scene.prefix]) {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
}

/// What a scrape must be, whatever happened before it.
#[track_caller]
fn expect_whole(text: &str, started: SystemTime) {
    let exposition = Exposition::read(text);
    assert_eq!(exposition.faults(), [""; 0], "{text}");
    let measured: BTreeSet<_> = exposition.types.keys().map(String::as_str).collect();
    for metric in metric::ALL {
        let name = metric.name();
        // What is counted by two words at once begins with its first event.
        let words = metric.labels().iter().filter(|label| label.closed().is_some()).count();
        let begins = metric.kind() == Kind::Counter && words < 2;
        if begins || metric.from() == Origin::Worker {
            assert!(measured.contains(name), "{name} is not in\n{text}");
        }
        if metric.kind() == Kind::Histogram && measured.contains(name) {
            assert!(text.contains(&format!("{name}_bucket{{")), "{name} has no buckets");
        }
    }
    let gauge = |series: &str| exposition.value(series).unwrap_or_else(|| panic!("{series}"));
    assert_eq!(gauge("vestibule_worker_ready"), 1.0);
    assert_eq!(gauge("vestibule_redis_connections{kind=\"shared\"}"), 1.0);
    let [started, now] = [started, SystemTime::now()]
        .map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64());
    let sweeps = metric::SWEEP_INTERVAL.labels().iter().find_map(Label::closed).unwrap();
    for sweep in sweeps {
        let last =
            gauge(&format!("vestibule_sweep_last_success_timestamp_seconds{{sweep=\"{sweep}\"}}"));
        assert!((started..=now).contains(&last), "{sweep}: {last} from {started} to {now}");
        assert!(gauge(&format!("vestibule_sweep_interval_seconds{{sweep=\"{sweep}\"}}")) > 0.0);
    }
}
