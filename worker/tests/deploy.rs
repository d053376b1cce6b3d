//! What is under `deploy/` starts the worker that is here: each command line parses, each variable
//! is one that it reads, each probe is a path that it serves.
#![allow(
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is a failed test"
)]

use std::{fs, path::PathBuf, str::FromStr};

use clap::Parser;
use serde_json::Value;
use vestibule_worker::{
    cli::{self, Cli, Command},
    config::{Admin, GraceS, RunOptions},
};

fn text(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a file, with their merge keys applied.
fn yaml(path: &str) -> Vec<Value> {
    let text = text(path);
    let documents = serde_norway::Deserializer::from_str(&text);
    documents
        .map(|document| {
            let mut value: serde_norway::Value = serde::Deserialize::deserialize(document)
                .unwrap_or_else(|error| panic!("{path}: {error}"));
            value.apply_merge().unwrap();
            serde_json::to_value(value).unwrap()
        })
        .collect()
}

fn cli<S: AsRef<str>>(args: &[S]) -> Cli {
    let args = ["vestibule-worker"].into_iter().chain(args.iter().map(AsRef::as_ref));
    Cli::try_parse_from(args).unwrap_or_else(|error| panic!("{error}"))
}

fn run_options<S: AsRef<str>>(args: &[S]) -> RunOptions {
    match cli(args).command {
        Command::Run(options) => options,
        other => panic!("{other:?}"),
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// A variable of ours is one that the command line or the configuration reads.
fn is_read(name: &str) -> bool {
    cli::variables().contains(name)
}

/// What it says, or the default.
fn grace_s(options: &RunOptions) -> u64 {
    options.grace_s.map_or(25, GraceS::get)
}

fn seconds(text: &str) -> u64 {
    u64::from_str(text.trim_end_matches('s')).unwrap()
}

#[test]
fn the_sidecar_starts_probes_and_stops_in_time() {
    let manifests = yaml("kubernetes/service-with-sidecar.yaml");
    let kinds: Vec<_> = manifests.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Deployment", "PodDisruptionBudget"]);
    let pod = &manifests[0]["spec"]["template"]["spec"];
    let worker = &pod["initContainers"][0];
    assert_eq!(worker["restartPolicy"], "Always", "else it is not a sidecar");

    let options = run_options(&strings(&worker["args"]));
    let Some(Admin::At(admin)) = options.admin else { panic!("the probes need the admin port") };
    assert!(admin.ip().is_unspecified(), "the kubelet does not come over the loopback");
    assert_eq!(worker["ports"][0]["containerPort"], admin.port());
    let has_token = |it: &Value| it["name"] == "VESTIBULE_ADMIN_TOKEN";
    assert!(worker["env"].as_array().unwrap().iter().any(has_token), "it would not start");
    let patience = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(patience > grace_s(&options), "killed before its own grace is over");
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(worker[probe]["httpGet"]["path"], path);
        assert_eq!(worker[probe]["httpGet"]["port"], worker["ports"][0]["name"]);
    }

    let env = worker["env"].as_array().unwrap();
    let value = |name: &str| {
        let found = env.iter().find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not set"))["value"].as_str().unwrap()
    };
    for variable in env.iter().map(|it| it["name"].as_str().unwrap()) {
        let own = variable.starts_with("VESTIBULE_");
        assert!(!own || is_read(variable), "nobody reads {variable}");
    }
    let mounted = |path: &str| {
        let mounts = worker["volumeMounts"].as_array().unwrap();
        mounts.iter().any(|mount| path.starts_with(mount["mountPath"].as_str().unwrap()))
    };
    for variable in ["VESTIBULE_KEYS_FILE", "VESTIBULE_CONFIG", "VESTIBULE_JOURNAL_DIR"] {
        assert!(mounted(value(variable)), "{variable} is not mounted");
    }

    // What it takes from the environment is in the secret, under the names that it is asked for.
    let secret = &yaml("kubernetes/secret.example.yaml")[0]["stringData"];
    for variable in env.iter().filter(|it| it["valueFrom"]["secretKeyRef"].is_object()) {
        let key = variable["valueFrom"]["secretKeyRef"]["key"].as_str().unwrap();
        assert!(secret[key].is_string(), "the secret has no {key}");
    }
    let config = &yaml("kubernetes/config.yaml")[0]["data"]["vestibule.toml"];
    let config: toml::Table = config.as_str().unwrap().parse().unwrap();
    for connector in config["connectors"].as_array().unwrap() {
        let variable = connector["client_secret_env"].as_str().unwrap();
        assert!(env.iter().any(|it| it["name"] == variable), "{variable} is not set");
    }
}

#[test]
fn compose_starts_two_workers_on_a_redis_that_evicts_nothing() {
    let file = &yaml("compose.yaml")[0];
    let redis = strings(&file["services"]["redis"]["command"]).join(" ");
    assert!(redis.contains("--maxmemory-policy noeviction"), "{redis}");

    let mut instances = Vec::new();
    for name in ["worker-a", "worker-b"] {
        let worker = &file["services"][name];
        let options = run_options(&strings(&worker["command"]));
        assert!(matches!(options.admin, Some(Admin::At(_))));
        let has_token = worker["environment"]["VESTIBULE_ADMIN_TOKEN"].is_string();
        assert!(has_token, "it would not start");
        assert!(seconds(worker["stop_grace_period"].as_str().unwrap()) > grace_s(&options));
        for variable in worker["environment"].as_object().unwrap().keys() {
            assert!(is_read(variable), "nobody reads {variable}");
        }
        instances.push(options.instance);
    }
    assert_ne!(instances[0], instances[1]);
    // Two that share a journal would fight for its lock.
    let journal = |name: &str| {
        let volumes = strings(&file["services"][name]["volumes"]);
        volumes.into_iter().find(|volume| volume.contains("journal")).unwrap()
    };
    assert_ne!(journal("worker-a"), journal("worker-b"));
}

#[test]
fn the_unit_starts_and_stops_in_time() {
    let unit = text("systemd/vestibule-worker.service");
    let setting = |name: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("{name} is not set"))
    };
    let command: Vec<_> = setting("ExecStart").split_whitespace().skip(1).collect();
    let options = run_options(&command);
    assert!(seconds(setting("TimeoutStopSec")) > grace_s(&options));
    assert!(options.refreshing.journal_dir.is_some());
    assert_eq!(cli(&command).connect.keys.unwrap().file_name().unwrap(), "keys.toml");
    assert!(setting("LoadCredential").starts_with("keys.toml:"));
}

#[test]
fn the_image_builds_from_what_is_there() {
    let dockerfile = text("Dockerfile");
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let copied = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| {
            let mut words: Vec<_> = line.split_whitespace().collect();
            words.pop();
            words
        });
    let ignore = text("Dockerfile.dockerignore");
    let mut count = 0;
    for path in copied {
        assert!(root.join(path).exists(), "{path} is not there");
        let let_in = |path: &str| ignore.lines().any(|line| line == format!("!{path}"));
        assert!(let_in(path), "{path} is kept from the image");
        count += 1;
    }
    assert!(count > 5);
    assert!(dockerfile.contains("\nUSER 65532:65532\n"), "it is root");
    let entry = "ENTRYPOINT [\"/usr/bin/vestibule-worker\"]\nCMD [\"run\"]";
    assert!(dockerfile.contains(entry), "it does not run the worker");
}
