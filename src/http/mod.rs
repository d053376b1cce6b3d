//! The HTTP edge, for axum and tower: a [`PendingLayer`] maps a request to its pending, a
//! [`TempTokenLayer`] lets through what a temp token allows.
//!
//! # Callbacks
//!
//! A [`PendingLayer`] stands before the routes that a person is sent to. It reads the pending that
//! the request names and puts it into the request's extensions; the handler takes it from there as
//! a [`CurrentPending`]. Its [`Namespace`](crate::pending::Namespace) and the
//! [`Descriptor`](crate::pending::Descriptor) of that stand there too, for what does not know the
//! payload's type.
//!
//! * **Nothing is consumed.** Mail scanners and browsers fetch links that nobody clicked, so a
//!   pending ends only where a handler completes or cancels it: let that be a `POST`.
//! * **The id alone proves nothing.** Whoever has the link sees what the handler shows. Who may
//!   answer is what a pending is bound to: [`Spec::subject`](crate::pending::Spec::subject).
//! * What does not reach the handler is answered in plain text, without a word of the request:
//!
//! | what | answer |
//! |---|---|
//! | no id, an id that cannot be one, or two | 400 `invalid pending id` |
//! | none of that id: unknown, over, or ended | 404 `pending not found` |
//! | the store failed, or the pending does not open as a `T` | 500 `failed to load pending`; with `Retry-After: 1` if a later try may do |
//! | the service behind the layer failed | 500 `request failed` |
//!
//! * Every answer says `Cache-Control: no-store` and `Referrer-Policy: no-referrer`, unless the
//!   handler says something else: the URL is what the pending is known by.
//! * `vestibule_http_total{edge, outcome}` counts requests; what failed is logged once, with its
//!   cause.
//!
//! # Example
//!
//! ```
//! use axum::{Form, Router, extract::State, http::StatusCode, routing::get};
//! use serde::{Deserialize, Serialize};
//! use vestibule::{
//!     Vestibule,
//!     http::{CurrentPending, IdFrom, PendingLayer},
//!     pending::{Completion, Namespace, Pendings, PendingsConfig, Spec},
//! };
//!
//! #[derive(Serialize, Deserialize)]
//! struct Question {
//!     text: String,
//! }
//!
//! #[derive(Deserialize)]
//! struct Answer {
//!     text: String,
//! }
//!
//! async fn show(pending: CurrentPending<Question>) -> String {
//!     format!("{} asks: {}", pending.alias, pending.data.text)
//! }
//!
//! async fn answer(
//!     State(pendings): State<Pendings<Question>>,
//!     pending: CurrentPending<Question>,
//!     Form(answer): Form<Answer>,
//! ) -> (StatusCode, &'static str) {
//!     match pendings.complete(pending.id, None, &answer.text).await {
//!         Ok(Completion::Won(_)) => (StatusCode::OK, "thank you"),
//!         Ok(_) => (StatusCode::GONE, "it was answered already, or took too long"),
//!         Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "try again"),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! # use axum::{body::{Body, to_bytes}, http::Request};
//! # use tower::ServiceExt;
//! let pendings: Pendings<Question> = Vestibule::in_memory().pendings(PendingsConfig::default());
//! let app: Router = Router::new()
//!     .route("/pending/{id}", get(show).post(answer))
//!     .route_layer(PendingLayer::new(pendings.clone(), IdFrom::LastSegment))
//!     .with_state(pendings.clone());
//!
//! let mut spec = Spec::new("form", Question { text: "which branch?".to_owned() });
//! spec.alias = "deploy".to_owned();
//! let id = pendings.create(&Namespace::default(), &spec).await?.id;
//!
//! let request = Request::get(format!("/pending/{id}")).body(Body::empty())?;
//! let page = to_bytes(app.oneshot(request).await?.into_body(), 1000).await?;
//! assert_eq!(page, "deploy asks: which branch?");
//! # Ok(())
//! # }
//! ```

mod answer;
mod callback;
mod current;
mod id_from;
mod others;
mod temp_token;
mod validated;
mod verdict;

pub use self::{
    callback::{PendingLayer, PendingService},
    current::{CurrentPending, NoPending},
    id_from::{FindId, IdFrom},
    temp_token::{Switch, TEMP_TOKEN_HEADER, TempTokenLayer, TempTokenService},
    validated::NoValidToken,
};
