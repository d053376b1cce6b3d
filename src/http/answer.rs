//! What the edge itself answers.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
};

use crate::store::{Class, StoreError};

/// A failure of ours, by what a client can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The store did not answer; it may the next time.
    Passing,
    /// Trying again does not help.
    Lasting,
}

impl Failure {
    /// Of the store, or of what it gave back, if there is no error of its own.
    pub(super) fn of(error: Option<&StoreError>) -> Self {
        match error.map(StoreError::class) {
            Some(Class::NotExecuted | Class::Ambiguous | Class::Unconfirmed) => Self::Passing,
            Some(Class::Resource | Class::Operator | Class::Corrupt) | None => Self::Lasting,
        }
    }

    /// Plain text of ours, which invites to another try if that may do.
    pub(super) fn answer(self, status: StatusCode, text: &'static str) -> Response {
        let mut answer = plain(status, text);
        if self == Self::Passing {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

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
