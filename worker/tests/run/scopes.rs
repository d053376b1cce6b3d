//! `[sweeps] scopes`: the expired tokens of a host's own scopes.

use std::{fs, time::Duration};

use vestibule::token::{MintSpec, Scope, Scopes};

use crate::{
    scene::{Scene, end, signal, until},
    support::{ageing::age, server},
};

/// T-9: what a host's own scope has minted is swept once its name is in the file, and not before; what
/// lives stays valid.
#[tokio::test]
async fn a_hosts_own_scope_is_swept() {
    let scene = Scene::shared().await;
    let scopes = Scopes::new();
    let page = Scope::new("acme:page").with_route("GET", "/page");
    scopes.register(page.with_max_ttl(Duration::from_secs(7200))).unwrap();
    let tokens = scene.vestibule().await.temp_tokens(scopes);
    let mint = async |seconds| {
        let spec = MintSpec::new("acme:page", "one", Duration::from_secs(seconds));
        tokens.mint(&spec).await.unwrap().token
    };
    let lives = mint(7200).await;
    for _ in 0..5 {
        mint(10).await;
    }
    let mut raw = server::shared().await.raw().await;
    age(&mut raw, &scene.prefix, Duration::from_secs(100)).await;
    let counted =
        || async { scene.json(&["sweep", "expired", "--dry-run"]).await["found"].clone() };
    assert_eq!(counted().await, 0, "nobody said its name");

    let config = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let named = "\n[sweeps]\nscopes = [\"mcp_auth\", \"acme:page\"]\n";
    fs::write(scene.path("vestibule.toml"), config + named).unwrap();
    assert_eq!(counted().await, 5);
    let child = scene.sweeping("off").spawn().unwrap();
    until("swept", || async { counted().await == 0 }).await;
    signal(&child, "TERM");
    let (status, log) = end(child).await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(tokens.validate(lives.secret(), "GET", "/page", None).await.is_ok());
    let list = tokens.list("acme:page", "one", None, 10).await;
    assert_eq!(list.unwrap().tokens.len(), 1);
}
