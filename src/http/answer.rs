//! What the edge itself answers.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};

/// Plain text of ours. Nothing of a request may be in it.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        // A browser must not guess that it is something else.
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    keep_private((status, headers, text).into_response())
}

/// Says that an answer is not to be stored, nor its URL to be told to others, unless it speaks of
/// that itself: the URL is as good as what it leads to.
pub(super) fn keep_private(mut answer: Response) -> Response {
    const PRIVATE: [(HeaderName, HeaderValue); 2] = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    for (name, value) in PRIVATE {
        answer.headers_mut().entry(name).or_insert(value);
    }
    answer
}
