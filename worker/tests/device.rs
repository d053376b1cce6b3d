//! The loopback provider's device flow over real HTTP (RFC 8628).
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, header};
use serde_json::Value;
use vestibule_worker::provider::{Provider, Settings};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

#[tokio::test]
async fn a_person_types_the_code_in_and_the_device_is_signed_in() {
    let device = Device::of(Settings { device_interval: Duration::ZERO, ..Settings::default() });
    let device = device.await;
    let codes = device.codes().await;
    assert_eq!(device.error(&codes).await, "authorization_pending");

    let link = codes["verification_uri_complete"].as_str().unwrap();
    let page = device.http.get(link).send().await.unwrap().text().await.unwrap();
    let user_code = codes["user_code"].as_str().unwrap();
    assert!(page.contains(user_code), "{page}");
    // As people type it.
    let typed = user_code.to_lowercase().replace('-', " ");
    let form = [("user_code", typed.as_str()), ("login", "ada"), ("decision", "approve")];
    for answer in [StatusCode::OK, StatusCode::NOT_FOUND] {
        let page = codes["verification_uri"].as_str().unwrap();
        let decided = device.http.post(page).form(&form).send().await.unwrap();
        assert_eq!(decided.status(), answer, "a code is decided about once");
    }

    let tokens: Value = device.poll(&codes).await.json().await.unwrap();
    assert_eq!(tokens["scope"], "read");
    assert!(device.provider.is_access_token_live(tokens["access_token"].as_str().unwrap()));
    assert_eq!(device.error(&codes).await, "invalid_grant", "a code is spent once");
    let counts = device.provider.counts();
    assert_eq!((counts.device_authorizations, counts.device_grants), (1, 1));
    assert_eq!((counts.device_polls, counts.device_polls_too_fast), (3, 0));
}

#[tokio::test]
async fn whoever_polls_too_fast_must_wait_longer() {
    let interval = Settings::default().device_interval;
    let device = Device::of(Settings::default()).await;
    let codes = device.codes().await;
    assert_eq!(codes["interval"], interval.as_secs_f64());
    assert_eq!(device.error(&codes).await, "authorization_pending");
    assert!(device.provider.approve_device(codes["user_code"].as_str().unwrap(), "ada"));
    assert_eq!(device.error(&codes).await, "slow_down");
    // What was enough before is too fast now.
    device.provider.advance(interval);
    assert_eq!(device.error(&codes).await, "slow_down");
    assert_eq!(device.provider.counts().device_polls_too_fast, 2);
    assert_eq!(device.provider.counts().device_grants, 0);
}

#[tokio::test]
async fn a_code_is_denied_or_runs_out() {
    let settings = Settings { device_interval: Duration::ZERO, ..Settings::default() };
    let lifetime = settings.device_code_lifetime;
    let device = Device::of(settings).await;
    let (denied, late) = (device.codes().await, device.codes().await);
    assert!(device.provider.deny_device(denied["user_code"].as_str().unwrap()));
    assert_eq!(device.error(&denied).await, "access_denied");
    device.provider.advance(lifetime);
    assert_eq!(device.error(&late).await, "expired_token");
    assert!(!device.provider.approve_device(late["user_code"].as_str().unwrap(), "ada"));
}

#[tokio::test]
async fn only_the_client_gets_a_code() {
    let device = Device::of(Settings::default()).await;
    let url = device.provider.device_authorization_url();
    let stranger = device.http.post(&url).basic_auth("x", Some("y")).form(&[("scope", "read")]);
    assert_eq!(stranger.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let no_form = device.http.post(&url).basic_auth(&device.id, Some(&device.secret)).send().await;
    assert_eq!(no_form.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(device.error(&serde_json::json!({ "device_code": "x" })).await, "invalid_grant");
    assert_eq!(device.provider.counts().device_authorizations, 0);
    let page = format!("{}/device?user_code=%22%3E%3Cscript%3E", device.provider.issuer());
    let page = device.http.get(page).send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("<script>"), "{page}");
}

/// A device, in front of a provider of its own.
struct Device {
    provider: Provider,
    http: Client,
    id: String,
    secret: String,
}

impl Device {
    async fn of(settings: Settings) -> Self {
        let (id, secret) = (settings.client_id.clone(), settings.client_secret.clone());
        Self { provider: Provider::start(settings).await.unwrap(), http: Client::new(), id, secret }
    }

    async fn codes(&self) -> Value {
        let url = self.provider.device_authorization_url();
        let answer = self.post(&url, &[("scope", "read")]).await;
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        answer.json().await.unwrap()
    }

    async fn poll(&self, codes: &Value) -> Response {
        let device_code = codes["device_code"].as_str().unwrap();
        let form = [("grant_type", DEVICE_CODE), ("device_code", device_code)];
        self.post(&self.provider.token_url(), &form).await
    }

    async fn error(&self, codes: &Value) -> String {
        let answer = self.poll(codes).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let body: Value = answer.json().await.unwrap();
        body["error"].as_str().unwrap().to_owned()
    }

    async fn post(&self, url: &str, form: &[(&str, &str)]) -> Response {
        let request = self.http.post(url).basic_auth(&self.id, Some(&self.secret));
        request.form(form).send().await.unwrap()
    }
}
