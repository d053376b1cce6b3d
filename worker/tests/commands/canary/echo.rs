//! A provider and a receiver that tell everybody what they were told: whatever they answer has the
//! secrets of who asked in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::post,
};
use base64ct::{Base64, Encoding};
use serde_json::json;
use tokio::net::TcpListener;

use super::search::{Canary, Kind};

/// What the provider makes of a refresh token that has this word in it.
pub(super) const MOODS: [&str; 8] =
    ["good", "refuse", "stop", "break", "garble", "strange", "elsewhere", "later"];

#[derive(Clone)]
pub(super) struct Echo {
    pub(super) url: String,
    pub(super) issued: [Canary; 2],
    seen: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Echo {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let echo = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            issued: ["issued-access", "issued-refresh"].map(|it| Canary::fresh(Kind::Secret, it)),
            seen: Arc::default(),
        };
        let routes = Router::new()
            .route("/token", post(Self::token))
            .route("/hook/{secret}", post(Self::hook))
            .with_state(echo.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());
        echo
    }

    /// The moods that somebody met, and `hook`.
    pub(super) fn seen(&self) -> BTreeSet<&'static str> {
        self.seen.lock().unwrap().clone()
    }

    async fn token(
        State(echo): State<Self>,
        headers: HeaderMap,
        Form(asked): Form<BTreeMap<String, String>>,
    ) -> Response {
        let token = asked.get("refresh_token").map_or("", String::as_str);
        let mood = MOODS.into_iter().find(|mood| token.contains(&format!("-{mood}-")));
        let mood = mood.unwrap_or("refuse");
        echo.seen.lock().unwrap().insert(mood);
        let basic = headers.get("authorization").map_or("", |it| it.to_str().unwrap());
        let login = basic.strip_prefix("Basic ").map(|it| Base64::decode_vec(it).unwrap());
        let login = String::from_utf8(login.unwrap_or_default()).unwrap();
        let all = format!("{asked:?} {basic} {login}");
        let [access, refresh] = echo.issued.each_ref().map(Canary::text);
        let refused = |status, error: &str| {
            let said = json!({ "error": error, "error_description": all, "error_uri": all });
            (status, Json(said)).into_response()
        };
        match mood {
            "good" => Json(json!({
                "access_token": access, "refresh_token": refresh, "id_token": access,
                "token_type": "Bearer", "expires_in": 3600, "scope": "mail",
            }))
            .into_response(),
            "refuse" => refused(StatusCode::BAD_REQUEST, "invalid_grant"),
            "stop" => refused(StatusCode::UNAUTHORIZED, "invalid_client"),
            "strange" => refused(StatusCode::BAD_REQUEST, &all),
            "garble" => {
                format!("{{\"access_token\":\"{access}\",\"refresh_token\":\"{refresh}\", {all}")
                    .into_response()
            }
            "elsewhere" => {
                let to = format!("http://127.0.0.1:1/?token={token}");
                (StatusCode::FOUND, [(LOCATION, to)], all).into_response()
            }
            "later" => {
                (StatusCode::TOO_MANY_REQUESTS, [("retry-after", all.clone())], all).into_response()
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, all).into_response(),
        }
    }

    async fn hook(State(echo): State<Self>, headers: HeaderMap, body: String) -> Response {
        echo.seen.lock().unwrap().insert("hook");
        (StatusCode::BAD_REQUEST, format!("{headers:?} {body}")).into_response()
    }
}
