//! Chromium, without a window.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

/// What a browser made of a page.
#[derive(Debug)]
pub(crate) struct Browsed {
    pub(crate) dom: String,
    /// What was said on its console.
    pub(crate) console: Vec<String>,
}

impl Browsed {
    pub(crate) fn title(&self) -> &str {
        let (_, rest) = self.dom.split_once("<title>").unwrap_or_else(|| panic!("{self:?}"));
        rest.split("</title>").next().unwrap()
    }
}

/// Loads a page and gives it back as the browser has it, with scripts run.
pub(crate) async fn browse(url: &str) -> Browsed {
    let output = run(&["--dump-dom", "--enable-logging=stderr", url]).await;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let err = text(output.stderr);
    let console = err.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    let browsed = Browsed { dom: text(output.stdout), console };
    assert!(browsed.dom.contains("</html>"), "{browsed:?}\n{err}");
    browsed
}

/// Takes a picture of a page, of this size.
pub(crate) async fn screenshot(url: &str, to: &Path, size: (u32, u32), dark: bool) {
    let shot = format!("--screenshot={}", to.display());
    let size = format!("--window-size={},{}", size.0, size.1);
    let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!dark));
    run(&[&shot, &size, &scheme, url]).await;
    assert!(to.metadata().is_ok_and(|file| file.len() > 1000), "no picture of {url}");
}

async fn run(args: &[&str]) -> std::process::Output {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(Duration::from_secs(60), command.output()).await;
    output.expect("the browser ends").expect("the browser starts")
}

fn program() -> &'static str {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let is_there = |name: &&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
    };
    let found = names.into_iter().find(is_there);
    found.expect("there is no chromium on the PATH; .ci/setup installs it")
}
