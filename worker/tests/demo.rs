//! `vestibule-worker demo --json`: what a reader of the README runs first does what it promises.
#![allow(clippy::unwrap_used, reason = "test code: a panic is a failed test")]

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

#[test]
fn the_demo_keeps_every_promise() {
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_vestibule-worker"))
        .args(["demo", "--json"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let took = started.elapsed();
    let story = String::from_utf8(output.stderr).unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout.lines().count(), 1, "only the object goes to stdout:\n{stdout}\n{story}");
    let told: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let number = |key: &str| told[key].as_u64().unwrap_or_else(|| panic!("{key}: {told}\n{story}"));

    for key in [
        "ok",
        "signin_cross_replica",
        "replay_refused",
        "second_answer_refused",
        "link_crosses_replicas",
        "worker_killed",
        "access_returned",
    ] {
        assert_eq!(told[key], true, "{key}: {told}\n{story}");
    }
    assert_eq!(told["backend"], "redis");
    for (key, exactly) in [
        ("replicas", 3),
        ("workers", 2),
        ("prompts", 1),
        ("joined", 2),
        ("woken", 3),
        // Another form, another page, another method.
        ("link_refused_elsewhere", 3),
        ("link_refused_afterwards", 3),
        ("credentials", 50),
        ("refreshed", 50),
        ("reused_presentations_before_kill", 0),
        ("family_revocations", 0),
        ("orphans_swept", 1),
        // Every credential four times and one of them ten times, on each of three replicas.
        ("vends", 3 * (50 * 4 + 10)),
    ] {
        assert_eq!(number(key), exactly, "{key}: {told}\n{story}");
    }
    // Whoever is not woken looks after five seconds.
    let slowest = told["slowest_wake_up_ms"].as_f64().unwrap();
    assert!(slowest > 0.0 && slowest < 5000.0, "{told}\n{story}");
    // What was asked and how it ended; who would join, and who waited, for a little longer.
    assert!((2..=4).contains(&number("pending_keys_left")), "{told}\n{story}");
    let (in_flight, reused) = (number("in_flight_at_kill"), number("reused_presentations"));
    assert!(in_flight >= 1, "{told}\n{story}");
    assert!((1..=in_flight).contains(&reused), "{told}\n{story}");
    assert!((1..30_000).contains(&number("recovered_after_kill_ms")), "{told}\n{story}");
    // 52 sign-ins, 50 refreshes, one more by the crowd, and one more for each replayed token.
    assert_eq!(number("provider_calls"), 52 + 50 + 1 + reused, "{told}\n{story}");
    assert_eq!(output.status.code(), Some(0), "{story}");
    // Under a minute in a release build, on a machine that does nothing else.
    assert!((1..=300).contains(&number("seconds")), "{told}\n{story}");
    assert!(took < Duration::from_secs(300), "{took:?}\n{story}");

    the_storm_costs_what_a_strict_provider_takes(&told);
    the_readme_shows_what_it_prints(&story);
}

/// two hundred credentials at each of two providers, while workers die at random.
fn the_storm_costs_what_a_strict_provider_takes(told: &Value) {
    for (party, is_strict) in [("storm", false), ("strict", true)] {
        let number = |key: &str| told[party][key].as_u64().unwrap_or_else(|| panic!("{told}"));
        assert_eq!((number("credentials"), number("kills")), (200, 8), "{told}");
        assert!(number("in_flight_at_kills") >= 1, "{told}");
        assert!(number("refreshes") >= 200 && number("vends") >= 1, "{told}");
        assert_eq!((number("lost_otherwise"), number("dead_vends")), (0, 0), "{told}");
        assert_eq!(number("live") + number("labelled"), 200, "{told}");
        assert_eq!(number("family_revocations"), number("labelled"), "{told}");
        assert!(is_strict || number("labelled") == 0, "{told}");
        assert!(number("labelled") <= number("in_flight_at_kills"), "{told}");
        // Who wants what a dead worker was refreshing may be told to come back. That is rare, and else
        // nobody is refused, but for what is lost by then.
        let refused = told[party]["refused"].as_object().unwrap();
        let known =
            |why: &String| why == "refresh_still_running" || is_strict && why == "needs_reauth";
        assert!(refused.keys().all(known), "{told}");
        let times: u64 = refused.values().map(|times| times.as_u64().unwrap()).sum();
        let otherwise = number("refused_otherwise");
        assert!(times * 10 <= number("vends") || otherwise == 0, "{told}");
    }
}

/// The output that is recorded in the README is of this demo.
fn the_readme_shows_what_it_prints(story: &str) {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let recorded: Vec<_> =
        readme.lines().filter_map(|line| line.strip_prefix("PASS  ")?.split("  ").next()).collect();
    for property in &recorded {
        assert!(story.contains(property), "the README has {property}:\n{story}");
    }
    let said = story.lines().filter(|line| line.trim_end().ends_with("PASS")).count();
    assert_eq!(recorded.len(), said, "{story}");
}

#[test]
fn what_the_demo_cannot_use_is_told() {
    for (url, says) in [
        ("redis-cluster://127.0.0.1:1", "one server"),
        ("redis://:hunter2@127.0.0.1:99999", "not a Redis URL"),
        ("redis://:hunter2@127.0.0.1:1", "Connection refused"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule-worker"))
            .args(["demo", "--json", "--redis", url])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let story = String::from_utf8(output.stderr).unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &told["ok"]), (Some(1), &Value::Bool(false)), "{story}");
        assert!(story.contains(says) && !story.contains("hunter2"), "{story}");
    }
}
