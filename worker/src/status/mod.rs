//! The status page: how the whole of it stands, at a glance, on the admin port.
//!
//! It reads and changes nothing. What it shows is looked up when somebody asks, at most every few
//! seconds however many ask, and over a connection of its own. While Redis is away it shows what was
//! seen last, and says since when that is.

mod engine;
mod guard;
mod page;
mod parts;
mod troubles;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use vestibule::inspect::{Snapshot, Watch};

pub use self::guard::Access;
use crate::{admin::Readiness, sweeper::LastPass};

/// A look is good for so long.
const FRESH: Duration = Duration::from_secs(2);
/// A look that takes longer has failed.
const LONGEST: Duration = Duration::from_secs(5);
/// How often the page asks for itself anew.
const EVERY_S: u32 = 5;

/// What is said of the worker itself.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Which replica this is.
    pub instance: String,
    /// Between two passes of each sweep, by its name.
    pub cadences: Vec<(&'static str, Duration)>,
}

/// Everything that the page is made of.
#[derive(Debug)]
pub struct Status {
    watch: Watch,
    about: About,
    readiness: Readiness,
    last_pass: LastPass,
    seen: Mutex<Seen>,
}

/// What was seen last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// When somebody looked last.
    looked: Option<Instant>,
    /// What was seen, and when.
    pub(crate) last: Option<(Arc<Snapshot>, Instant)>,
    /// Why nothing is seen, and since when.
    pub(crate) fault: Option<(String, Instant)>,
}

impl Status {
    /// Looks through `watch`, when it is asked to.
    #[must_use]
    pub fn new(watch: Watch, about: About, readiness: Readiness, last_pass: LastPass) -> Self {
        Self { watch, about, readiness, last_pass, seen: Mutex::default() }
    }

    /// Whoever comes while somebody looks waits for that.
    async fn seen(&self) -> Seen {
        let mut seen = self.seen.lock().await;
        if seen.looked.is_some_and(|at| at.elapsed() < FRESH) {
            return seen.clone();
        }
        let fault = match timeout(LONGEST, self.watch.look()).await {
            Ok(Ok(snapshot)) => {
                seen.last = Some((Arc::new(snapshot), Instant::now()));
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("it takes longer than {} s", LONGEST.as_secs())),
        };
        let since = seen.fault.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        seen.fault = fault.map(|fault| (fault, since));
        seen.looked = Some(Instant::now());
        seen.clone()
    }
}

/// The page, at `/` and `/status`, for whom `access` lets in.
pub fn routes(status: Arc<Status>, access: Access) -> Router {
    let shared = Arc::new(Shared { status, access, style: page::style_digest() });
    Router::new().route("/", get(show)).route("/status", get(show)).with_state(shared)
}

struct Shared {
    status: Arc<Status>,
    access: Access,
    style: String,
}

/// `?refresh=off` holds the page still: for who reads, and for who is read to.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    refresh: String,
}

async fn show(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let mut response = if let Err(refused) = shared.access.check(&headers) {
        refused.answer().into_response()
    } else {
        let Status { about, readiness, last_pass, .. } = &*shared.status;
        let seen = shared.status.seen().await;
        let refresh = (asked.refresh != "off").then_some(EVERY_S);
        let page = page::render(&page::Page {
            about,
            ready: readiness.told(),
            pass: last_pass.get(),
            seen: &seen,
            now: Instant::now(),
            refresh,
        });
        let kind = [(CONTENT_TYPE, "text/html; charset=utf-8")];
        (StatusCode::OK, kind, page.into_string()).into_response()
    };
    guard::security(response.headers_mut(), &shared.style);
    response
}
