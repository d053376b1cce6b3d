//! The rights that `acl` prints for a service are enough for all that the library asks.

use redis::Value;
use tokio::runtime::Runtime;

use crate::{
    agreement,
    support::server::{TestServer, with_every_right},
};

/// all that the stores' agreement asks, as a user with the generated rights: Redis refuses
/// nothing, not even what a verb would recover from.
#[test]
fn the_generated_rights_are_enough() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(TestServer::builder().narrow().start());
    assert_ne!(server.url(), with_every_right(&server.url()));
    agreement::drive(&server, 12);
    assert_eq!(runtime.block_on(refused(&server)), [] as [String; 0]);
    runtime.block_on(ask_for_more(&server));
    assert_eq!(runtime.block_on(refused(&server)).len(), 1, "what is refused is seen");
}

async fn refused(server: &TestServer) -> Vec<String> {
    let mut log = redis::cmd("ACL");
    let found: Vec<Value> =
        log.arg("LOG").arg(1000).query_async(&mut server.raw().await).await.unwrap();
    let found = found.iter().map(|entry| format!("{entry:?}"));
    // The client library names itself where it may, and goes on where it may not.
    found.filter(|entry| !entry.contains("client|setinfo")).collect()
}

async fn ask_for_more(server: &TestServer) {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let asked: redis::RedisResult<()> =
        redis::cmd("GETDEL").arg("vst:{00}:pkce:x").query_async(&mut connection).await;
    assert!(asked.unwrap_err().to_string().contains("no permissions"));
}
