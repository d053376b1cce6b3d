//! What changes something: through the library's verbs, and only with the key file.

use redis::AsyncCommands;
use vestibule::{Keys, store::Status};

use super::scene::{CANARY, Scene};
use crate::support::server;

/// `cancel`, `revoke`, `retry`, `resume`: done once, told once, and told again as done.
#[tokio::test]
async fn an_operator_ends_and_mends() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let mut raw = server::shared().await.raw().await;
    let outcome = async |args: &[&str]| {
        let said = scene.run(args).await;
        let json = scene.json(args).await;
        (said.code, said.out, json["outcome"].as_str().unwrap_or_default().to_owned())
    };

    // The pending is bound to somebody: an operator need not be him.
    let waited = ids.waited.to_string();
    let (code, said, then) = outcome(&["cancel", &waited]).await;
    assert_eq!((code, then.as_str()), (0, "already"), "{said}");
    let why = scene.look(&["why", &waited]).await;
    assert!(why.out.contains("cancelled by operator"), "{why:?}");

    let (code, said, then) = outcome(&["revoke", ids.active.as_str(), "--reason", "left"]).await;
    assert_eq!((code, then.as_str()), (0, "already"), "{said}");
    let row = scene.host().await.get(CANARY, &ids.active).await.unwrap();
    assert_eq!((row.status, row.reason.as_deref()), (Status::Revoked, Some("left")));

    let token = ids.token.to_string();
    let (code, _, then) = outcome(&["revoke", &token]).await;
    assert_eq!((code, then.as_str()), (0, "already"));
    assert!(scene.look(&["why", &token]).await.out.contains("revoked by itself"));

    let (code, _, then) = outcome(&["retry", ids.exhausted.as_str()]).await;
    assert_eq!((code, then.as_str()), (0, "not_failing"));
    let row = scene.host().await.get(CANARY, &ids.exhausted).await.unwrap();
    assert_eq!((row.status, row.attempts), (Status::Active, 0));
    assert_eq!(outcome(&["retry", ids.revoked.as_str()]).await.0, 1);

    let (code, _, then) = outcome(&["resume", "demo"]).await;
    assert_eq!((code, then.as_str()), (0, "running"));
    assert!(!raw.hexists::<_, _, bool>(scene.pause_key(), "until_at").await.unwrap());
}

/// `refresh` plays by the rules: what is due is refreshed once, what is fresh or held is left.
#[tokio::test]
async fn a_refresh_by_hand_is_one_of_many() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    assert_eq!(
        scene.run(&["refresh", ids.overdue.as_str()]).await.code,
        1,
        "its connector is paused"
    );
    assert_eq!(scene.run(&["resume", "demo"]).await.code, 0);
    for (id, code, outcome) in [
        (&ids.overdue, 0, "fresh"),
        (&ids.overdue, 0, "not_due"),
        (&ids.held, 0, "held"),
        (&ids.failing, 1, "not_due"),
        (&ids.revoked, 1, "not"),
    ] {
        let said = scene.run(&["refresh", id.as_str(), "--json"]).await;
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.out.contains(&format!("\"outcome\": \"{outcome}\"")), "{said:?}");
    }
    assert_eq!(scene.provider.counts().refreshes, 1);
}

/// What changes something needs the keys, and the right ones.
#[tokio::test]
async fn nothing_is_changed_without_the_right_keys() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let waited = ids.waited.to_string();
    for args in [
        &["cancel", &waited][..],
        &["revoke", ids.active.as_str()],
        &["retry", ids.exhausted.as_str()],
        &["refresh", ids.overdue.as_str()],
        &["resume", "demo"],
    ] {
        let said = scene.look(args).await;
        assert!(said.code == 1 && said.err.contains("no keys"), "{said:?}");
    }
    std::fs::write(scene.path("keys.toml"), &*Keys::generate_toml()).unwrap();
    let said = scene.run(&["cancel", &waited]).await;
    assert!(said.code == 1 && said.err.contains("use the key file that made it"), "{said:?}");
    assert!(scene.look(&["why", &waited]).await.out.contains("waits for somebody"));
}

/// `keys status`: which key seals, which only opens, and which the records ask for.
#[tokio::test]
async fn the_ring_is_told_by_its_ids() {
    let scene = Scene::shared().await;
    scene.populate(server::shared().await).await;
    let old = scene.keys.ring.key_ids().next().unwrap().to_string();
    let json = scene.json(&["keys", "status"]).await;
    assert_eq!(json["primary"], old.as_str());
    // Five connections with a secret, two pendings, three tokens, and a state of each sign-in.
    assert_eq!(json["ring"][0]["records"], 18, "{json}");
    assert_eq!(json["unknown"], serde_json::json!([]));

    // The same file, with another ring.
    let text = std::fs::read_to_string(scene.path("keys.toml")).unwrap();
    let other = Keys::generate_toml();
    let ring =
        |text: &str| text.split("ring = [").nth(1).unwrap().split(']').next().unwrap().to_owned();
    let (mine, new) = (ring(&text), ring(&other));
    std::fs::write(scene.path("keys.toml"), text.replace(&mine, &format!("{new}, {mine}")))
        .unwrap();
    let json = scene.json(&["keys", "status"]).await;
    assert_eq!(json["ring"][1]["id"], old.as_str());
    assert_eq!(json["ring"][0]["records"], 0);
    std::fs::write(scene.path("keys.toml"), text.replace(&mine, &new)).unwrap();
    let said = scene.run(&["keys", "status"]).await;
    assert!(said.out.contains("NOT in the ring") && said.out.contains(&old), "{said:?}");
}

/// Mending by hand takes Redis and the keys, and no provider's or receiver's secret.
#[tokio::test]
async fn no_providers_secret_is_asked_for() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let config = scene.dir.path().join("no-secrets.toml");
    let text = "[[connectors]]\nslug = \"github\"\nclient_id = \"c\"\n\
                client_secret_env = \"VESTIBULE_TEST_NOT_SET\"\n\
                authorize_url = \"https://github.com/login/oauth/authorize\"\n\
                token_url = \"https://github.com/login/oauth/access_token\"\n";
    std::fs::write(&config, text).unwrap();
    let keys = scene.path("keys.toml");
    let given = ["--keys", keys.to_str().unwrap(), "--config", config.to_str().unwrap()];
    for args in [
        &["cancel", &ids.waited.to_string()][..],
        &["revoke", ids.active.as_str()],
        &["retry", ids.exhausted.as_str()],
        &["sweep", "expired"],
    ] {
        let said = scene.look(&[args, &given].concat()).await;
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
    }
    let said = scene.look(&[&["refresh", ids.overdue.as_str()][..], &given].concat()).await;
    assert!(said.code == 1 && said.err.contains("VESTIBULE_TEST_NOT_SET"), "{said:?}");
}
