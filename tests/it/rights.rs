//! The rights that `acl` prints for a service are enough for all that the library asks: in every test,
//! since all come as a user who has these and no others. Here: that this would be seen.

use serde_json::json;

use crate::support::{children, roles::ask_for_more, server::TestServer};

/// what Redis refuses fails the test whose server it was, though nobody looks at the answer.
#[tokio::test]
#[should_panic(expected = "test-library: command getdel (toplevel)")]
async fn a_refusal_fails_the_test() {
    ask_for_more(&TestServer::builder().start().await).await;
}

/// also inside of a script, and before a server is killed, whose log ends with it.
#[tokio::test]
#[should_panic(expected = "test-library: command getdel (lua)")]
async fn a_refusal_in_a_script_fails_the_test() {
    let server = TestServer::builder().start().await;
    let mut connection = connection(&server).await;
    let load = ["SCRIPT", "LOAD", "#!lua\nreturn redis.call('GETDEL', KEYS[1])"];
    let sha: String =
        redis::cmd(load[0]).arg(&load[1..]).query_async(&mut connection).await.unwrap();
    let mut run = redis::cmd("EVALSHA");
    let ran: redis::RedisResult<()> =
        run.arg(sha).arg(&["1", "vst:{00}:pkce:x"]).query_async(&mut connection).await;
    assert!(ran.unwrap_err().to_string().contains("user executing the script"));
    server.kill9();
}

/// the server that tests share outlives them; each looks at its own end.
#[tokio::test]
async fn a_refusal_by_the_shared_server_fails_the_test() {
    let mut child = children::spawn("ask-for-more", &json!(null)).await;
    assert_eq!(child.next().await, Some(json!("refused")));
    assert!(!child.wait().await);
}

/// What a test wants to be refused it takes, and that is all.
#[tokio::test]
async fn a_refusal_that_is_wanted_is_none() {
    let server = TestServer::builder().start().await;
    ask_for_more(&server).await;
    assert_eq!(server.refused(), ["test-library: command getdel (toplevel)"]);
    assert_eq!(server.refused(), [""; 0]);
}

async fn connection(server: &TestServer) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}
