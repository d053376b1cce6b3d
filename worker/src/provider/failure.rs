//! Failures on demand: what real token endpoints, and the boxes in front of them, answer on a bad
//! day.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    Shared,
    token::{Outgoing, Refusal},
};

/// Where [`Answer::Redirect`] points.
pub(super) const ELSEWHERE: &str = "/elsewhere";

/// A failure that the next token requests meet.
#[derive(Debug, Clone)]
pub struct Failure {
    answer: Answer,
    /// How many requests are still to fail; `None`: all of them.
    remaining: Option<u32>,
    after_rotation: bool,
}

impl Failure {
    /// The next `times` token requests fail, as if something in front of the endpoint had
    /// answered: nothing is rotated, redeemed or counted as a presentation.
    #[must_use]
    pub fn next(times: u32, answer: Answer) -> Self {
        Self { answer, remaining: Some(times), after_rotation: false }
    }

    /// As [`next`](Self::next), until [`set_failure`](super::Provider::set_failure) says otherwise.
    #[must_use]
    pub fn always(answer: Answer) -> Self {
        Self { answer, remaining: None, after_rotation: false }
    }

    /// The request takes its full effect first, and only then the answer fails: the successor is
    /// lost on the way.
    #[must_use]
    pub fn after_rotation(mut self) -> Self {
        self.after_rotation = true;
        self
    }

    /// Whether it answers before the endpoint has seen the request.
    pub(super) fn is_in_front(&self) -> bool {
        !self.after_rotation
    }

    /// The answer for one request; `None` once all have been played.
    pub(super) fn play(&mut self) -> Option<Answer> {
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.checked_sub(1)?;
        }
        Some(self.answer.clone())
    }
}

/// What a failing token endpoint answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This status with a short text, such as a 500 or a 503.
    Status(u16),
    /// 429 with `Retry-After`, in whole seconds.
    TooManyRequests(Duration),
    /// 401 `invalid_client`.
    InvalidClient,
    /// 400 `invalid_grant`, though nothing is wrong with the grant.
    InvalidGrant,
    /// Another OAuth error code, with this status.
    Error(u16, String),
    /// 200 with a web page.
    Html,
    /// 200 with no body.
    Empty,
    /// 200 that says it is JSON and breaks off in the middle.
    CutJson,
    /// 307 to another place of this provider, where followers are counted.
    Redirect,
    /// 200 with 10 MB of JSON.
    Huge,
    /// No answer, ever; the connection stays open.
    Hang,
    /// No answer; the connection is closed.
    HangUp,
    /// Exactly this.
    Raw {
        /// The status code.
        status: u16,
        /// Header names and values.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
}

impl Answer {
    pub(super) fn render(self, issuer: &str) -> Outgoing {
        Outgoing::Response(match self {
            Self::Hang => return Outgoing::Hang,
            Self::HangUp => return Outgoing::HangUp,
            Self::Status(status) => {
                raw(status, &[("content-type", "text/plain")], "out of order\n")
            }
            Self::TooManyRequests(wait) => {
                raw(429, &[("retry-after", &wait.as_secs().to_string())], "slow down\n")
            }
            Self::InvalidClient => Refusal::INVALID_CLIENT.into_response(),
            Self::InvalidGrant => Refusal::invalid_grant("scripted").into_response(),
            Self::Error(status, code) => {
                raw(status, &JSON, serde_json::json!({ "error": code }).to_string())
            }
            Self::Html => {
                raw(200, &[("content-type", "text/html")], "<!doctype html><title>Sign in</title>")
            }
            Self::Empty => raw(200, &[], ""),
            Self::CutJson => raw(200, &JSON, r#"{"access_token":"abc","token_ty"#),
            Self::Redirect => raw(307, &[("location", &format!("{issuer}{ELSEWHERE}"))], ""),
            Self::Huge => {
                let padding = "a".repeat(10_000_000);
                raw(200, &JSON, format!(r#"{{"token_type":"Bearer","access_token":"{padding}"}}"#))
            }
            Self::Raw { status, headers, body } => {
                let headers: Vec<_> =
                    headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                raw(status, &headers, body)
            }
        })
    }
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn raw(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status).header(header::CACHE_CONTROL, "no-store");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap_or_else(|error| {
        tracing::error!(%error, "the scripted answer is no HTTP answer");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

pub(super) async fn elsewhere(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.lock().ledger.counts.followed_redirects += 1;
    StatusCode::NOT_FOUND
}
