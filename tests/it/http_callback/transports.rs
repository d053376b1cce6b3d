//! Whoever waits is told over HTTP too, as a stream of events or by a request that is held open.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::sse::{Event, Sse},
    routing::get,
};
use futures_util::{Stream, stream};
use vestibule::{
    pending::{Pendings, Waited},
    store::PendingId,
};

use super::host::{Door, Question, app, namespace, on_redis, question, serve};
use crate::support::stores::fresh_prefix;

const PATIENCE: Duration = Duration::from_secs(20);

/// P-11: a tool call waits on one replica, over either transport; the person answers on the other.
#[tokio::test]
async fn who_waits_is_told_over_either_transport() {
    let [a, b] = on_redis(&fresh_prefix()).await;
    let (agent, person) = (serve(agent_routes(&a)).await, Door::over_tcp(app(&b)).await);
    let answers = [
        ("action=submit&text=main", "accepted: main"),
        ("action=reject", "rejected"),
        ("action=cancel", "cancelled"),
    ];
    for (form, told) in answers {
        let id = a.create(&namespace(), &question()).await.unwrap().id;
        let events = tokio::spawn(ask(agent, format!("/events/{id}")));
        let held = tokio::spawn(ask(agent, format!("/wait/{id}")));
        while a.waiters(id).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        person.post(&format!("/callback?id={id}"), form).await;
        assert_eq!(events.await.unwrap(), format!("event: ended\ndata: {told}\n\n"));
        assert_eq!(held.await.unwrap(), format!("{{\"ended\":\"{told}\"}}"));
    }
}

fn agent_routes(pendings: &Pendings<Question>) -> Router {
    Router::new()
        .route("/events/{id}", get(events))
        .route("/wait/{id}", get(wait))
        .with_state(pendings.clone())
}

async fn events(
    State(pendings): State<Pendings<Question>>,
    Path(id): Path<String>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::once(async move {
        Ok(Event::default().event("ended").data(ended(&pendings, &id).await))
    }))
}

async fn wait(
    State(pendings): State<Pendings<Question>>,
    Path(id): Path<String>,
) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "ended": ended(&pendings, &id).await }))
}

async fn ended(pendings: &Pendings<Question>, id: &str) -> String {
    let id: PendingId = id.parse().unwrap();
    match pendings.wait(id, PATIENCE).await.unwrap() {
        Waited::Completed { answer, .. } => answer,
        Waited::Cancelled => "cancelled".to_owned(),
        other => panic!("{other:?}"),
    }
}

async fn ask(address: SocketAddr, path: String) -> String {
    reqwest::get(format!("http://{address}{path}")).await.unwrap().text().await.unwrap()
}
