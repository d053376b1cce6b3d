//! A server one of whose scripts lacks a guard: what a property shows of real processes is shown to
//! fail without it.

use std::{fs, path::Path};

use crate::support::{proxy::Proxy, server::TestServer};

/// The way to it; dropping it ends that.
pub struct Patched(Proxy);

impl Patched {
    /// In front of `server`, where the script of this name has `to` in place of `from`.
    pub async fn of(server: &TestServer, script: &str, from: &str, to: &str) -> Self {
        let text = whole(script);
        assert_eq!(text.matches(from).count(), 1, "{script} is another now");
        let patched = text.replace(from, to);
        let mut raw = server.raw().await;
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(&patched).query_async::<()>(&mut raw).await.unwrap();
        let proxy = Proxy::start(server.port());
        let hash = |text: &str| redis::Script::new(text).get_hash().to_owned();
        proxy.rewrite_requests(hash(&text).as_bytes(), hash(&patched).as_bytes());
        Self(proxy)
    }

    /// For the library's user.
    pub fn url(&self) -> String {
        self.0.url()
    }
}

/// As the library sends it: each part in the place of the line that includes it.
fn whole(name: &str) -> String {
    let lua = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
    let text = fs::read_to_string(lua.join(name).with_extension("lua")).unwrap();
    let line = |line: &str| match line.strip_prefix("-- include: ") {
        Some(part) => whole(part),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
