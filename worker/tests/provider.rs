//! The loopback provider over real HTTP: what it promises to the demo and to the other tests.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use base64ct::{Base64UrlUnpadded, Encoding};
use reqwest::{Client, Response, StatusCode, header, redirect::Policy};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use url::{Url, form_urlencoded};
use vestibule_worker::provider::{Answer, Counts, Failure, Provider, Settings};

const CALLBACK: &str = "http://127.0.0.1:9/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

#[tokio::test]
async fn a_code_becomes_tokens_that_open_the_resource() {
    let user = User::of(Settings::default()).await;
    let answer = user.authorize(&[("scope", "read offline_access")]).await;
    assert_eq!(answer["state"], "some-state");
    assert_eq!(answer["iss"], user.provider.issuer());

    let response = user.redeem(&answer["code"], VERIFIER).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let tokens: Value = response.json().await.unwrap();
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 300);
    assert_eq!(tokens["scope"], "read offline_access");

    let access_token = tokens["access_token"].as_str().unwrap();
    assert!(user.provider.is_access_token_live(access_token));
    let info = user.http.get(user.provider.userinfo_url()).bearer_auth(access_token);
    let info: Value = info.send().await.unwrap().json().await.unwrap();
    assert_eq!(info["sub"], "ada");
    let stranger = user.http.get(user.provider.userinfo_url()).bearer_auth("made-up");
    assert_eq!(stranger.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        user.provider.counts(),
        Counts {
            authorizations: 1,
            token_calls: 1,
            peak_in_flight: 1,
            code_exchanges: 1,
            ..Counts::default()
        }
    );
}

#[tokio::test]
async fn a_wrong_verifier_is_refused_and_uses_the_code_up() {
    let user = User::of(Settings::default()).await;
    let code = &user.authorize(&[]).await["code"];
    let wrong = VERIFIER.replace('k', "l");
    assert_eq!(error_of(user.redeem(code, &wrong).await).await, "invalid_grant");
    assert_eq!(error_of(user.redeem(code, VERIFIER).await).await, "invalid_grant");
    assert_eq!(user.provider.counts().code_exchanges, 0);
    assert_eq!(user.provider.counts().refused, 2);
}

#[tokio::test]
async fn a_code_used_twice_revokes_what_it_issued() {
    let user = User::of(Settings::default()).await;
    let code = &user.authorize(&[]).await["code"];
    let tokens = tokens_of(user.redeem(code, VERIFIER).await).await;
    assert_eq!(error_of(user.redeem(code, VERIFIER).await).await, "invalid_grant");
    assert!(!user.provider.is_access_token_live(&tokens.access));
    assert_eq!(error_of(user.refresh(&tokens.refresh).await).await, "invalid_grant");
    assert_eq!(user.provider.counts().family_revocations, 1);
}

#[tokio::test]
async fn refresh_tokens_rotate() {
    let user = User::of(Settings::default()).await;
    let mut tokens = user.sign_in().await;
    for _ in 0..3 {
        let next = tokens_of(user.refresh(&tokens.refresh).await).await;
        assert_ne!(next.refresh, tokens.refresh);
        assert!(user.provider.is_access_token_live(&next.access));
        tokens = next;
    }
    let counts = user.provider.counts();
    assert_eq!((counts.refreshes, counts.reused_presentations, counts.refused), (3, 0, 0));
}

#[tokio::test]
async fn a_reuse_inside_the_grace_mints_a_sibling() {
    let user = User::of(Settings::default()).await;
    let first = user.sign_in().await;
    let successor = tokens_of(user.refresh(&first.refresh).await).await;
    let sibling = tokens_of(user.refresh(&first.refresh).await).await;
    assert_ne!(successor.refresh, sibling.refresh);
    for each in [&successor, &sibling] {
        assert!(user.provider.is_access_token_live(&each.access));
        assert_eq!(user.refresh(&each.refresh).await.status(), StatusCode::OK);
    }
    let counts = user.provider.counts();
    assert_eq!((counts.reused_presentations, counts.replays_in_grace), (1, 1));
    assert_eq!((counts.refreshes, counts.family_revocations), (4, 0));
}

#[tokio::test]
async fn a_reuse_under_the_strict_rule_revokes_the_family() {
    let strict = Settings { reuse_grace: Duration::ZERO, ..Settings::default() };
    let user = User::of(strict).await;
    let first = user.sign_in().await;
    let bystander = user.sign_in().await;
    let successor = tokens_of(user.refresh(&first.refresh).await).await;
    assert_eq!(error_of(user.refresh(&first.refresh).await).await, "invalid_grant");
    assert_eq!(error_of(user.refresh(&successor.refresh).await).await, "invalid_grant");
    for dead in [&first, &successor] {
        assert!(!user.provider.is_access_token_live(&dead.access));
    }
    assert!(user.provider.is_access_token_live(&bystander.access));
    let counts = user.provider.counts();
    assert_eq!((counts.reused_presentations, counts.family_revocations), (1, 1));
    assert_eq!(counts.replays_in_grace, 0);
}

#[tokio::test]
async fn the_rotation_happens_before_the_answer() {
    let strict = Settings { reuse_grace: Duration::ZERO, ..Settings::default() };
    let user = User::of(strict).await;
    let tokens = user.sign_in().await;
    user.provider.set_answer_delay(Duration::from_secs(600));
    {
        let mut asked = std::pin::pin!(user.refresh(&tokens.refresh));
        while user.provider.in_flight() == 0 {
            let poll = tokio::time::timeout(Duration::from_millis(1), asked.as_mut()).await;
            assert!(poll.is_err(), "answered in spite of the delay");
        }
        assert_eq!(user.provider.counts().refreshes, 1);
    } // The client goes away, and the successor with it.
    let gone = Instant::now() + Duration::from_secs(10);
    while user.provider.in_flight() > 0 {
        assert!(Instant::now() < gone, "still in flight without a client");
        tokio::task::yield_now().await;
    }

    user.provider.set_answer_delay(Duration::ZERO);
    assert_eq!(error_of(user.refresh(&tokens.refresh).await).await, "invalid_grant");
    assert_eq!(user.provider.counts().family_revocations, 1);
}

#[tokio::test]
async fn a_client_that_leaves_right_after_asking_has_still_rotated() {
    let user = User::of(Settings::default()).await;
    let address = user.provider.issuer().replace("http://", "");
    for round in 1..=50 {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", &user.sign_in().await.refresh)
            .append_pair("client_id", &user.id)
            .append_pair("client_secret", &user.secret)
            .finish();
        let request = format!(
            "POST /token HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        );
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        drop(stream);
        let patience = Instant::now() + Duration::from_secs(10);
        while user.provider.counts().refreshes < round {
            assert!(Instant::now() < patience, "round {round} was not processed");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn redirect_uris_are_compared_exactly() {
    let registered = Settings { redirect_uris: vec![CALLBACK.to_owned()], ..Settings::default() };
    let user = User::of(registered).await;
    for other in [
        "http://127.0.0.1:9/callback/",
        "http://127.0.0.1:9/callback?x=1",
        "http://127.0.0.1:9/CALLBACK",
        "http://127.0.0.1:90/callback",
        "https://127.0.0.1:9/callback",
    ] {
        let response = user.ask(&[("redirect_uri", other)]).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{other}");
        assert!(!response.headers().contains_key(header::LOCATION), "{other}");
    }

    let code = &user.authorize(&[]).await["code"];
    let form =
        [("redirect_uri", "http://127.0.0.1:9/other"), ("code", code), ("code_verifier", VERIFIER)];
    assert_eq!(error_of(user.post("authorization_code", &form).await).await, "invalid_grant");

    let unregistered = User::of(Settings::default()).await;
    for (uri, status) in [
        ("http://localhost:81/a", StatusCode::FOUND),
        ("http://[::1]/a", StatusCode::FOUND),
        ("http://192.0.2.1/a", StatusCode::BAD_REQUEST),
        ("http://localhost/a#b", StatusCode::BAD_REQUEST),
        ("javascript:alert(1)", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(unregistered.ask(&[("redirect_uri", uri)]).await.status(), status, "{uri}");
    }
}

#[tokio::test]
async fn what_is_missing_or_denied_comes_back_by_redirect() {
    let user = User::of(Settings::default()).await;
    for (change, error) in [
        (("demo_deny", "1"), "access_denied"),
        (("state", ""), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "too-short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("response_type", "token"), "unsupported_response_type"),
    ] {
        let answer = user.authorize(&[change]).await;
        assert_eq!(answer["error"], error, "{change:?}");
        assert_eq!(answer["iss"], user.provider.issuer());
        assert!(!answer.contains_key("code"));
        assert_eq!(answer.contains_key("state"), change.0 != "state");
    }
    assert_eq!(user.provider.counts().authorizations, 0);
}

#[tokio::test]
async fn the_client_authenticates_in_one_way_and_correctly() {
    let secret = "p%+ss:w&rd=";
    let settings = Settings { client_secret: secret.to_owned(), ..Settings::default() };
    let id = settings.client_id.clone();
    let user = User::of(settings).await;
    let tokens = user.sign_in().await; // Basic, form-encoded.
    let url = user.provider.token_url();
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &tokens.refresh)];
    let post = |extra: &[(&str, &str)], basic: Option<&str>| {
        let request = user.http.post(&url).form(&[&refresh, extra].concat());
        match basic {
            Some(password) => request.basic_auth(&id, Some(password)),
            None => request,
        }
        .send()
    };

    let response = post(&[], Some("wrong")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    assert_eq!(error_of(response).await, "invalid_client");
    assert_eq!(error_of(post(&[], None).await.unwrap()).await, "invalid_client");
    let both = post(&[("client_secret", secret)], Some(&form_encode(secret))).await.unwrap();
    assert_eq!(error_of(both).await, "invalid_request");
    let twice = post(&[("refresh_token", "x")], Some(&form_encode(secret))).await.unwrap();
    assert_eq!(error_of(twice).await, "invalid_request");
    assert_eq!(user.provider.counts().reused_presentations, 0);

    let in_body = post(&[("client_id", &id), ("client_secret", secret)], None).await.unwrap();
    assert_eq!(in_body.status(), StatusCode::OK);
    let other = user.post("password", &[]).await;
    assert_eq!(error_of(other).await, "unsupported_grant_type");
}

#[tokio::test]
async fn failures_are_played_as_often_as_told_and_spare_the_token() {
    let strict = Settings { reuse_grace: Duration::ZERO, ..Settings::default() };
    let user = User::of(strict).await;
    let tokens = user.sign_in().await;

    user.provider.set_failure(Some(Failure::next(2, Answer::Status(500))));
    for _ in 0..2 {
        assert_eq!(user.refresh(&tokens.refresh).await.status(), 500);
    }
    user.provider
        .set_failure(Some(Failure::next(1, Answer::TooManyRequests(Duration::from_secs(7)))));
    let limited = user.refresh(&tokens.refresh).await;
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    for (answer, status, error) in [
        (Answer::InvalidClient, 401, "invalid_client"),
        (Answer::InvalidGrant, 400, "invalid_grant"),
        (Answer::Error(403, "login_required".to_owned()), 403, "login_required"),
    ] {
        user.provider.set_failure(Some(Failure::next(1, answer)));
        let response = user.refresh(&tokens.refresh).await;
        assert_eq!(response.status(), status);
        assert_eq!(error_of(response).await, error);
    }
    let counts = user.provider.counts();
    assert_eq!((counts.scripted_failures, counts.refused), (6, 0));

    tokens_of(user.refresh(&tokens.refresh).await).await;
    assert_eq!(user.provider.counts().reused_presentations, 0);
}

#[tokio::test]
async fn answers_that_are_no_answers() {
    let user = User::of(Settings::default()).await;
    let play = async |answer| {
        user.provider.set_failure(Some(Failure::next(1, answer)));
        user.refresh("any").await
    };

    assert!(play(Answer::Html).await.text().await.unwrap().starts_with("<!doctype html>"));
    assert!(play(Answer::Empty).await.bytes().await.unwrap().is_empty());
    assert!(play(Answer::CutJson).await.json::<Value>().await.is_err());
    assert!(play(Answer::Huge).await.bytes().await.unwrap().len() >= 10_000_000);
    let teapot = Answer::Raw {
        status: 418,
        headers: vec![("x-brew".to_owned(), "tea".to_owned())],
        body: "short and stout".to_owned(),
    };
    let teapot = play(teapot).await;
    assert_eq!(
        (teapot.status().as_u16(), &teapot.headers()["x-brew"]),
        (418, &"tea".parse().unwrap())
    );
    assert_eq!(teapot.text().await.unwrap(), "short and stout");

    let redirect = play(Answer::Redirect).await;
    assert_eq!(redirect.status(), StatusCode::TEMPORARY_REDIRECT);
    let target = redirect.headers()[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!(user.provider.counts().followed_redirects, 0);
    user.http.post(target).send().await.unwrap();
    assert_eq!(user.provider.counts().followed_redirects, 1);

    user.provider.set_failure(Some(Failure::next(1, Answer::HangUp)));
    assert!(user.try_refresh("any").await.is_err());
    user.provider.set_failure(Some(Failure::next(1, Answer::Hang)));
    let hanging = tokio::time::timeout(Duration::from_millis(50), user.try_refresh("any")).await;
    assert!(hanging.is_err());
}

#[tokio::test]
async fn a_failure_after_the_rotation_loses_the_successor() {
    let user = User::of(Settings::default()).await;
    let tokens = user.sign_in().await;
    user.provider.set_failure(Some(Failure::next(1, Answer::HangUp).after_rotation()));
    assert!(user.try_refresh(&tokens.refresh).await.is_err());
    assert_eq!(user.provider.counts().refreshes, 1);
    tokens_of(user.refresh(&tokens.refresh).await).await;
    assert_eq!(user.provider.counts().replays_in_grace, 1);

    user.provider.set_failure(Some(Failure::always(Answer::Status(503)).after_rotation()));
    assert_eq!(user.refresh(&tokens.refresh).await.status(), 503);
    user.provider.set_failure(None);
    assert_eq!(user.refresh(&tokens.refresh).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_subject_who_withdraws_loses_every_family() {
    let user = User::of(Settings::default()).await;
    let (one, two) = (user.sign_in().await, user.sign_in().await);
    assert_eq!(user.provider.revoke_subject("ada"), 2);
    assert_eq!(user.provider.revoke_subject("ada"), 0);
    for tokens in [one, two] {
        assert!(!user.provider.is_access_token_live(&tokens.access));
        assert_eq!(error_of(user.refresh(&tokens.refresh).await).await, "invalid_grant");
    }
    assert_eq!(user.provider.counts().family_revocations, 0);
}

#[tokio::test]
async fn dropping_the_handle_stops_the_provider() {
    let user = User::of(Settings::default()).await;
    let url = user.provider.userinfo_url();
    let User { http, provider, .. } = user;
    provider.set_failure(Some(Failure::next(1, Answer::Hang)));
    let hanging = http.post(provider.token_url()).send();
    let stopping = async {
        while provider.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        drop(provider);
    };
    let (hung_up, ()) = tokio::join!(hanging, stopping);
    assert!(hung_up.is_err(), "whoever waits is hung up on");
    let patience = Instant::now() + Duration::from_secs(10);
    while Client::new().get(&url).send().await.is_ok() {
        assert!(Instant::now() < patience, "still serving");
    }
}

/// A client and the browser of its user, in front of a provider of their own.
struct User {
    provider: Provider,
    http: Client,
    id: String,
    secret: String,
}

struct Tokens {
    access: String,
    refresh: String,
}

impl User {
    async fn of(settings: Settings) -> Self {
        let (id, secret) = (settings.client_id.clone(), settings.client_secret.clone());
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { provider: Provider::start(settings).await.unwrap(), http, id, secret }
    }

    /// An authorization request, with these parameters added or replaced.
    async fn ask(&self, changes: &[(&str, &str)]) -> Response {
        let challenge = Base64UrlUnpadded::encode_string(&Sha256::digest(VERIFIER));
        let mut params = HashMap::from([
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", CALLBACK),
            ("state", "some-state"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("login_hint", "ada"),
        ]);
        params.extend(changes.iter().copied());
        let url = Url::parse_with_params(&self.provider.authorize_url(), params).unwrap();
        self.http.get(url).send().await.unwrap()
    }

    /// What the redirect carries back.
    async fn authorize(&self, changes: &[(&str, &str)]) -> HashMap<String, String> {
        let response = self.ask(changes).await;
        assert_eq!(response.status(), StatusCode::FOUND);
        let location = Url::parse(response.headers()[header::LOCATION].to_str().unwrap()).unwrap();
        assert!(location.as_str().starts_with(CALLBACK));
        location.query_pairs().into_owned().collect()
    }

    async fn redeem(&self, code: &str, verifier: &str) -> Response {
        let form = [("code", code), ("redirect_uri", CALLBACK), ("code_verifier", verifier)];
        self.post("authorization_code", &form).await
    }

    async fn sign_in(&self) -> Tokens {
        let code = &self.authorize(&[]).await["code"];
        tokens_of(self.redeem(code, VERIFIER).await).await
    }

    async fn refresh(&self, refresh_token: &str) -> Response {
        self.try_refresh(refresh_token).await.unwrap()
    }

    async fn try_refresh(&self, refresh_token: &str) -> reqwest::Result<Response> {
        self.try_post("refresh_token", &[("refresh_token", refresh_token)]).await
    }

    async fn post(&self, grant_type: &str, form: &[(&str, &str)]) -> Response {
        self.try_post(grant_type, form).await.unwrap()
    }

    async fn try_post(&self, grant_type: &str, form: &[(&str, &str)]) -> reqwest::Result<Response> {
        self.http
            .post(self.provider.token_url())
            .basic_auth(form_encode(&self.id), Some(form_encode(&self.secret)))
            .form(&[&[("grant_type", grant_type)], form].concat())
            .send()
            .await
    }
}

async fn tokens_of(response: Response) -> Tokens {
    assert_eq!(response.status(), StatusCode::OK);
    let body: Value = response.json().await.unwrap();
    Tokens {
        access: body["access_token"].as_str().unwrap().to_owned(),
        refresh: body["refresh_token"].as_str().unwrap().to_owned(),
    }
}

async fn error_of(response: Response) -> String {
    assert!(response.status().is_client_error(), "{}", response.status());
    let body: Value = response.json().await.unwrap();
    body["error"].as_str().unwrap().to_owned()
}

fn form_encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
