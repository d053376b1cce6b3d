//! `config check`: what the configuration amounts to, and where each value comes from.

use serde_json::Value;

use super::scene::{Scene, said, worker};

const URL: &str = "redis://user:canary-hunter2@127.0.0.1:6399/3";

fn row<'a>(json: &'a Value, name: &str) -> (&'a str, &'a str) {
    let rows = json["settings"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name);
    let row = row.unwrap_or_else(|| panic!("no {name}: {json}"));
    (row["value"].as_str().unwrap(), row["from"].as_str().unwrap())
}

/// Flags before the environment, before the file, before what is the default; and no secret.
#[tokio::test]
async fn each_value_tells_where_it_comes_from() {
    let scene = Scene::shared().await;
    let keys = scene.path("keys.toml").display().to_string();
    let text = std::fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let file = format!(
        "redis = \"redis://file:1\"\nprefix = \"from-file\"\njournal_dir = \"/file\"\n\
         refresh_horizon_s = 5\n{text}\n[traces]\nendpoint = \"https://file:4318\"\n\
         service = \"of-file\"\nratio = 0.5\n"
    );
    std::fs::write(scene.path("vestibule.toml"), file).unwrap();
    let check = |args: &[&str]| {
        let mut command = worker(&["config", "check", "--json"]);
        command.args(args).args(["--keys", &keys, "--config"]).arg(scene.path("vestibule.toml"));
        command
    };
    let mut command = check(&["--parallel", "3", "--prefix", "from-flag"]);
    command.env("VESTIBULE_REDIS_URL", URL).env("VESTIBULE_PREFIX", "from-env");
    command.env("VESTIBULE_INSTANCE", "me").env("VESTIBULE_TRACES_SERVICE", "of-env");
    command.args(["--traces-ratio", "0.25"]);
    let out = said(command).await;
    assert_eq!(out.code, 0, "{out:?}");
    assert!(!out.out.contains("canary-hunter2"), "{out:?}");
    let json: Value = serde_json::from_str(&out.out).unwrap();
    assert_eq!(
        row(&json, "redis"),
        ("redis://user:***@127.0.0.1:6399/3", "environment, for --redis")
    );
    assert_eq!(row(&json, "prefix"), ("from-flag", "--prefix"));
    assert_eq!(row(&json, "parallel"), ("3", "--parallel"));
    assert_eq!(row(&json, "instance"), ("me", "environment, for --instance"));
    assert_eq!(row(&json, "journal_dir"), ("/file", "`journal_dir` in the file"));
    assert_eq!(row(&json, "interval_ms"), ("1000", "default"));
    assert_eq!(row(&json, "refresh_horizon_s").0, "5");
    let endpoint = ("https://file:4318", "`traces.endpoint` in the file");
    assert_eq!(row(&json, "traces.endpoint"), endpoint);
    assert_eq!(row(&json, "traces.service"), ("of-env", "environment, for --traces-service"));
    assert_eq!(row(&json, "traces.ratio"), ("0.25", "--traces-ratio"));
    assert_eq!(row(&json, "connectors.demo.replay_grace_s").0, "30");
    // What nobody set is there as well, as `run` has it.
    for (name, value) in [
        ("journal_window_s", "60"),
        ("redis_confirm_replicas", "0"),
        ("grace_s", "25"),
        ("log", "plain"),
        ("admin.address", "127.0.0.1:9464"),
        ("admin.token_file", "none: for this machine alone"),
        ("sweeps.orphans_every_s", "86400"),
        ("sweeps.orphan_retention_days", "30"),
        ("sweeps.expired_every_s", "60"),
        ("sweeps.scopes", "mcp_auth, mcp_headers_auth"),
        ("sweeps.reseal_every_s", "300"),
        ("sweeps.events_every_s", "5"),
        ("sweeps.history_every_s", "3600"),
        ("sweeps.limit", "10000"),
        ("notify.log", "false"),
        ("notify.history_days", "90"),
    ] {
        assert_eq!(row(&json, name), (value, "default"), "{name}");
    }

    // Without flags and environment the file is what counts.
    let json: Value = serde_json::from_str(&said(check(&[])).await.out).unwrap();
    assert_eq!(row(&json, "redis").1, "`redis` in the file");
    assert_eq!(row(&json, "prefix").0, "from-file");
}

/// Each that has a flag: it comes before the environment, and that before the file; `config check` says
/// which it was.
#[tokio::test]
async fn flags_come_before_the_environment_before_the_file() {
    let scene = Scene::shared().await;
    let text = std::fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let one = |name: &str| scene.path(name).display().to_string();
    for name in ["flag", "env", "file"] {
        std::fs::copy(scene.path("keys.toml"), one(&format!("{name}.keys"))).unwrap();
        std::fs::write(one(&format!("{name}.token")), "correct-horse-battery").unwrap();
        std::fs::write(one(&format!("{name}.pem")), rcgen_ca()).unwrap();
    }
    let files = |kind: &str| ["flag", "env", "file"].map(|name| one(&format!("{name}.{kind}")));
    let fixed = |values: [&str; 3]| values.map(str::to_owned);
    // The key in the file, the flag, its variable, and a value of each.
    let all = [
        (
            "redis",
            "redis",
            "REDIS_URL",
            fixed(["redis://flag:1", "redis://env:1", "redis://file:1"]),
        ),
        ("prefix", "prefix", "PREFIX", fixed(["flag", "env", "file"])),
        ("keys_file", "keys", "KEYS_FILE", files("keys")),
        ("provider_ca_file", "provider-ca-file", "PROVIDER_CA_FILE", files("pem")),
        ("journal_dir", "journal-dir", "JOURNAL_DIR", fixed(["/flag", "/env", "/file"])),
        ("interval_ms", "interval-ms", "INTERVAL_MS", fixed(["51", "52", "53"])),
        ("parallel", "parallel", "PARALLEL", fixed(["1", "2", "3"])),
        ("grace_s", "grace-s", "GRACE_S", fixed(["1", "2", "3"])),
        ("log", "log", "LOG", fixed(["json", "plain", "json"])),
        ("admin.address", "admin", "ADMIN", fixed(["127.0.0.1:1", "127.0.0.1:2", "off"])),
        ("admin.token_file", "admin-token-file", "ADMIN_TOKEN_FILE", files("token")),
    ];
    let quoted = |text: &str| {
        if text.parse::<u64>().is_ok() { text.to_owned() } else { format!("{text:?}") }
    };
    let lines: String =
        all.iter().map(|(key, _, _, values)| format!("{key} = {}\n", quoted(&values[2]))).collect();
    std::fs::write(scene.path("vestibule.toml"), lines + &text).unwrap();
    for place in 0..3 {
        let mut command = worker(&["config", "check", "--json", "--config"]);
        command.arg(scene.path("vestibule.toml"));
        for (_, flag, variable, [by_flag, by_env, _]) in &all {
            if place == 0 {
                command.arg(format!("--{flag}")).arg(by_flag);
            }
            if place <= 1 {
                command.env(format!("VESTIBULE_{variable}"), by_env);
            }
        }
        let out = said(command).await;
        assert_eq!(out.code, 0, "{out:?}");
        let json: Value = serde_json::from_str(&out.out).unwrap();
        for (key, flag, _, values) in &all {
            let from = match place {
                0 => format!("--{flag}"),
                1 => format!("environment, for --{flag}"),
                _ => format!("`{key}` in the file"),
            };
            assert_eq!(row(&json, key), (&*values[place], &*from));
        }
    }

    // The texts of secrets are environment too: before the file, and behind a flag.
    let keys = std::fs::read_to_string(scene.path("keys.toml")).unwrap();
    let check = |args: &[&str]| {
        let mut command = worker(&["config", "check", "--json", "--config"]);
        command.arg(scene.path("vestibule.toml")).args(args);
        command.env("VESTIBULE_KEYS", &keys);
        command.env("VESTIBULE_ADMIN_TOKEN", "canary-hunter2-battery");
        command
    };
    let out = said(check(&[])).await;
    assert!(!out.out.contains("canary-hunter2"), "{out:?}");
    let json: Value = serde_json::from_str(&out.out).unwrap();
    assert_eq!(row(&json, "keys_file"), ("[redacted]", "VESTIBULE_KEYS"));
    assert_eq!(row(&json, "admin.token_file"), ("[redacted]", "VESTIBULE_ADMIN_TOKEN"));
    let flags = ["--keys", &one("flag.keys"), "--admin-token-file", &one("flag.token")];
    let json: Value = serde_json::from_str(&said(check(&flags)).await.out).unwrap();
    assert_eq!(row(&json, "keys_file").1, "--keys");
    assert_eq!(row(&json, "admin.token_file").1, "--admin-token-file");
    // And what is taken is what is told: the file's keys are not even read.
    std::fs::write(one("file.keys"), "nonsense").unwrap();
    assert_eq!(said(check(&[])).await.code, 0);
    std::fs::write(one("file.token"), "weak").unwrap();
    assert_eq!(said(check(&[])).await.code, 0);
}

fn rcgen_ca() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::default().self_signed(&key).unwrap().pem()
}

/// A value is there under the name under which `run` takes it; what `run` would not start with is an
/// error, with the same words.
#[tokio::test]
async fn what_would_not_start_is_told() {
    let scene = Scene::shared().await;
    let mut command = worker(&["config", "check"]);
    command.args(["--redis", "redis://:canary-hunter2@h"]);
    let out = said(command).await;
    assert!(out.code == 1 && out.out.contains("keygen"), "{out:?}");
    assert!(!format!("{out:?}").contains("canary-hunter2"), "{out:?}");

    let text = std::fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let broken = text.replace("slug = \"demo\"", "slug = \"demo\"\nnonsense = \"canary-hunter2\"");
    std::fs::write(scene.path("vestibule.toml"), broken).unwrap();
    let out = scene.run(&["config", "check"]).await;
    assert!(out.code == 1 && out.err.contains("nonsense"), "{out:?}");
    assert!(!format!("{out:?}").contains("canary-hunter2"), "{out:?}");

    for (endpoint, shown) in
        [("https://u:canary-hunter2@c", "https://u:***@c"), ("canary-hunter2", "[redacted]")]
    {
        let wrong = format!("{text}\n[traces]\nendpoint = {endpoint:?}\n");
        std::fs::write(scene.path("vestibule.toml"), wrong).unwrap();
        let out = scene.run(&["config", "check"]).await;
        assert!(out.code == 1 && out.out.contains("traces.endpoint is an http"), "{out:?}");
        assert!(out.out.contains(shown), "{out:?}");
        assert!(!format!("{out:?}").contains("canary-hunter2"), "{out:?}");
    }

    let unset = text.replace("client_secret_file", "client_secret_env = \"NOT_SET_AT_ALL\" #");
    std::fs::write(scene.path("vestibule.toml"), unset).unwrap();
    let out = scene.run(&["config", "check"]).await;
    assert!(out.code == 1 && out.out.contains("NOT_SET_AT_ALL (NOT set)"), "{out:?}");
}

/// Where things are may be said before the command or after it.
#[tokio::test]
async fn global_options_stand_anywhere() {
    let scene = Scene::shared().await;
    drop(scene.vestibule().await);
    let redis = scene.redis_for(&["ls"]);
    let mut command = worker(&["--redis", &redis, "--json", "--prefix", &scene.prefix]);
    command.args(["ls", "due"]);
    let before = said(command).await;
    let after = scene.look(&["ls", "due", "--json"]).await;
    let rows = |said: &super::scene::Said| {
        let json: Value = serde_json::from_str(&said.out).unwrap();
        json["rows"].clone()
    };
    assert_eq!(rows(&before), rows(&after));
}
