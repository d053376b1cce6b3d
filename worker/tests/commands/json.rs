//! `--json`: one object on standard output, whatever comes of it.

use serde_json::Value;
use vestibule::Keys;

use super::scene::{Scene, said, worker};

/// Also of commands that only the binary's `main` answers for; the exit code is that of the text.
#[tokio::test]
async fn an_error_is_an_object_too() {
    let scene = Scene::shared().await;
    let existing = scene.path("keys.toml").display().to_string();
    let cases: [(&[&str], &str); 4] = [
        (&["sweep", "orphans"], "no Redis URL"),
        (&["run"], "no Redis URL"),
        (&["keygen", "--out", &existing], "never overwritten"),
        (&["refresh", &"00".repeat(17)], "no Redis URL"),
    ];
    for (args, says) in cases {
        let text = said(worker(args)).await;
        let mut command = worker(args);
        command.arg("--json");
        let out = said(command).await;
        let json: Value = serde_json::from_str(&out.out).unwrap_or_else(|_| panic!("{out:?}"));
        assert_eq!((json["error"].as_str(), out.err.as_str()), (Some("error"), ""), "{out:?}");
        assert!(json["message"].as_str().unwrap().contains(says), "{out:?}");
        assert!(text.code == 1 && out.code == 1 && text.err.contains(says), "{text:?}");
    }
}

/// The text of a key file in an object: what `VESTIBULE_KEYS` takes.
#[tokio::test]
async fn keys_are_printed_as_an_object() {
    let out = said(worker(&["keygen", "--json"])).await;
    let json: Value = serde_json::from_str(&out.out).unwrap();
    Keys::from_toml(json["keys"].as_str().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    let mut command = worker(&["keygen", "--json", "--out"]);
    command.arg(&path);
    let out = said(command).await;
    let json: Value = serde_json::from_str(&out.out).unwrap();
    assert_eq!((json["file"].as_str(), out.err.as_str()), (path.to_str(), ""));
    Keys::from_file(&path).unwrap();
}
