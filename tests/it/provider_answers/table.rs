//! The answers, and what each means.

use std::time::Duration;

use vestibule::connection::ExchangeClass::{self, Client, Config, Rejected, Transient, Undecided};

use super::endpoint::Reply;

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Means {
    /// Tokens: the refresh token (if another one came), and the life in seconds.
    Tokens(Option<&'static str>, Option<u64>),
    /// None.
    Error(ExchangeClass),
}
use Means::{Error, Tokens};

pub struct Case {
    pub name: &'static str,
    pub reply: Reply,
    pub means: Means,
    pub retry_after: Option<Duration>,
}

fn case(name: &'static str, status: u16, body: &str, means: Means) -> Case {
    let reply = Reply::http(status, "content-type: application/json\r\n", body);
    Case { name, reply, means, retry_after: None }
}

fn with(name: &'static str, status: u16, headers: &str, body: impl AsRef<[u8]>, m: Means) -> Case {
    Case { name, reply: Reply::http(status, headers, body), means: m, retry_after: None }
}

fn later(mut case: Case, seconds: u64) -> Case {
    case.retry_after = Some(Duration::from_secs(seconds));
    case
}

/// RFC 6749 section 5.1, and what is answered instead of it.
pub fn successes() -> Vec<Case> {
    const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";
    let rotated = Tokens(Some("r2"), Some(3600));
    let usual =
        r#"{"access_token":"a2","token_type":"Bearer","refresh_token":"r2","expires_in":3600}"#;
    let life = |life: &str| format!(r#"{{"access_token":"a2","expires_in":{life}}}"#);
    vec![
        case("as the RFC says", 200, usual, rotated),
        case("201", 201, usual, rotated),
        with("another content type", 200, "content-type: text/html\r\n", usual, rotated),
        with("no content type", 200, "", usual, rotated),
        case(
            "no token_type",
            200,
            r#"{"access_token":"a2","refresh_token":"r2","expires_in":3600}"#,
            rotated,
        ),
        case(
            "Slack's token_type",
            200,
            r#"{"ok":true,"access_token":"a2","token_type":"bot","refresh_token":"r2","expires_in":3600}"#,
            rotated,
        ),
        case(
            "no refresh token",
            200,
            r#"{"access_token":"a2","expires_in":3600}"#,
            Tokens(None, Some(3600)),
        ),
        case(
            "empty refresh token",
            200,
            r#"{"access_token":"a2","refresh_token":"","expires_in":3600}"#,
            Tokens(None, Some(3600)),
        ),
        case(
            "null refresh token",
            200,
            r#"{"access_token":"a2","refresh_token":null,"expires_in":3600}"#,
            Tokens(None, Some(3600)),
        ),
        case(
            "white space around",
            200,
            r#"{"access_token":" a2\n","refresh_token":"r2 ","expires_in":3600}"#,
            rotated,
        ),
        case(
            "an empty error beside",
            200,
            r#"{"error":"","access_token":"a2","refresh_token":"r2","expires_in":3600}"#,
            rotated,
        ),
        with(
            "a form",
            200,
            FORM,
            "access_token=a2&scope=repo%2Cgist&token_type=bearer&refresh_token=r2&expires_in=3600",
            rotated,
        ),
        with(
            "a form that says JSON",
            200,
            "content-type: application/json\r\n",
            "access_token=a2&refresh_token=r2&expires_in=3600",
            rotated,
        ),
        case("expires_in as text", 200, &life("\"3600\""), Tokens(None, Some(3600))),
        case("expires_in zero", 200, &life("0"), Tokens(None, None)),
        case("a byte order mark", 200, &format!("\u{feff}{usual}"), rotated),
        case("expires_in negative", 200, &life("-5"), Tokens(None, Some(0))),
        case("expires_in huge", 200, &life("1e30"), Tokens(None, Some(315_360_000))),
        case("expires_in no number", 200, &life("\"soon\""), Tokens(None, None)),
        case("no expires_in", 200, r#"{"access_token":"a2"}"#, Tokens(None, None)),
    ]
}

/// RFC 6749 section 5.2, what providers add, and what the boxes in front of them say.
pub fn refusals() -> Vec<Case> {
    let code = |name, status, code: &str, class| {
        case(name, status, &format!(r#"{{"error":"{code}"}}"#), Error(class))
    };
    let html = |name, status, class| {
        with(name, status, "content-type: text/html\r\n", "<html>no", Error(class))
    };
    vec![
        code("invalid_grant", 400, "invalid_grant", Rejected),
        code("invalid_grant under 401", 401, "invalid_grant", Rejected),
        code("Atlassian's invalid_grant", 403, "invalid_grant", Rejected),
        code("interaction_required", 400, "interaction_required", Rejected),
        code("login_required", 400, "login_required", Rejected),
        code("consent_required", 400, "consent_required", Rejected),
        code("GitHub: 200 and bad_refresh_token", 200, "bad_refresh_token", Rejected),
        with(
            "GitHub: the same as a form",
            200,
            "",
            "error=bad_refresh_token&error_uri=https%3A%2F%2Fx",
            Error(Rejected),
        ),
        case(
            "Slack: ok false",
            200,
            r#"{"ok":false,"error":"invalid_refresh_token"}"#,
            Error(Rejected),
        ),
        code("invalid_client", 401, "invalid_client", Client),
        code("invalid_client under 400", 400, "invalid_client", Client),
        code("unauthorized_client", 400, "unauthorized_client", Client),
        code("GitHub: incorrect_client_credentials", 200, "incorrect_client_credentials", Client),
        code("Slack: bad_client_secret", 200, "bad_client_secret", Client),
        code("Slack: invalid_client_id", 200, "invalid_client_id", Client),
        case("a byte order mark", 400, "\u{feff}{\"error\":\"invalid_grant\"}", Error(Rejected)),
        code("invalid_scope", 400, "invalid_scope", Config),
        code("invalid_request", 400, "invalid_request", Config),
        code("unsupported_grant_type", 400, "unsupported_grant_type", Config),
        code("temporarily_unavailable", 400, "temporarily_unavailable", Transient),
        code("server_error", 400, "server_error", Transient),
        code("slow_down", 400, "slow_down", Transient),
        code("an unknown code", 400, "account_hold", Transient),
        code("invalid_grant of a broken server", 500, "invalid_grant", Transient),
        code("invalid_client while too many", 429, "invalid_client", Transient),
        case(
            "Facebook's object",
            400,
            r#"{"error":{"type":"OAuthException","code":190}}"#,
            Error(Transient),
        ),
        case("an error that is an object, under 200", 200, r#"{"error":{}}"#, Error(Transient)),
        later(with("429", 429, "retry-after: 7\r\n", "", Error(Transient)), 7),
        later(with("503", 503, "retry-after: 120\r\n", "busy", Error(Transient)), 120),
        later(
            with(
                "503 until a date",
                503,
                "date: Sat, 21 Nov 2026 10:00:00 GMT\r\nretry-after: Sat, 21 Nov 2026 10:00:30 GMT\r\n",
                "",
                Error(Transient),
            ),
            30,
        ),
        with("a Retry-After that is none", 503, "retry-after: soon\r\n", "", Error(Transient)),
        html("a firewall's page", 403, Transient),
        html("a 401 without a code", 401, Transient),
        html("a 404", 404, Transient),
        html("a 502", 502, Transient),
        with("a redirect", 307, "location: /elsewhere\r\n", "", Error(Transient)),
        with("a redirect after a post", 303, "location: /elsewhere\r\n", "", Error(Transient)),
    ]
}

/// Status 200, and nothing to be read: it may have been honoured.
pub fn unreadable() -> Vec<Case> {
    let gone = |name, bytes: &[u8]| Case {
        name,
        reply: Reply::Bytes(bytes.to_vec()),
        means: Error(Undecided),
        retry_after: None,
    };
    let huge = format!(r#"{{"access_token":"{}"}}"#, "a".repeat(10_000_000));
    // What a client that accepts gzip would blow up; ours never asks for it, nor unpacks it.
    let bomb = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1, 1, 0xd, 0, 0, 0, 0xc2];
    vec![
        with(
            "a page",
            200,
            "content-type: text/html\r\n",
            "<html>access_token=a2",
            Error(Undecided),
        ),
        case("an empty body", 200, "", Error(Undecided)),
        case("204", 204, "", Error(Undecided)),
        case("cut JSON", 200, r#"{"access_token":"a2","token_ty"#, Error(Undecided)),
        case("an array", 200, r#"["a2"]"#, Error(Undecided)),
        case(
            "no access token",
            200,
            r#"{"token_type":"bearer","refresh_token":"r2"}"#,
            Error(Undecided),
        ),
        case("an empty access token", 200, r#"{"access_token":" "}"#, Error(Undecided)),
        case(
            "an access token for no header",
            200,
            r#"{"access_token":"a\r\nb"}"#,
            Error(Undecided),
        ),
        case(
            "a refresh token that is a number",
            200,
            r#"{"access_token":"a2","refresh_token":7}"#,
            Error(Undecided),
        ),
        case(
            "a field twice",
            200,
            r#"{"access_token":"a2","access_token":"a3"}"#,
            Error(Undecided),
        ),
        with("not UTF-8", 200, "", b"{\"access_token\":\"a\xff2\"}", Error(Undecided)),
        with("gzip", 200, "content-encoding: gzip\r\n", bomb, Error(Undecided)),
        case("10 MB", 200, &huge, Error(Undecided)),
        gone("nothing: closed", b""),
        gone("closed in the head", b"HTTP/1.1 200 OK\r\ncontent-le"),
        gone("closed in the body", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"access"),
        gone("no HTTP", b"SSH-2.0-OpenSSH\r\n\r\n"),
    ]
}
