//! Scopes: what a token may do, for how long, and how often; and the registry of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use super::route::{Filling, Route, is_plain};

/// The scope of the sign-in page of an MCP server: see [`Scope::mcp_auth`].
pub const MCP_AUTH: &str = "mcp_auth";
/// The scope of the header form of an MCP server: see [`Scope::mcp_headers_auth`].
pub const MCP_HEADERS_AUTH: &str = "mcp_headers_auth";

/// What the tokens of one name may do. It is checked when it is [registered](Scopes::register).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    name: String,
    routes: Vec<Route>,
    placeholder: Option<String>,
    max_ttl: Duration,
    max_uses: Option<u32>,
    bound: bool,
}

impl Scope {
    /// A scope with nothing in it: it needs a route and a maximum TTL.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            routes: Vec::new(),
            placeholder: None,
            max_ttl: Duration::ZERO,
            max_uses: None,
            bound: false,
        }
    }

    /// [`MCP_AUTH`]: `GET {base}/flows/{id}` and `GET {base}/flows/{id}/start`, for 15 minutes.
    #[must_use]
    pub fn mcp_auth(base_path: &str) -> Self {
        let flow = format!("{}/flows/{{id}}", base_path.trim_end_matches('/'));
        Self::new(MCP_AUTH)
            .with_placeholder("{id}")
            .with_route("GET", flow.as_str())
            .with_route("GET", flow + "/start")
            .with_max_ttl(QUARTER_OF_AN_HOUR)
    }

    /// [`MCP_HEADERS_AUTH`]: `GET` and `PUT {base}/flows/{id}`, for 15 minutes.
    #[must_use]
    pub fn mcp_headers_auth(base_path: &str) -> Self {
        let flow = format!("{}/flows/{{id}}", base_path.trim_end_matches('/'));
        Self::new(MCP_HEADERS_AUTH)
            .with_placeholder("{id}")
            .with_route("GET", flow.as_str())
            .with_route("PUT", flow)
            .with_max_ttl(QUARTER_OF_AN_HOUR)
    }

    /// Allows one more route. The pattern is an absolute path, written decoded and without a query;
    /// the method is compared without its case.
    #[must_use]
    pub fn with_route(mut self, method: impl Into<String>, pattern: impl Into<String>) -> Self {
        self.routes.push(Route::new(method, pattern));
        self
    }

    /// What stands for the resource in every pattern, such as `{id}`. With none, which an empty
    /// text means too, patterns are literal and the resource is not in the path.
    #[must_use]
    pub fn with_placeholder(mut self, placeholder: impl Into<String>) -> Self {
        self.placeholder = Some(placeholder.into()).filter(|text| !text.is_empty());
        self
    }

    /// The longest that a token may live: from a millisecond to 366 days.
    #[must_use]
    pub fn with_max_ttl(mut self, max_ttl: Duration) -> Self {
        self.max_ttl = max_ttl;
        self
    }

    /// How many requests a token is good for, 1 to 1,000; without it, any number within its life.
    #[must_use]
    pub fn with_max_uses(mut self, max_uses: u32) -> Self {
        self.max_uses = Some(max_uses);
        self
    }

    /// A token must be minted for a subject, or a session's digest, and be presented by it.
    #[must_use]
    pub fn bound(mut self) -> Self {
        self.bound = true;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The longest that a token of it may live.
    #[must_use]
    pub fn max_ttl(&self) -> Duration {
        self.max_ttl
    }

    /// How many requests a token is good for; `None` for any number.
    #[must_use]
    pub fn max_uses(&self) -> Option<u32> {
        self.max_uses
    }

    /// Whether a token must be bound to a subject.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.bound
    }

    /// Whether a token for `resource` may make this request. `raw_path` is the path as it came over
    /// the wire, still encoded; its query, if it is there, is ignored.
    #[must_use]
    pub fn allows(&self, method: &str, raw_path: &str, resource: &str) -> bool {
        let filling = Filling { placeholder: self.placeholder.as_deref(), resource };
        self.can_reach(resource)
            && self.routes.iter().any(|route| route.allows(method, raw_path, filling))
    }

    /// Whether some request is allowed for `resource`: with a placeholder, one that is empty, a
    /// dot segment, or has a `/`, `\`, `;`, control character or percent-encoding in it never fits
    /// into a path. A token for it would be of no use.
    #[must_use]
    pub fn can_reach(&self, resource: &str) -> bool {
        self.placeholder.is_none() || is_plain(resource)
    }

    fn check(&self) -> Result<(), InvalidScope> {
        let scope = || self.name.clone();
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(InvalidScope::Name);
        }
        if self.routes.is_empty() {
            return Err(InvalidScope::NoRoutes { scope: scope() });
        }
        for (number, route) in (1..).zip(&self.routes) {
            if !route.has_method() {
                return Err(InvalidScope::Method { scope: scope(), route: number });
            }
            if !route.has_path() {
                return Err(InvalidScope::Path { scope: scope(), route: number });
            }
            if self.placeholder.as_deref().is_some_and(|text| !route.names(text)) {
                return Err(InvalidScope::Placeholder { scope: scope(), route: number });
            }
        }
        if !(Duration::from_millis(1)..=LONGEST_TTL).contains(&self.max_ttl) {
            return Err(InvalidScope::MaxTtl { scope: scope(), max_ttl: self.max_ttl });
        }
        match self.max_uses {
            None | Some(1..=MOST_USES) => Ok(()),
            Some(max_uses) => Err(InvalidScope::MaxUses { scope: scope(), max_uses }),
        }
    }
}

/// The scopes that are known. Clones are handles to the same; it may grow while it is used, until
/// it is [frozen](Self::freeze).
#[derive(Debug, Clone, Default)]
pub struct Scopes {
    known: Arc<RwLock<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    scopes: BTreeMap<String, Arc<Scope>>,
    frozen: bool,
}

impl Scopes {
    /// A registry with no scope in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a scope known.
    ///
    /// # Errors
    ///
    /// [`InvalidScope`], and nothing is registered.
    pub fn register(&self, scope: Scope) -> Result<(), InvalidScope> {
        scope.check()?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.frozen {
            return Err(InvalidScope::Frozen { scope: scope.name });
        }
        if known.scopes.contains_key(&scope.name) {
            return Err(InvalidScope::Twice { scope: scope.name });
        }
        known.scopes.insert(scope.name.clone(), Arc::new(scope));
        Ok(())
    }

    /// The scope of this name.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<Arc<Scope>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).scopes.get(name).cloned()
    }

    /// The names of all, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.scopes.keys().cloned().collect()
    }

    /// From now on nothing is added, through any handle.
    pub fn freeze(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).frozen = true;
    }
}

/// Why a scope cannot be registered. Routes are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidScope {
    /// It has no name, or not one.
    #[error("a scope's name is 1 to 64 visible ASCII characters")]
    Name,
    /// It allows nothing.
    #[error("scope {scope} has no routes; add one with with_route")]
    NoRoutes {
        /// Which.
        scope: String,
    },
    /// A route's method is not one.
    #[error("route {route} of scope {scope}: its method is not an HTTP method")]
    Method {
        /// Which.
        scope: String,
        /// Its route.
        route: usize,
    },
    /// No request can match a route's pattern.
    #[error(
        "route {route} of scope {scope}: its pattern must begin with / and be a decoded path of at \
         most 2048 bytes, without a query, dot segments, empty segments, or the characters \\ ; %"
    )]
    Path {
        /// Which.
        scope: String,
        /// Its route.
        route: usize,
    },
    /// A route would be open to the tokens of all resources.
    #[error("route {route} of scope {scope}: its pattern has no placeholder in it")]
    Placeholder {
        /// Which.
        scope: String,
        /// Its route.
        route: usize,
    },
    /// Its tokens could not live, or live for ever.
    #[error("scope {scope}: its maximum TTL must be from 1 ms to 366 days, not {max_ttl:?}")]
    MaxTtl {
        /// Which.
        scope: String,
        /// What it says.
        max_ttl: Duration,
    },
    /// Its tokens could not be used, or more often than is remembered.
    #[error("scope {scope}: its tokens must be good for 1 to 1000 uses, not {max_uses}")]
    MaxUses {
        /// Which.
        scope: String,
        /// What it says.
        max_uses: u32,
    },
    /// Another scope has its name.
    #[error("scope {scope} is registered already")]
    Twice {
        /// Which.
        scope: String,
    },
    /// The registry is frozen.
    #[error("scope {scope} comes too late: the registry is frozen")]
    Frozen {
        /// Which.
        scope: String,
    },
}

const QUARTER_OF_AN_HOUR: Duration = Duration::from_secs(15 * 60);
const MOST_USES: u32 = 1_000; // each is remembered for as long as its token lives
const LONGEST_TTL: Duration = Duration::from_secs(366 * 24 * 3600);
