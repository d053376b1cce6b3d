//! Examples that need a Redis: they are run as they are.

use crate::support::{server, server::TestServer};

#[path = "../../examples/device_login.rs"]
#[allow(dead_code, reason = "its `main` is for those who run it by hand")]
mod device_login;

/// two replicas behind one port, one code, one poller, and a token on both.
#[tokio::test]
async fn device_login_plays_to_its_end() {
    let server: &TestServer = server::shared().await;
    device_login::run(&server.url()).await.unwrap();
}
