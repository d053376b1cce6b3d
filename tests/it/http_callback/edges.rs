//! The layer among other services, and the extractor without the layer.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{
    BoxError, Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode},
    response::IntoResponse,
    routing::get,
};
use tower::{Layer, Service, ServiceExt, service_fn};
use vestibule::{
    Vestibule,
    http::{CurrentPending, IdFrom, PendingLayer},
    pending::{Namespace, Pendings},
};

use super::host::{Door, Question, config_of, in_memory, namespace, question};
use crate::support::logs;

async fn wants_question(pending: CurrentPending<Question>) -> String {
    pending.data.text.clone()
}

async fn wants_number(pending: CurrentPending<u64>) -> String {
    pending.data.to_string()
}

async fn may_have_a_number(pending: Option<CurrentPending<u64>>) -> &'static str {
    pending.map_or("none", |_| "some")
}

/// P-9: without the layer, or with one of another payload type, there is no pending: a clean 500
/// that says why, or `None` for who asked for an option. Nothing panics.
#[tokio::test]
async fn no_value_or_another_type_is_none() {
    let logs = logs::capture();
    let [pendings, _] = in_memory();
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let routes = Router::new()
        .route("/question", get(wants_question))
        .route("/number", get(wants_number))
        .route("/maybe", get(may_have_a_number));
    let with =
        Door::Service(routes.clone().route_layer(PendingLayer::new(pendings, IdFrom::Query("id"))));
    let without = Door::Service(routes);

    let missing = "no PendingLayer of this handler's payload type";
    with.get(&format!("/question?id={id}")).await.is(200, "which branch?");
    with.get(&format!("/number?id={id}")).await.is_refusal(500, missing);
    with.get(&format!("/maybe?id={id}")).await.is(200, "none");
    without.get("/question").await.is_refusal(500, missing);
    without.get("/number").await.is_refusal(500, missing);
    assert_eq!(without.get("/maybe").await.body, "none");
    assert!(logs.contain("no pending with a payload of u64 came with the request"));
}

/// P-9: the same for services that are not axum's.
#[tokio::test]
async fn extensions_give_what_is_there() {
    let request = Request::new(());
    assert!(CurrentPending::<Question>::from_extensions(request.extensions()).is_none());

    let [pendings, _] = in_memory();
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let service = service_fn(move |request: Request<Body>| async move {
        let pending = CurrentPending::<Question>::from_extensions(request.extensions()).unwrap();
        assert_eq!((pending.id, &pending.namespace), (id, &namespace()));
        assert_eq!(pending.clone().data, question().data);
        assert_eq!(format!("{pending:?}"), format!("CurrentPending({id})"));
        assert!(CurrentPending::<u64>::from_extensions(request.extensions()).is_none());
        assert_eq!(request.extensions().get::<Namespace>(), Some(&namespace()));
        Ok::<_, Infallible>(Response::new(Body::from("seen")))
    });
    let layer = PendingLayer::new(pendings, IdFrom::Segment(0));
    let answer = layer.layer(service).oneshot(at(&format!("/{id}/x"))).await.unwrap();
    assert_eq!(to_bytes(answer.into_body(), 100).await.unwrap(), "seen");
}

/// P-8: a pending whose payload is another type than the layer's is a 500 that no retry mends; it
/// stays.
#[tokio::test]
async fn another_payload_type_is_not_loaded() {
    let logs = logs::capture();
    let vestibule = Vestibule::in_memory();
    let pendings: Pendings<Question> = vestibule.pendings(config_of("a"));
    let numbers: Pendings<u64> = vestibule.pendings(config_of("a"));
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let edge = PendingLayer::new(numbers, IdFrom::LastSegment);
    let door = Door::Service(Router::new().route("/{id}", get(wants_number)).route_layer(edge));
    let heard = door.get(&format!("/{id}")).await;
    heard.is_refusal(500, "failed to load pending");
    assert!(!heard.headers.contains_key("retry-after"));
    let logged =
        logs.text().lines().filter(|line| is_error(line) && line.contains(&id.to_string())).count();
    assert_eq!(logged, 1, "logged once");
    assert!(pendings.get(id).await.unwrap().is_some());
}

/// P-8: an error of the service behind is a 500; its text is for the log. So is one of its
/// readiness. The pending stays.
#[tokio::test]
async fn an_error_of_the_service_behind_is_not_told() {
    let logs = logs::capture();
    let [pendings, _] = in_memory();
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let layer = PendingLayer::new(pendings.clone(), IdFrom::LastSegment);
    let failing = service_fn(|_: Request<Body>| async {
        Err::<Response<Body>, BoxError>("the canary of a call".into())
    });
    let path = format!("/{id}");
    for answer in [
        layer.layer(failing).oneshot(at(&path)).await.unwrap(),
        layer.layer(NeverReady).oneshot(at(&path)).await.unwrap(),
    ] {
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(to_bytes(answer.into_body(), 100).await.unwrap(), "request failed");
    }
    assert!(logs.contain("the canary of a call") && logs.contain("the canary of readiness"));
    assert!(pendings.get(id).await.unwrap().is_some());
}

/// What a handler says of caching and referrers is not overruled.
#[tokio::test]
async fn the_handlers_own_headers_win() {
    let [pendings, _] = in_memory();
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let handler = || async { [("cache-control", "private"), ("x-own", "1")].into_response() };
    let edge = PendingLayer::new(pendings, IdFrom::LastSegment);
    let app: Router = Router::new().route("/{id}", get(handler)).route_layer(edge);
    let heard = Door::Service(app).get(&format!("/{id}")).await;
    let values: Vec<_> = heard.headers.get_all("cache-control").iter().collect();
    assert_eq!(values, ["private"]);
    assert_eq!(heard.headers["referrer-policy"], "no-referrer");
    assert_eq!(heard.headers["x-own"], "1");
}

/// A layer around a nested router sees the path without its prefix, one outside sees all of it.
#[tokio::test]
async fn segments_are_counted_in_the_path_that_the_layer_sees() {
    let [pendings, _] = in_memory();
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let edge = |number| PendingLayer::new(pendings.clone(), IdFrom::Segment(number));
    let routes: Router = Router::new().route("/{id}/page", get(wants_question));
    let inside = Router::new().nest("/a/b", routes.clone().route_layer(edge(0)));
    let outside = Router::new().nest("/a/b", routes).layer(edge(2));
    for app in [inside, outside] {
        Door::Service(app).get(&format!("/a/b/{id}/page")).await.is(200, "which branch?");
    }
}

fn at(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn is_error(line: &str) -> bool {
    line.contains("ERROR")
}

#[derive(Clone)]
struct NeverReady;

impl Service<Request<Body>> for NeverReady {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Err("the canary of readiness".into()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        panic!("it was called although it is not ready")
    }
}
