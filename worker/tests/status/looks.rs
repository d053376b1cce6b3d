//! In a real browser: hostile strings are text, the page's own style applies and nothing else, and a
//! phone shows all of it.

use std::path::Path;

use redis::{AsyncCommands, aio::MultiplexedConnection};
use vestibule::store::{HeadersId, Shard, SweepName};
use vestibule_worker::status::Access;

use super::{
    browser::{browse, screenshot},
    scene::{Scene, now_ms, until},
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
    let _: () =
        raw.zadd(scene.names.due(shard), format!("x{hostile}"), f64::INFINITY).await.unwrap();
    let _: () = raw.zadd(scene.names.orphans(shard), &hostile, 1).await.unwrap();
    let _: () = raw.zadd(scene.names.orphans(shard), format!("conn:{hostile}"), 2).await.unwrap();
    let fields = ["type", "kind", "id", "name", "owner", "actor", "host", "at", "detail"];
    for stream in [scene.names.history(shard), scene.names.outbox(shard)] {
        let mut event = redis::cmd("XADD");
        event.arg(stream).arg("*").arg(&hostile).arg(&hostile);
        for name in fields {
            event.arg(name).arg(&hostile);
        }
        let _: String = event.query_async(&mut raw).await.unwrap();
    }
    aside(scene, &mut raw).await;
}

/// Header credentials that are whole but for their texts, and one that is nothing but hostile; turns at
/// sweeping, with times that nobody can reckon with; what is counted by key; and the meta key.
async fn aside(scene: &Scene, raw: &mut MultiplexedConnection) {
    let hostile = &*hostile();
    for (number, status) in ["active", "needs_update", "orphaned", hostile].into_iter().enumerate()
    {
        let id: HeadersId = format!("c3{number:032x}").parse().unwrap();
        let texts = ["reason", "was", "was_reason", "mode", "identity", "client", "name", "key"];
        let times = ["v", "ver", "status_at", "created_at", "updated_at", "secret"];
        let fields = texts.into_iter().chain(times).map(|field| (field, hostile));
        let fields: Vec<_> = fields.chain([("status", status)]).collect();
        let _: () = raw.hset_multiple(scene.names.headers(id), &fields).await.unwrap();
        let (sealed, member) = (scene.names.sealed(id.shard()), format!("headers:{id}"));
        let _: () = raw.zadd(&sealed, &member, 7).await.unwrap();
        let _: () = raw.zadd(&sealed, format!("{number}{hostile}"), f64::INFINITY).await.unwrap();
        let _: () = raw.zadd(scene.names.orphans(id.shard()), member, 7).await.unwrap();
    }
    let fields = ["holder", "lease_ends_at", "cursor", "last_at", "found", "done", "ended"];
    for sweep in SweepName::ALL {
        for (shard, value) in [(1, hostile), (2, "18446744073709551615")] {
            let key = scene.names.sweep(Shard::new(shard), sweep);
            let fields = fields.map(|field| (field, value));
            let _: () = raw.hset_multiple(key, &fields).await.unwrap();
        }
    }
    let _: () = raw.set(scene.names.meta(), hostile).await.unwrap();
}

/// Nothing that stands in Redis runs or changes the page: neither under its policy nor, for the
/// policy is the second line, without one. Its own style is let in, and all of it fits a phone.
#[tokio::test]
async fn a_hostile_writer_cannot_break_out() {
    let scene = Scene::shared().await;
    poison(&scene, server::shared().await).await;
    let served = Served::of(&scene, Access::ThisMachine).await;
    let page = served.page().await;
    assert!(page.matches("&lt;script&gt;").count() > 24, "the strings are not there: {page}");
    for (part, row) in [
        ("What needs somebody", "needs new headers"),
        ("Orphans", "<div>headers</div>"),
        ("Sweeps", "<div>reseal"),
        ("What happened last", "&lt;script&gt;"),
    ] {
        let (_, section) = page.split_once(&format!("<h2>{part}")).unwrap();
        assert!(section.split("</section>").next().unwrap().contains(row), "{part}: {section}");
    }
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("<svg"));
    assert!(!page.contains(['\u{202e}', '\u{2066}', '\0']), "what turns text around is there");

    let url = format!("{}/?refresh=off", served.origin);
    let browsed = browse(&url).await;
    assert_eq!(browsed.console, Vec::<String>::new());
    // Nothing was opened or closed but by the page itself.
    for element in ["<section", "<table", "<tr", "<td", "<style", "<h2", "<title", "<div"] {
        let count = |html: &str| html.matches(element).count();
        assert_eq!(count(&browsed.dom), count(&page), "{element}");
    }
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
    until("away", || async { served.page().await.contains("Redis does not answer") }).await;
    screenshot(&url, &dir.join("status-gone.png"), (1180, 700), false).await;
}
