//! The layer that lets a temp token stand for a sign-in.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::OriginalUri,
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use http::{HeaderName, Request, request::Parts};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    answer::{Failure, keep_private},
    others::{Ask, Others},
    verdict::Verdict,
};
use crate::{
    metric,
    token::{TempTokens, TokenError},
};

/// The header that a temp token comes in, unless [`TempTokenLayer::with_header`] says otherwise.
pub const TEMP_TOKEN_HEADER: HeaderName = HeaderName::from_static("x-vestibule-temp-token");

/// Validates the temp token of a request, and gives the service behind a [`ValidatedToken`].
///
/// | request | what becomes of it |
/// |---|---|
/// | other credentials | passes untouched to the host's own authentication |
/// | a valid token | passes, with a [`ValidatedToken`] in its extensions |
/// | any other token, or two | 401 `unauthorized`, the same to the byte whatever is wrong |
/// | no token | the same 401; passes if the layer is [`optional`](Self::optional) |
/// | the store did not answer | 503 `temporarily unavailable`, with `Retry-After: 1`, and logged |
/// | what no other try mends: the token's record is damaged, say | 500 `request failed`, and logged |
///
/// Other credentials are an `Authorization` header, and what the host says here. Say it with
/// [`yielding_when`](Self::yielding_when): a cookie that is merely there may be a stale one, and then
/// a good link does not work.
///
/// **It does not replace the host's authentication.** Anybody can send an `Authorization` header;
/// what comes with one, this layer did not look at. So behind it stands either the host's own
/// authentication, or a handler that takes a [`ValidatedToken`]: as an extractor it answers the same
/// 401 if there is none. A handler should also ask if the token is for what it is about to do:
/// [`ValidatedToken::allows_resource`].
///
/// The path that must fit the scope is the one that came over the wire, also inside of a
/// `Router::nest`. A preflight of CORS carries no token: answer it before this layer.
///
/// Each text of a token's shape costs a round trip to the store, whoever guesses it: limit requests
/// per source before this layer, and watch
/// `vestibule_http_total{edge="temp_token", outcome="refused"}`.
///
/// # Example
///
/// ```
/// use axum::{Router, extract::Path, routing::get};
/// use vestibule::{
///     Vestibule,
///     http::{NoValidToken, TempTokenLayer},
///     token::{Scope, Scopes, ValidatedToken},
/// };
///
/// async fn flow(Path(id): Path<String>, token: ValidatedToken) -> Result<String, NoValidToken> {
///     if token.allows_resource(&id) { Ok(format!("flow {id}")) } else { Err(NoValidToken) }
/// }
///
/// # fn main() -> Result<(), vestibule::token::InvalidScope> {
/// let scopes = Scopes::new();
/// scopes.register(Scope::mcp_auth("/api"))?;
/// let tokens = Vestibule::in_memory().temp_tokens(scopes);
/// // The host's own authentication ran before, and left its mark.
/// #[derive(Clone)]
/// struct SignedIn;
/// let layer = TempTokenLayer::new(tokens)
///     .yielding_when(|parts| parts.extensions.get::<SignedIn>().is_some());
/// let app: Router = Router::new().route("/api/flows/{id}", get(flow)).layer(layer);
/// # Ok(())
/// # }
/// ```
///
/// [`ValidatedToken`]: crate::token::ValidatedToken
/// [`ValidatedToken::allows_resource`]: crate::token::ValidatedToken::allows_resource
#[derive(Clone)]
pub struct TempTokenLayer {
    tokens: TempTokens,
    header: HeaderName,
    /// What becomes of a request without a token and without other credentials.
    without: Verdict,
    others: Others,
    subject: Option<Ask<Option<String>>>,
    switch: Option<Arc<dyn Fn() -> Switch + Send + Sync>>,
}

/// Whether temp tokens are accepted at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// They are.
    On,
    /// They are not: a request is treated as if it had none.
    Off,
}

impl TempTokenLayer {
    /// Accepts these tokens in the header [`TEMP_TOKEN_HEADER`], and refuses a request that has
    /// neither a token nor other credentials.
    #[must_use]
    pub fn new(tokens: TempTokens) -> Self {
        Self {
            tokens,
            header: TEMP_TOKEN_HEADER,
            without: Verdict::Missing,
            others: Others::default(),
            subject: None,
            switch: None,
        }
    }

    /// Looks for tokens in this header only.
    #[must_use]
    pub fn with_header(mut self, header: HeaderName) -> Self {
        self.header = header;
        self
    }

    /// Lets a request without a token pass: what is behind must know what to do with it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.without = Verdict::PassedOn;
        self
    }

    /// A cookie of this name, with a value, counts as other credentials. **Valid or not**: whoever
    /// still has the cookie of a session that is over is not let in by a good link. Prefer
    /// [`yielding_when`](Self::yielding_when).
    #[must_use]
    pub fn yielding_to_cookie(mut self, name: impl Into<String>) -> Self {
        self.others.cookies.push(name.into());
        self
    }

    /// Any cookie counts as other credentials. **Also one that signs nobody in**, such as a stale
    /// session's or a consent banner's: with it a good link does not work. Prefer
    /// [`yielding_when`](Self::yielding_when).
    #[must_use]
    pub fn yielding_to_any_cookie(mut self) -> Self {
        self.others.any_cookie = true;
        self
    }

    /// A request of which this is true has other credentials: the host's authentication ran before,
    /// say, found a session that is valid, and left its mark in the extensions.
    #[must_use]
    pub fn yielding_when(mut self, has: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.others.asked = Some(Arc::new(has));
        self
    }

    /// Who presents the token, for scopes that are [bound](crate::token::Scope::bound). Take it
    /// from what the host has authenticated, not from what the request says of itself.
    #[must_use]
    pub fn with_subject(
        mut self,
        subject: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.subject = Some(Arc::new(subject));
        self
    }

    /// Asks before each token whether they are accepted. A host that cannot tell says
    /// [`Switch::Off`].
    #[must_use]
    pub fn switched_by(mut self, switch: impl Fn() -> Switch + Send + Sync + 'static) -> Self {
        self.switch = Some(Arc::new(switch));
        self
    }
}

impl<S> Layer<S> for TempTokenLayer {
    type Service = TempTokenService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TempTokenService { layer: self.clone(), inner }
    }
}

/// What a [`TempTokenLayer`] makes of a service. It is always ready; it fails as the service behind
/// does.
#[derive(Debug, Clone)]
pub struct TempTokenService<S> {
    layer: TempTokenLayer,
    inner: S,
}

impl<S, B> Service<Request<B>> for TempTokenService<S>
where
    S: Service<Request<B>> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // What waits for Redis must not hold a place in the service behind.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { layer, mut inner } = self.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let verdict = layer.judge(&mut parts).await;
            metric::HTTP.of(&["temp_token", verdict.as_str()]).increment(1);
            if let Some(refusal) = verdict.refusal() {
                return Ok(refusal);
            }
            poll_fn(|context| inner.poll_ready(context)).await?;
            let answer = inner.call(Request::from_parts(parts, body)).await?.into_response();
            Ok(if verdict == Verdict::Valid { keep_private(answer) } else { answer })
        })
    }
}

impl TempTokenLayer {
    async fn judge(&self, parts: &mut Parts) -> Verdict {
        if self.others.are_in(parts) {
            return Verdict::Yielded;
        }
        let is_off = self.switch.as_ref().is_some_and(|switch| switch() == Switch::Off);
        let mut given = parts.headers.get_all(&self.header).iter();
        let text = match (given.next().filter(|_| !is_off), given.next()) {
            (Some(one), None) => one.to_str().ok(),
            (Some(_), Some(_)) => None,
            (None, _) => return self.without,
        };
        let Some(text) = text else {
            tracing::debug!("a request has two temp tokens, or one of other characters");
            return Verdict::Refused;
        };
        let subject = self.subject.as_ref().and_then(|subject| subject(parts));
        let path = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0).path();
        match self.tokens.validate(text, parts.method.as_str(), path, subject.as_deref()).await {
            Ok(validated) => {
                parts.extensions.insert(validated);
                Verdict::Valid
            }
            Err(error) if error.is_refusal() => Verdict::Refused,
            Err(error) => {
                let TokenError::Store(error) = &error else {
                    // It has been logged where the record did not open.
                    return Verdict::Failed(Failure::of(None));
                };
                tracing::error!(%error, "a temp token cannot be validated");
                Verdict::Failed(Failure::of(Some(error)))
            }
        }
    }
}

impl fmt::Debug for TempTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TempTokenLayer")
            .field("header", &self.header)
            .field("without", &self.without)
            .finish_non_exhaustive()
    }
}
