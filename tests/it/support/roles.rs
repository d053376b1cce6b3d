//! What child processes can do. A new role is one more arm here, and a function of its own.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use vestibule::store::redis::{RedisConfig, RedisStore, Timeouts};

use super::{
    children::Parent,
    server::{self, TestServer},
    sign_in::install_tls,
    stopwatch::Stopwatch,
    stores::naming_key,
};
use crate::properties::{
    callers, connections, crashes, deliveries, devices, headers, journal, limits, pendings, pkce,
    sweeps, sweeps::cycles, tokens,
};

/// Plays `role`; the process ends when this returns.
pub async fn play(role: &str, args: Value, parent: Parent) {
    match role {
        "echo" => echo(args, parent).await,
        "serve" => serve(parent).await,
        "time" => time(parent).await,
        "connect" => connect(args, parent).await,
        "ask-for-more" => end_as_a_test(parent),
        "poll" => devices::poller(args, parent).await,
        "race" => pkce::racer(args, parent).await,
        "race-pendings" => pendings::racer(args, parent).await,
        "race-headers" => headers::racer(args, parent).await,
        "race-tokens" => tokens::racer(args, parent).await,
        "wait" => pendings::waits::waiter(args, parent).await,
        "vend" => callers::caller(args, parent).await,
        "refresh" => connections::refresher(args, parent).await,
        "sweep" => limits::sweeper(args, parent).await,
        "reap" => sweeps::reaper(args, parent).await,
        "cycle" => cycles::cycler(args, parent).await,
        "deliver" => deliveries::deliverer(args, parent).await,
        "die-at-the-journal" => journal::victim(args, parent).await,
        "die-in-a-refresh" => crashes::victim(args, parent).await,
        _ => panic!("there is no role {role}"),
    }
}

/// Says its arguments after the start, then what it hears.
async fn echo(args: Value, mut parent: Parent) {
    parent.ready().await;
    parent.say(args);
    loop {
        let heard = parent.hear().await;
        if heard == "END" {
            return;
        }
        parent.say(heard);
    }
}

/// Says how long it takes to sleep for so many milliseconds, by a stopwatch.
async fn time(mut parent: Parent) {
    parent.ready().await;
    loop {
        let asked = Duration::from_millis(parent.hear().await.parse().unwrap());
        let watch = Stopwatch::start();
        parent.say("timing");
        sleep(asked).await;
        let (took, late) = (watch.took().as_millis() as u64, watch.late().as_millis() as u64);
        parent.say(json!({ "took": took, "late": late }));
    }
}

/// Says why it does not come to a Redis, in a process that has no TLS but what it is told to install.
async fn connect(args: Value, mut parent: Parent) {
    parent.ready().await;
    if args["installs"] == true {
        install_tls();
    }
    let url = args["url"].as_str().unwrap();
    let timeouts = Timeouts { overall: Duration::from_secs(1), ..Timeouts::default() };
    let config = RedisConfig::new(url).unwrap().with_timeouts(timeouts);
    let error = RedisStore::connect(config, &naming_key()).await.unwrap_err();
    parent.say(json!({ "class": format!("{:?}", error.class()), "error": error.to_string() }));
}

/// A thread as that of a test, which asks the shared server for more than it may, and ends.
fn end_as_a_test(parent: Parent) {
    let test = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async { ask_for_more(server::shared().await).await });
        parent.say("refused");
    });
    test.join().unwrap();
}

/// Does what no library does, and is refused.
pub async fn ask_for_more(server: &TestServer) {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let asked: redis::RedisResult<()> =
        redis::cmd("GETDEL").arg("vst:{00}:pkce:x").query_async(&mut connection).await;
    assert!(asked.unwrap_err().to_string().contains("no permissions"));
}

/// Owns a server until it is killed itself.
async fn serve(mut parent: Parent) {
    let server = TestServer::builder().start().await;
    parent.say(server.pid());
    parent.say(server.dir().display().to_string());
    parent.hear().await;
}
