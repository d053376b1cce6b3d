//! A service with two replicas behind one port, where people sign in with a code on another device
//! (RFC 8628). The example plays the load balancer, the provider and the person too, and ends by
//! itself.
//!
//! ```sh
//! cargo run --example device_login                               # on a private redis-server
//! cargo run --example device_login -- redis://localhost:6379    # on yours
//! ```

use std::{
    net::TcpListener as Port,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use vestibule::{
    Keys, Vestibule,
    connection::{ClientSecret, Connections, ConnectionsConfig, Connector, HttpExchange, Registry},
    device::{DeviceConfig, DeviceFlow, DeviceOutcome, DeviceSignIn, DeviceSignIns},
    http::{CurrentPending, IdFrom, PendingLayer},
    pending::{Namespace, PendingsConfig},
    store::{ConnectionId, PendingId, redis::RedisConfig},
};
use vestibule_worker::provider::{Provider, Settings};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(url) = std::env::args().nth(1) {
        return run(&url).await;
    }
    let port = Port::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let _server = tokio::process::Command::new("redis-server")
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("no redis-server on the PATH: install one, or give the URL of yours")?;
    run(&format!("redis://127.0.0.1:{port}")).await
}

/// The whole of it, on this Redis.
pub async fn run(redis: &str) -> anyhow::Result<()> {
    // What a worker does in its `main`; a service that uses TLS must, too.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = Settings { device_interval: Duration::from_secs(1), ..Settings::default() };
    let provider = Provider::start(settings).await?;
    let keys = Keys::random(); // a service reads the file that `vestibule-worker keygen` made
    let redis = RedisConfig::new(redis)?.with_prefix(format!("example-{}", std::process::id()))?;
    let replicas = [
        replica(redis.clone(), &keys, &provider, "a").await?,
        replica(redis, &keys, &provider, "b").await?,
    ];
    let service = behind_one_port(replicas).await?;
    println!("two replicas are behind {service}");

    // Alice asks twice, and each replica answers once: with the same code.
    let alice = Person { service, http: reqwest::Client::new() };
    let (one, two) = (alice.sign_in().await?, alice.sign_in().await?);
    println!("replica {} shows the code {}", one["replica"], one["user_code"]);
    println!("replica {} shows the code {}", two["replica"], two["user_code"]);
    ensure!(one["user_code"] == two["user_code"] && one["replica"] != two["replica"]);
    let id = one["id"].as_str().context("an id")?;
    println!("her page says: {}", alice.get(&format!("sign-ins/{id}")).await?);

    // Both replicas wait, one of them polls; on her phone she types the code in and says yes.
    let outcome = format!("sign-ins/{id}/outcome");
    let says_yes = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let code = one["user_code"].as_str().unwrap_or_default();
        let form = [("user_code", code), ("login", "alice"), ("decision", "approve")];
        let page = alice.http.post(format!("{}/device", provider.issuer())).form(&form);
        anyhow::Ok(page.send().await?.text().await?)
    };
    let (here, there, said) = tokio::try_join!(alice.get(&outcome), alice.get(&outcome), says_yes)?;
    println!("the provider says: {}", said.trim());
    println!("one replica says {here}, the other {there}");
    ensure!(here == there, "both learn the same");

    // Any replica has the token now.
    for _ in 0..2 {
        println!("the provider knows her: {}", alice.get(&format!("whoami/{here}")).await?);
    }
    let counts = provider.counts();
    println!("{} polls, {} too fast", counts.device_polls, counts.device_polls_too_fast);
    ensure!(counts.device_polls_too_fast == 0 && counts.device_grants == 1);
    Ok(())
}

/// What a replica keeps.
#[derive(Clone)]
struct Replica {
    name: &'static str,
    connections: Connections,
    devices: DeviceSignIns,
    userinfo: String,
    http: reqwest::Client,
}

async fn replica(
    redis: RedisConfig,
    keys: &Keys,
    provider: &Provider,
    name: &'static str,
) -> anyhow::Result<Router> {
    let settings = Settings::default();
    let (authorize, token) = (provider.authorize_url().parse()?, provider.token_url().parse()?);
    let mut connector = Connector::new("demo", authorize, token, settings.client_id)?
        .with_device_authorization(provider.device_authorization_url().parse()?)?;
    connector.client_secret = Some(ClientSecret::new(settings.client_secret));

    let vestibule = Vestibule::connect(redis, keys).await?;
    let exchange = Arc::new(HttpExchange::new()?);
    let config = ConnectionsConfig::new(Registry::new([connector])?, exchange.clone());
    let connections = vestibule.connections(config.with_instance(name));
    let pendings = PendingsConfig { instance: name.to_owned(), ..PendingsConfig::default() };
    let devices = vestibule.device_sign_ins(&connections, pendings, DeviceConfig::new(exchange));

    let page = PendingLayer::new(devices.pendings().clone(), IdFrom::LastSegment);
    let (userinfo, http) = (provider.userinfo_url(), reqwest::Client::new());
    Ok(Router::new()
        .route("/sign-ins/{id}", get(show).route_layer(page))
        .route("/sign-ins", post(start))
        .route("/sign-ins/{id}/outcome", get(outcome))
        .route("/whoami/{connection}", get(whoami))
        .with_state(Replica { name, connections, devices, userinfo, http }))
}

async fn start(State(replica): State<Replica>, headers: HeaderMap) -> Result<Response, Failed> {
    let (namespace, owner) = (Namespace::default(), user(&headers)?);
    let sign_in = DeviceSignIn::new(&namespace, &owner, "demo");
    let started = replica.devices.start(sign_in).await?;
    let answer = json!({
        "id": started.id.to_string(),
        "user_code": started.prompt.user_code.secret(),
        "replica": replica.name,
    });
    Ok(Json(answer).into_response())
}

/// The page: from whichever replica, for as long as the code lives, and for its owner alone.
async fn show(pending: CurrentPending<DeviceFlow>, headers: HeaderMap) -> Result<Response, Failed> {
    if pending.data.owner() != user(&headers)? {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    let prompt = &pending.data.prompt;
    let page = format!("enter {} at {}", prompt.user_code.secret(), prompt.verification_uri);
    Ok(Html(page).into_response())
}

/// Held until it ends: a browser asks again after a time-out.
async fn outcome(
    State(replica): State<Replica>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let id: PendingId = id.parse()?;
    let patience = Duration::from_secs(30);
    Ok(match replica.devices.wait(&user(&headers)?, id, patience).await? {
        DeviceOutcome::Connected(connection) => connection.to_string().into_response(),
        DeviceOutcome::TimedOut => StatusCode::ACCEPTED.into_response(),
        other => (StatusCode::GONE, format!("{other:?}")).into_response(),
    })
}

async fn whoami(
    State(replica): State<Replica>,
    Path(connection): Path<String>,
    headers: HeaderMap,
) -> Result<String, Failed> {
    let connection: ConnectionId = connection.parse()?;
    let vended = replica.connections.vend(&user(&headers)?, &connection).await?;
    let asked = replica.http.get(&replica.userinfo).bearer_auth(vended.access_token.secret());
    Ok(asked.send().await?.error_for_status()?.text().await?)
}

/// Whoever your login says; here, whoever a header says.
fn user(headers: &HeaderMap) -> anyhow::Result<String> {
    let user = headers.get("x-user").context("nobody is logged in")?;
    Ok(user.to_str()?.to_owned())
}

/// A handler that failed says so to the log, not to the browser.
struct Failed(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        eprintln!("{:#}", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, "not at the moment").into_response()
    }
}

/// A load balancer in a few lines: every request goes to the next replica.
async fn behind_one_port(replicas: [Router; 2]) -> anyhow::Result<String> {
    let next = Arc::new(AtomicUsize::new(0));
    let balanced = Router::new().fallback(move |request: Request| {
        let replica = replicas[next.fetch_add(1, Ordering::Relaxed) % replicas.len()].clone();
        replica.oneshot(request)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    #[expect(clippy::disallowed_methods, reason = "an example plays the service too")]
    tokio::spawn(async move { axum::serve(listener, balanced).await });
    Ok(address)
}

/// Alice, at her computer.
struct Person {
    service: String,
    http: reqwest::Client,
}

impl Person {
    async fn sign_in(&self) -> anyhow::Result<Value> {
        let asked = self.http.post(format!("{}/sign-ins", self.service)).header("x-user", "alice");
        Ok(asked.send().await?.error_for_status()?.json().await?)
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let asked = self.http.get(format!("{}/{path}", self.service)).header("x-user", "alice");
        Ok(asked.send().await?.error_for_status()?.text().await?)
    }
}
