//! A host as its author would write it, and ways to ask it.

use std::net::SocketAddr;

use axum::{
    Extension, Form, Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, Method, Request, StatusCode},
    routing::get,
};
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt;
use vestibule::{
    Vestibule,
    http::{CurrentPending, IdFrom, PendingLayer},
    pending::{Completion, Descriptor, Namespace, Pendings, PendingsConfig, Spec},
    store::PendingId,
};

use crate::{
    properties::connect,
    support::{server, stores::fresh_prefix},
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub text: String,
}

pub fn question() -> Spec<Question> {
    let mut spec = Spec::new("form", Question { text: "which branch?".to_owned() });
    spec.alias = "deploy".to_owned();
    spec
}

pub fn namespace() -> Namespace {
    Namespace::new("alice@example.com").unwrap()
}

/// What `GET` shows of [`question`].
pub const PAGE: &str = "alice@example.com false: deploy asks: which branch?";

/// The routes: `/callback?id=…` and `/pending/…`, both to see and to answer.
pub fn app(pendings: &Pendings<Question>) -> Router {
    let edge = |from| PendingLayer::new(pendings.clone(), from);
    let route = |path| Router::new().route(path, get(show).post(answer));
    Router::new()
        .merge(route("/callback").route_layer(edge(IdFrom::Query("id"))))
        .merge(route("/pending/{id}").route_layer(edge(IdFrom::LastSegment)))
        .with_state(pendings.clone())
}

async fn show(
    Extension(namespace): Extension<Namespace>,
    Extension(descriptor): Extension<Descriptor>,
    pending: CurrentPending<Question>,
) -> String {
    assert_eq!((&pending.namespace, namespace.descriptor()), (&namespace, descriptor.clone()));
    let (name, is_default) = (&descriptor.name, descriptor.is_default());
    format!("{name} {is_default}: {} asks: {}", pending.alias, pending.data.text)
}

#[derive(Deserialize)]
struct Answered {
    action: String,
    text: Option<String>,
}

async fn answer(
    State(pendings): State<Pendings<Question>>,
    pending: CurrentPending<Question>,
    Form(answered): Form<Answered>,
) -> (StatusCode, &'static str) {
    let text = answered.text.unwrap_or_default();
    let (ended, said) = match answered.action.as_str() {
        "submit" => {
            let accepted = format!("accepted: {text}");
            (pendings.complete(pending.id, None, &accepted).await, "accepted")
        }
        "reject" => (pendings.complete(pending.id, None, &"rejected").await, "rejected"),
        "cancel" => (pendings.cancel(pending.id, None).await, "cancelled"),
        _ => return (StatusCode::UNPROCESSABLE_ENTITY, "submit, reject or cancel"),
    };
    match ended {
        Ok(Completion::Won(_)) => (StatusCode::OK, said),
        Ok(_) => (StatusCode::GONE, "too late"),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "try again"),
    }
}

/// How a replica is asked.
pub enum Door {
    Service(Router),
    Tcp(SocketAddr, reqwest::Client),
}

#[derive(Debug)]
pub struct Heard {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Heard {
    /// What the edge itself answers: the text alone, not to be stored or told on.
    #[track_caller]
    pub fn is_refusal(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, text));
        self.is_private();
        assert_eq!(self.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(self.headers["x-content-type-options"], "nosniff");
    }

    #[track_caller]
    pub fn is(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, text));
        self.is_private();
    }

    #[track_caller]
    fn is_private(&self) {
        assert_eq!(self.headers["cache-control"], "no-store");
        assert_eq!(self.headers["referrer-policy"], "no-referrer");
    }
}

impl Door {
    pub async fn over_tcp(app: Router) -> Self {
        Self::Tcp(serve(app).await, reqwest::Client::new())
    }

    pub async fn get(&self, path: &str) -> Heard {
        self.ask(Method::GET, path, "").await
    }

    pub async fn post(&self, path: &str, form: &str) -> Heard {
        self.ask(Method::POST, path, form).await
    }

    pub async fn ask(&self, method: Method, path: &str, form: &str) -> Heard {
        let form_type = ("content-type", "application/x-www-form-urlencoded");
        match self {
            Self::Service(app) => {
                let request = Request::builder().method(method).uri(path);
                let request = request.header(form_type.0, form_type.1);
                let request = request.body(Body::from(form.to_owned())).unwrap();
                let answer = app.clone().oneshot(request).await.unwrap();
                let (parts, body) = answer.into_parts();
                let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
                let body = String::from_utf8(body).unwrap();
                Heard { status: parts.status.as_u16(), headers: parts.headers, body }
            }
            Self::Tcp(address, client) => {
                let url = format!("http://{address}{path}");
                let request = client.request(method, url).header(form_type.0, form_type.1);
                let answer = request.body(form.to_owned()).send().await.unwrap();
                let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
                Heard { status, headers, body: answer.text().await.unwrap() }
            }
        }
    }
}

/// Serves on a port of its own until the test ends.
pub async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Sends a request target byte by byte as it is, which no well-behaved client would.
pub async fn raw_get(address: SocketAddr, target: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(&[b"GET ", target, head].concat()).await.unwrap();
    let mut heard = Vec::new();
    // What is refused early may be reset before all is read.
    let _ = stream.read_to_end(&mut heard).await;
    String::from_utf8_lossy(&heard).into_owned()
}

/// Two replicas of a host on one store. A pending is made on the first and answered on the second.
pub struct Replicas {
    pub first: Pendings<Question>,
    pub second: Pendings<Question>,
    pub door: Door,
}

impl Replicas {
    pub async fn create(&self) -> PendingId {
        self.first.create(&namespace(), &question()).await.unwrap().id
    }
}

/// On Redis and in memory, asked as a service and over TCP.
pub async fn everywhere() -> Vec<Replicas> {
    let mut all = Vec::new();
    for [first, second] in [on_redis(&fresh_prefix()).await, in_memory()] {
        for over_tcp in [false, true] {
            let app = app(&second);
            let door = if over_tcp { Door::over_tcp(app).await } else { Door::Service(app) };
            all.push(Replicas { first: first.clone(), second: second.clone(), door });
        }
    }
    all
}

/// Two handles with connections of their own.
pub async fn on_redis(prefix: &str) -> [Pendings<Question>; 2] {
    let server = server::shared().await;
    let replica =
        async |instance| connect(&server.url(), prefix).await.pendings(config_of(instance));
    [replica("a").await, replica("b").await]
}

pub fn in_memory() -> [Pendings<Question>; 2] {
    let vestibule = Vestibule::in_memory();
    [vestibule.pendings(config_of("a")), vestibule.pendings(config_of("b"))]
}

pub async fn raw_redis() -> MultiplexedConnection {
    server::shared().await.raw().await
}

pub fn config_of(instance: &str) -> PendingsConfig {
    PendingsConfig { instance: instance.to_owned(), ..PendingsConfig::default() }
}
