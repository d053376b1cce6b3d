//! A provider whose certificate no public root has signed.

use std::fs;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::{
    scene::{Scene, end, fails, said, signal, until},
    support::{certified::certified, server},
};

/// Speaks TLS for the provider behind it; returns its port, and its CA's certificate.
async fn front(provider: String) -> (u16, String) {
    let (ca, acceptor) = certified();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, provider) = (acceptor.clone(), provider.clone());
            tokio::spawn(async move {
                // A client that does not trust it goes away.
                let mut inner = TcpStream::connect(provider).await.ok()?;
                copy_bidirectional(&mut acceptor.accept(stream).await.ok()?, &mut inner).await.ok()
            });
        }
    });
    (port, ca)
}

/// C-4: refreshed by a worker and by hand once the file, a variable or a flag names its CA, and not
/// before; a file that cannot be read is told at start.
#[tokio::test]
async fn a_provider_with_a_ca_of_its_own_is_refreshed() {
    let (scene, server) = (Scene::shared().await, server::shared().await);
    let ids = scene.due(server, 2).await;
    let issuer = scene.provider.issuer();
    let (port, pem) = front(issuer.trim_start_matches("http://").to_owned()).await;
    let ca = scene.path("ca.pem");
    fs::write(&ca, pem).unwrap();
    let config = fs::read_to_string(scene.path("vestibule.toml")).unwrap();
    let token = format!("https://127.0.0.1:{port}/token");
    let config = config.replace(&format!("{issuer}/token"), &token);
    fs::write(scene.path("vestibule.toml"), &config).unwrap();

    let stranger = scene.run(&["refresh", ids[0].as_str()]).await;
    assert!(stranger.code == 1 && stranger.out.contains("The refresh failed"), "{stranger:?}");
    assert_eq!(scene.run(&["retry", ids[0].as_str()]).await.code, 0);
    let mut by_hand = scene.configured(&["refresh", ids[0].as_str()]);
    by_hand.env("VESTIBULE_PROVIDER_CA_FILE", &ca);
    let by_hand = said(by_hand).await;
    assert!(by_hand.code == 0 && by_hand.out.starts_with("Refreshed"), "{by_hand:?}");
    assert_eq!(scene.refreshed(server, &ids).await, 1);

    fs::write(scene.path("vestibule.toml"), format!("provider_ca_file = {ca:?}\n{config}"))
        .unwrap();
    let child = scene.sweeping("off").spawn().unwrap();
    until("refreshed", || async { scene.refreshed(server, &ids).await == 2 }).await;
    signal(&child, "TERM");
    assert_eq!(end(child).await.0.code(), Some(0));
    assert_eq!(scene.provider.counts().reused_presentations, 0);

    for (name, text) in [("nowhere.pem", None), ("nonsense.pem", Some("hunter2"))] {
        if let Some(text) = text {
            fs::write(scene.path(name), text).unwrap();
        }
        let mut command = scene.sweeping("off");
        command.arg("--provider-ca-file").arg(scene.path(name));
        let text = fails(command).await;
        assert!(text.contains("`provider_ca_file`") && !text.contains("hunter2"), "{text}");
        assert!(name != "nowhere.pem" || text.contains("--provider-ca-file"), "{text}");
    }
}
