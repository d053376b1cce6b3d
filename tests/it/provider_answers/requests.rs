//! What is sent to a provider: the fields of each grant, and no more.

use std::collections::BTreeMap;

use vestibule::{
    connection::{
        AuthorizationCode, ClientSecret, CodeGrant, Connector, RefreshToken, TokenAnswer,
        TokenExchange,
    },
    pkce::PkceVerifier,
};

use super::{
    TOKENS, connector,
    endpoint::{Endpoint, Reply},
    exchange,
};

/// The fields of the last request.
fn sent(endpoint: &Endpoint) -> BTreeMap<String, String> {
    let request = endpoint.requests().pop().unwrap();
    let (head, form) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /token HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
    url::form_urlencoded::parse(form.as_bytes()).into_owned().collect()
}

fn fields(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// RFC 6749 section 4.1.3, RFC 7636 section 4.5, RFC 8707 section 2.2: a code with its verifier and
/// redirect URI, and with the resource that it was asked for.
#[tokio::test]
async fn a_code_is_sent_with_what_it_was_asked_with() {
    let endpoint = Endpoint::start().await;
    endpoint.answer(Reply::http(200, "", TOKENS));
    let (code, verifier) = (AuthorizationCode::new("c+1"), PkceVerifier::random());
    for resource in ["", "https://api.example/v1?a=b"] {
        let grant = CodeGrant {
            code: &code,
            verifier: &verifier,
            redirect_uri: "https://app.example/callback?x=1",
            resource,
        };
        exchange().exchange_code(&connector(endpoint.port), grant).await.unwrap();
        let mut expected = fields(&[
            ("grant_type", "authorization_code"),
            ("code", "c+1"),
            ("code_verifier", verifier.secret()),
            ("redirect_uri", "https://app.example/callback?x=1"),
        ]);
        if !resource.is_empty() {
            expected.insert("resource".to_owned(), resource.to_owned());
        }
        assert_eq!(sent(&endpoint), expected);
    }
}

/// RFC 6749 section 6.
#[tokio::test]
async fn a_refresh_token_is_sent_alone() {
    let endpoint = Endpoint::start().await;
    endpoint.answer(Reply::http(200, "", TOKENS));
    let token = RefreshToken::new("r&1");
    exchange().exchange_refresh_token(&connector(endpoint.port), &token).await.unwrap();
    let expected = fields(&[("grant_type", "refresh_token"), ("refresh_token", "r&1")]);
    assert_eq!(sent(&endpoint), expected);
}

/// RFC 6749 section 4.4.2: the host's own tokens, with the connector's scopes.
#[tokio::test]
async fn a_host_asks_for_itself() {
    let endpoint = Endpoint::start().await;
    endpoint.answer(Reply::http(200, "", TOKENS));
    let url = format!("http://127.0.0.1:{}/token", endpoint.port).parse().unwrap();
    let secret = ClientSecret::new("hush");
    let mut own = Connector::client_credentials("own", url, "client", secret).unwrap();
    own.scopes = vec!["read".to_owned(), "write:all".to_owned()];
    let answer = exchange().exchange_client_credentials(&own).await.unwrap();
    let TokenAnswer { access_token, refresh_token, .. } = answer;
    assert_eq!((access_token.secret(), refresh_token.is_none()), ("a2", true));
    let expected = fields(&[("grant_type", "client_credentials"), ("scope", "read write:all")]);
    assert_eq!(sent(&endpoint), expected);
}
