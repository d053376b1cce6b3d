//! The configuration file: the example is true, and what is wrong is said without a value.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is a failed test"
)]

use std::{fs, path::Path, time::Duration};

use vestibule::{
    Keys,
    connection::{AuthType, ClientAuth, Quirk, ReplayPolicy},
};
use vestibule_worker::config::{Connect, RunOptions, RunSettings, Settings, SweepSettings};

const EXAMPLE: &str = include_str!("../vestibule.example.toml");
/// Cargo sets it for every test: something that is there, in place of a secret.
const IS_SET: &str = "CARGO_PKG_NAME";

fn load(dir: &Path, text: &str) -> anyhow::Result<Settings> {
    let (keys, config) = (dir.join("keys.toml"), dir.join("vestibule.toml"));
    fs::write(&keys, &*Keys::generate_toml()).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(&config, text).unwrap();
    Settings::load(&Connect { redis: None, keys: Some(keys), config: Some(config), prefix: None })
}

/// The file has the same bounds as the flags, and says so without a value; what it leaves out is the
/// default.
#[test]
fn the_file_says_how_run_goes_about_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vestibule.toml");
    let run = |text: &str| {
        fs::write(&path, text).unwrap();
        let connect = Connect { config: Some(path.clone()), ..Connect::default() };
        RunSettings::load(&connect, &RunOptions::default())
    };
    let usual = run("").unwrap();
    assert_eq!((usual.interval, usual.parallel), (Duration::from_secs(1), 16));
    assert_eq!(
        (usual.grace, usual.admin.to_string()),
        (Duration::from_secs(25), "127.0.0.1:9464".into())
    );
    let said = run(
        "interval_ms = 50\nparallel = 256\ngrace_s = 1\nlog = \"json\"\nadmin.address = \"off\"\n",
    );
    let said = said.unwrap();
    assert_eq!((said.interval, said.parallel), (Duration::from_millis(50), 256));
    assert_eq!((said.grace, said.admin.to_string()), (Duration::from_secs(1), "off".into()));
    for (text, says) in [
        ("interval_ms = 49", "`interval_ms` must be a number from 50 to 3600000"),
        ("interval_ms = -1", "`interval_ms` must be"),
        ("parallel = 0", "`parallel` must be a number from 1 to 256"),
        ("grace_s = 3601", "`grace_s` must be a number from 1 to 3600"),
        ("redis_confirm_within_ms = 0", "must be a number from 1 to 2000"),
        ("log = \"hunter2\"", "`log` must be `plain` or `json`"),
        (
            "[sweeps]\nscopes = \"hunter2\"",
            "line 2: `scopes` must be a list of the names that hosts",
        ),
        ("[sweeps]\nscopes = [\n\"hunter2 x\"]", "line 2: `scopes` must be a list of the names"),
        ("[admin]\naddress = \"hunter2\"", "`address` must be ADDRESS:PORT or off"),
    ] {
        let said = format!("{:#}", run(text).unwrap_err());
        assert!(said.contains(says) && !said.contains("hunter2"), "{said}");
    }
}

/// What is said of a file that does not load.
fn fault(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    format!("{:#}", load(dir.path(), text).unwrap_err())
}

/// The example loads as it stands, and says what it says.
#[test]
fn the_example_is_true() {
    let dir = tempfile::tempdir().unwrap();
    let text = ["GITHUB_CLIENT_SECRET", "EXAMPLE_CLIENT_SECRET"]
        .iter()
        .fold(EXAMPLE.to_owned(), |text, name| {
            text.replace(&format!("\"{name}\""), &format!("\"{IS_SET}\""))
        });
    let secret = dir.path().join("webhook");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let text =
        text.replace("secret_env = \"AUDIT_WEBHOOK_SECRET\"", &format!("secret_file = {secret:?}"));
    let settings = load(dir.path(), &text).unwrap();

    let told: Vec<_> = settings.notify.receivers.iter().map(|it| it.group.as_str()).collect();
    assert_eq!(told, ["log", "audit"]);
    assert_eq!(settings.notify.receivers[0].kinds.len(), 2);
    let github = settings.registry.lookup("github").unwrap();
    assert_eq!(github.token_url.as_ref().unwrap().host_str(), Some("github.com"));
    assert_eq!(github.rate.unwrap().calls.get(), 5000);
    assert!(github.device_authorization_url.is_some());
    let example = settings.registry.lookup("example").unwrap();
    assert_eq!(example.client_auth, ClientAuth::Basic);
    assert_eq!(example.replay, ReplayPolicy::Grace(Duration::from_secs(30)));
    assert!(example.quirks.contains(&Quirk::RawBasic));
    assert_eq!(example.concurrency.map(u16::from), Some(8));
    assert_eq!(example.scopes, ["openid", "offline_access"]);
    assert_eq!(settings.registry.lookup("warehouse").unwrap().auth, AuthType::ClientCredentials);
    assert_eq!(settings.sweeps, SweepSettings::default());
    assert_eq!(settings.registry.lookup("weather").unwrap().auth, AuthType::ApiKey);
}

const TABLES: [&str; 6] = ["admin", "connectors", "sweeps", "notify", "traces", "webhook"];

/// The example leaves no key out: the parser is asked for all that it knows.
#[test]
fn the_example_names_every_key() {
    let mut known = 0;
    for text in [
        "nonsense = 1\n",
        "[admin]\nnonsense = 1\n",
        "[sweeps]\nnonsense = 1\n",
        "[traces]\nnonsense = 1\n",
        "[notify]\nnonsense = 1\n",
        "[[notify.webhook]]\nnonsense = 1\n",
        "[[connectors]]\nslug = \"x\"\nnonsense = 1\n",
    ] {
        let said = fault(text);
        for key in said.split('`').skip(3).step_by(2).filter(|key| !TABLES.contains(key)) {
            known += 1;
            let is_there =
                |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            assert!(EXAMPLE.lines().any(is_there), "the example does not know {key}");
        }
    }
    assert!(known >= 50, "{known}");
    // And what is commented out is true as well, one at a time.
    for line in EXAMPLE.lines().filter_map(|line| line.strip_prefix("# ")) {
        if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            let entry = "[[connectors]]\nslug = \"x\"\nauth = \"oauth2\"\nclient_id = \"c\"\n\
                         authorize_url = \"https://p/a\"\ntoken_url = \"https://p/t\"\n";
            let of_connector =
                ["device_authorization_url", "client_secret_file", "issuer", "max_lifetime_s"];
            let webhook = "[[notify.webhook]]\nname = \"x\"\nurl = \"https://h\"\n";
            let text = match key {
                _ if of_connector.contains(&key) => {
                    format!("redis = \"redis://h\"\n{entry}{line}\n")
                }
                "address" | "token_file" => format!("redis = \"redis://h\"\n[admin]\n{line}\n"),
                "endpoint" | "service" | "ratio" => {
                    format!("redis = \"redis://h\"\n[traces]\n{line}\n")
                }
                "secret_file" | "ca_file" => format!("redis = \"redis://h\"\n{webhook}{line}\n"),
                _ => format!("redis = \"redis://h\"\n{line}\n"),
            };
            let dir = tempfile::tempdir().unwrap();
            if let Err(error) = load(dir.path(), &text) {
                assert!(format!("{error:#}").contains("cannot read"), "{line}: {error:#}");
            }
        }
    }
}

/// An error names the connector or the line, the key, and what to write instead; never a value.
#[test]
fn what_is_wrong_is_named_without_its_value() {
    let one = |lines: &str| {
        fault(&format!("redis = \"redis://h\"\n[[connectors]]\nslug = \"x\"\n{lines}\n"))
    };
    let user = |lines: &str| {
        one(&format!(
            "authorize_url = \"https://p/a\"\ntoken_url = \"https://p/t\"\nclient_id = \"c\"\n{lines}"
        ))
    };
    let set = format!("client_secret_env = \"{IS_SET}\"");
    for (said, names) in [
        (one(""), vec!["connector x", "authorize_url is missing"]),
        (one("client_id = 7"), vec!["line 4", "`client_id` must be a string"]),
        (one("well_known = \"hunter2\""), vec!["connector x", "well_known is one of", "github"]),
        (one("well_known = \"github\"\nauth = \"api_key\""), vec!["connector x", "not both"]),
        (one("auth = \"hunter2\""), vec!["`auth` must be", "client_credentials"]),
        (user("client_secret = \"hunter2\""), vec!["line 7", "client_secret_env"]),
        (user("client_auth = \"hunter2\""), vec!["`client_auth` must be", "`post`"]),
        (user("client_auth = \"post\""), vec!["connector x", "client_secret_file", "none"]),
        (user(&format!("{set}\nclient_auth = \"none\"")), vec!["connector x", "client_auth"]),
        (user("client_secret_env = \"NOT_SET_AT_ALL\""), vec!["connector x", "NOT_SET_AT_ALL"]),
        (user("refresh_lead_s = \"hunter2\""), vec!["`refresh_lead_s` must be u64"]),
        (user("refresh_lead_s = 90000"), vec!["connector x", "refresh_lead", "a day"]),
        (user("serve_margin_s = 999"), vec!["connector x", "serve_margin"]),
        (user("max_lifetime_s = 3600"), vec!["connector x", "max_lifetime", "an hour"]),
        (user("rate = { calls = 0, per_s = 1 }"), vec!["`rate` must be", "nonzero"]),
        (user("rate = { calls = 1, per_s = 0 }"), vec!["connector x", "rate"]),
        (user("concurrency = 0"), vec!["`concurrency` must be", "nonzero"]),
        (user("quirks = [\"hunter2\"]"), vec!["`quirks` must be", "raw_basic"]),
        (user("scopes = [\"hunter2 b\"]"), vec!["connector x", "scopes"]),
        (one("authorize_url = \"hunter2\"\ntoken_url = \"https://p/t\""), vec!["absolute URL"]),
        (
            one("authorize_url = \"https://u:hunter2@p/a\"\ntoken_url = \"https://p/t\""),
            vec!["connector x", "authorize_url", "no user"],
        ),
        (one("auth = \"api_key\"\ntoken_url = \"https://p/t\""), vec!["token_url", "leave it out"]),
        (
            one("auth = \"client_credentials\"\ntoken_url = \"https://p/t\"\nclient_id = \"c\""),
            vec!["connector x", "client_secret"],
        ),
    ] {
        for name in names {
            assert!(said.contains(name), "{name}: {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// The same of those who are told.
#[test]
fn a_receiver_that_is_wrong_is_named_without_its_value() {
    let notify = |lines: &str| fault(&format!("redis = \"redis://h\"\n[notify]\n{lines}\n"));
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let secret = format!("secret_file = {:?}", secret.path());
    let webhook = |lines: &str| notify(&format!("[[notify.webhook]]\nname = \"x\"\n{lines}"));
    let url = "url = \"https://h\"";
    for (said, names) in [
        (notify("log = \"hunter2\""), vec!["`log` must be a boolean"]),
        (notify("log_events = [\"hunter2\"]"), vec!["log_events needs log = true"]),
        (
            notify("log = true\nlog_events = [\"hunter2\"]"),
            vec!["log_events", "one of", "needs_reauth"],
        ),
        (notify("log = true\nlog_events = []"), vec!["log_events", "at least one"]),
        (notify("log = true\nremoved = [\"log\"]"), vec!["two receivers are named log"]),
        (notify("removed = [\"HUNTER2\"]"), vec!["removed", "a-z"]),
        (notify("history_days = 0"), vec!["history_days", "at least 1"]),
        (webhook(url), vec!["webhook x", "secret_env or secret_file"]),
        (webhook(&format!("{url}\nsecret_env = \"NOT_SET\"")), vec!["webhook x", "NOT_SET"]),
        (webhook(&format!("{url}\nsecret_env = \"{IS_SET}\"")), vec!["webhook x", "base64"]),
        (
            webhook(&format!("url = \"https://u:hunter2@h\"\n{secret}")),
            vec!["webhook x", "url", "without a user"],
        ),
        (
            webhook(&format!("{url}\n{secret}\nevents = [\"hunter2\"]")),
            vec!["webhook x", "events", "one of"],
        ),
    ] {
        for name in names {
            assert!(said.contains(name), "{name}: {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}
