//! `top`, printed once and live in a terminal.

use std::process::Stdio;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};

use crate::{
    scene::{CANARY, PATIENCE, Scene},
    support::server,
};

/// Where there is no terminal one look is printed, as people see it or as one object.
#[tokio::test]
async fn one_look_is_printed() {
    let scene = Scene::shared().await;
    let ids = scene.populate(server::shared().await).await;
    let said = scene.look(&["top"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    for part in [
        "Vestibule  ",
        " overdue ",
        "What needs somebody",
        "Who holds what (1)",
        "What happened last",
        "exhausted",
        "worker-a",
        ids.overdue.as_str(),
    ] {
        assert!(said.out.contains(part), "{part}:\n{}", said.out);
    }
    assert!(!said.out.contains(CANARY) && !said.out.contains('\x1b'), "{}", said.out);
    let json = scene.json(&["top"]).await;
    assert_eq!(json["overdue"], 1, "{json}");
    assert!(
        json["due"]["rows"].as_array().unwrap().iter().any(|row| row["id"] == ids.overdue.as_str())
    );
    assert!(!json.to_string().contains(CANARY), "{json}");
}

/// In a terminal it draws on a screen of its own, looks again, and gives the terminal back when it is
/// told to quit: by a key, or by a signal.
#[tokio::test]
async fn a_terminal_is_given_back() {
    let scene = Scene::shared().await;
    scene.populate(server::shared().await).await;
    let binary = env!("CARGO_BIN_EXE_vestibule-worker");
    for quits in ["q", "\x03"] {
        let run = format!(
            "stty rows 40 cols 120; exec {binary} top --every-s 1 --redis {} --prefix {}",
            scene.redis_for(&["top"]),
            scene.prefix
        );
        // A terminal, as `script` makes one.
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &run, "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut screen = Vec::new();
        let drawn = async {
            let text = |screen: &[u8]| String::from_utf8_lossy(screen).into_owned();
            while !text(&screen).contains("undelivered") {
                assert!(stdout.read_buf(&mut screen).await.unwrap() > 0, "{}", text(&screen));
            }
            stdin.write_all(quits.as_bytes()).await.unwrap();
            stdout.read_to_end(&mut screen).await.unwrap();
            text(&screen)
        };
        let screen = timeout(PATIENCE, drawn).await.expect("it draws, and it quits");
        let (entered, left) = (screen.find("\x1b[?1049h"), screen.rfind("\x1b[?1049l"));
        assert!(entered.is_some() && left > entered, "{screen:?}");
        assert_eq!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().code(), Some(0));
    }
}
