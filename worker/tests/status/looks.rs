//! In a real browser: hostile strings are text, the page's own style applies and nothing else, and a
//! phone shows all of it.

use std::path::Path;

use redis::AsyncCommands;
use vestibule_worker::status::Access;

use super::{
    browser::{browse, screenshot},
    scene::{Scene, now_ms},
    served::Served,
};
use crate::support::server::{self, TestServer};

/// Ends an element, an attribute and a style; runs in three ways; turns the text around; and is long.
fn hostile() -> String {
    let long = "W".repeat(10_000);
    format!(
        "</td></style></title>\"'><script>document.title='broken'</script><img src=x \
         onerror=\"document.title='broken'\"><svg onload=document.title='broken'>\u{202e}\u{2066}\
         &lt;{{{{1}}}}\r\n\0{long}"
    )
}

/// Everything that a user, a provider or another writer to Redis can have a say in.
async fn poison(scene: &Scene, server: &TestServer) {
    let ids = scene.populate(server).await;
    let mut raw = server.raw().await;
    let hostile = hostile();
    for id in [&ids.held, &ids.failing, &ids.exhausted, &ids.overdue] {
        let fields: Vec<_> = ["reason", "last_error", "lease_by", "connector"]
            .map(|name| (name, hostile.as_str()))
            .into();
        let _: () = raw.hset_multiple(scene.names.connection(id), &fields).await.unwrap();
    }
    let _: () = raw.hset(scene.pause_key(), "reason", &hostile).await.unwrap();
    let now = now_ms(&mut raw).await;
    let _: () = raw.zadd(scene.names.waiters(ids.waited), &hostile, now + 60_000).await.unwrap();
    let shard = ids.active.shard();
    let _: () = raw.zadd(scene.names.due(shard), &hostile, 1).await.unwrap();
    let _: () = raw.zadd(scene.names.orphans(shard), &hostile, 1).await.unwrap();
    let _: () = raw.zadd(scene.names.orphans(shard), format!("conn:{hostile}"), 2).await.unwrap();
    let fields = ["type", "kind", "id", "name", "owner", "actor", "host", "at", "detail"];
    let mut event = redis::cmd("XADD");
    event.arg(scene.names.history(shard)).arg("*");
    for name in fields {
        event.arg(name).arg(&hostile);
    }
    let _: String = event.query_async(&mut raw).await.unwrap();
}

/// Nothing that stands in Redis runs or changes the page: neither under its policy nor, for the
/// policy is the second line, without one. Its own style is let in, and all of it fits a phone.
#[tokio::test]
async fn a_hostile_writer_cannot_break_out() {
    let scene = Scene::shared().await;
    poison(&scene, server::shared().await).await;
    let served = Served::of(&scene, Access::ThisMachine).await;
    let page = served.page().await;
    assert!(page.matches("&lt;script&gt;").count() > 8, "the strings are not there: {page}");
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("<svg"));
    assert!(!page.contains(['\u{202e}', '\u{2066}', '\0']), "what turns text around is there");

    let url = format!("{}/?refresh=off", served.origin);
    let browsed = browse(&url).await;
    assert_eq!(browsed.console, Vec::<String>::new());
    assert!(browsed.title().ends_with("worker-a · vestibule"), "{}", browsed.title());
    let phone = browse(&served.measured(&page).await).await;
    assert!(phone.title().contains("worker-a · vestibule\" width 390 wide"), "{}", phone.title());
    assert!(phone.title().ends_with("wide "), "too wide for a phone: {}", phone.title());
}

/// That the browser says so when a policy is broken, a script runs, or a page is too wide: else the
/// test above would show nothing.
#[tokio::test]
async fn the_browser_tells_what_is_wrong() {
    let scene = Scene::shared().await;
    let served = Served::of(&scene, Access::ThisMachine).await;
    let page = served.page().await;
    let broken = page.replace(
        "<footer>",
        "<p style=\"width:500px\">wide</p><script>document.title='broken'</script><footer>",
    );
    let phone = browse(&served.measured(&broken).await).await;
    assert!(phone.title().contains("inner \"broken\" width 500 wide P."), "{}", phone.title());

    let policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"style-src 'none'\">";
    let refused = page.replace("<title>", &format!("{policy}<title>"));
    let url = served.measured(&refused).await.replace("/measure", "/inner");
    let browsed = browse(&url).await;
    assert!(browsed.console.iter().any(|line| line.contains("style-src")), "{browsed:?}");
}

/// With `SCREENSHOTS=DIR` in the environment the page is pictured there: to be looked at, and for
/// `docs/`.
#[tokio::test]
async fn pictures_are_taken() {
    let dir = std::env::var_os("SCREENSHOTS");
    let temporary = tempfile::tempdir().unwrap();
    let dir = dir.as_deref().map_or(temporary.path(), Path::new);
    let server = TestServer::builder().start().await;
    let scene = Scene::on(&server.url()).await;
    let served = Served::of(&scene, Access::ThisMachine).await;
    let url = format!("{}/?refresh=off", served.origin);
    screenshot(&url, &dir.join("status-empty.png"), (1180, 900), false).await;
    scene.populate(&server).await;
    let served = Served::of(&scene, Access::ThisMachine).await;
    let url = format!("{}/?refresh=off", served.origin);
    screenshot(&url, &dir.join("status.png"), (1100, 640), false).await;
    screenshot(&url, &dir.join("status-light.png"), (1180, 1900), false).await;
    screenshot(&url, &dir.join("status-dark.png"), (1180, 1900), true).await;
    let phone = served.measured(&served.page().await).await;
    screenshot(&phone, &dir.join("status-phone.png"), (500, 2600), false).await;
    server.kill9();
    served.readiness.set(false);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    screenshot(&url, &dir.join("status-gone.png"), (1180, 700), false).await;
}
