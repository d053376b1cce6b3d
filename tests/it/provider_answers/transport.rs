//! The way to the provider: what is trusted, how long it is waited for, and what was not sent.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::KeyPair;
use tokio::{io::AsyncWriteExt, net::TcpListener, time::Instant};
use vestibule::connection::{
    Connector, ExchangeClass, ExchangeError, HttpExchange, RefreshToken, TokenAnswer, TokenExchange,
};

use super::{
    TOKENS, connector,
    endpoint::{Endpoint, Reply, read},
    exchange,
};
use crate::{
    properties::connections::install_tls,
    support::{
        certified::certified, server::dead_port, stopwatch::Stopwatch, tls::unrelated_ca_pem,
    },
};

async fn refresh(by: &HttpExchange, at: &Connector) -> Result<TokenAnswer, ExchangeError> {
    by.exchange_refresh_token(at, &RefreshToken::new("r1")).await
}

/// C-4: a provider that trickles is given up in time, and may have honoured the request.
#[tokio::test]
async fn an_answer_that_trickles_is_not_waited_for() {
    install_tls();
    let patience = Duration::from_millis(400);
    let client = reqwest::Client::builder().timeout(patience).build().unwrap();
    let endpoint = Endpoint::start().await;
    let Reply::Bytes(bytes) = Reply::http(200, "", TOKENS) else { unreachable!() };
    endpoint.answer(Reply::Drip(bytes, Duration::from_millis(50)));
    let watch = Stopwatch::start();
    let error =
        refresh(&HttpExchange::with_client(client), &connector(endpoint.port)).await.unwrap_err();
    assert_eq!(error.class, ExchangeClass::Undecided, "{error}");
    assert!(watch.took() < patience * 4, "{watch:?}");
    assert_eq!(endpoint.requests().len(), 1);
}

/// C-4: 30 s by default, from when it was asked.
#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_so_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, connector) = (exchange(), connector(listener.local_addr().unwrap().port()));
    let asking = tokio::spawn(async move { refresh(&client, &connector).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    read(&mut stream).await.unwrap();
    // From here on nothing happens but time.
    tokio::time::pause();
    let began = Instant::now();
    let error = asking.await.unwrap().unwrap_err();
    assert_eq!(error.class, ExchangeClass::Undecided, "{error}");
    let waited = began.elapsed().as_secs_f64();
    assert!((29.0..31.0).contains(&waited), "{waited}");
}

/// H-13: on a connection that was kept and is closed with the request in it, a refresh token is not
/// sent again.
#[tokio::test]
async fn a_kept_connection_that_breaks_is_no_reason_to_send_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = Arc::new(Mutex::new(0));
    let counted = sent.clone();
    tokio::spawn(async move {
        let Reply::Bytes(answer) = Reply::http(200, "", TOKENS) else { unreachable!() };
        while let Ok((mut stream, _)) = listener.accept().await {
            for round in 0..2 {
                if read(&mut stream).await.is_none() {
                    break;
                }
                *counted.lock().unwrap() += 1;
                if round == 0 {
                    stream.write_all(&answer).await.unwrap();
                }
            }
        }
    });
    let (client, connector) = (exchange(), connector(port));
    refresh(&client, &connector).await.unwrap();
    let error = refresh(&client, &connector).await.unwrap_err();
    assert_eq!(error.class, ExchangeClass::Undecided, "{error}");
    assert_eq!(*sent.lock().unwrap(), 2);
}

/// Where nobody listens, nothing was sent: that decides nothing, and may be tried again.
#[tokio::test]
async fn what_was_not_sent_is_known_not_to_be() {
    let (_nobody, port) = dead_port();
    let error = refresh(&exchange(), &connector(port)).await.unwrap_err();
    assert_eq!(error.class, ExchangeClass::Transient, "{error}");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
}

/// C-4: a bundle is trusted beside the public roots; without it nothing is sent.
#[tokio::test]
async fn a_provider_with_a_ca_of_its_own_is_trusted_by_bundle() {
    install_tls();
    let (ca_pem, acceptor) = certified();
    let endpoint = Endpoint::start_tls(acceptor).await;
    endpoint.answer(Reply::http(200, "", TOKENS));
    let mut connector = connector(endpoint.port);
    let url = format!("https://127.0.0.1:{}/token", endpoint.port);
    connector.token_url = Some(url.parse().unwrap());

    for stranger in [None, Some(unrelated_ca_pem())] {
        let bundle = stranger.as_ref().map(String::as_bytes);
        let client = HttpExchange::with_ca_pem(bundle).unwrap();
        let error = refresh(&client, &connector).await.unwrap_err();
        assert_eq!(error.class, ExchangeClass::Transient, "{error}");
        assert!(endpoint.requests().is_empty(), "a secret went to a stranger");
    }
    let both = format!("{}{ca_pem}", unrelated_ca_pem());
    let client = HttpExchange::with_ca_pem(Some(both.as_bytes())).unwrap();
    let answer = refresh(&client, &connector).await.unwrap();
    assert_eq!(answer.access_token.secret(), "a2");
}

/// C-4: a bad bundle is an error before there is a client.
#[test]
fn a_bad_bundle_is_refused_before_anything_is_sent() {
    install_tls();
    let key = KeyPair::generate().unwrap().serialize_pem();
    let good = unrelated_ca_pem();
    let cut = &good[..good.len() / 2];
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for bad in ["", "not PEM", &key, cut, no_certificate] {
        let error = HttpExchange::with_ca_pem(Some(bad.as_bytes())).unwrap_err();
        assert!(error.to_string().contains("CA bundle"), "{error}");
    }
}
