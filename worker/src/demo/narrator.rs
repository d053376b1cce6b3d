//! Tells what happens, while it happens.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use super::Options;

/// Where the story goes: standard output, or standard error beside `--json`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrator {
    started: Instant,
    to_stderr: bool,
    is_colored: bool,
}

impl Narrator {
    pub(super) fn new(options: &Options) -> Self {
        let is_terminal =
            if options.json { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        let is_unwanted = options.no_color.as_ref().is_some_and(|value| !value.is_empty());
        Self {
            started: Instant::now(),
            to_stderr: options.json,
            is_colored: is_terminal && !is_unwanted,
        }
    }

    /// Opens a scene.
    pub(super) fn title(&self, text: impl Display) {
        self.print(&format!("\n{}", self.paint(BOLD, text)));
    }

    /// One thing that happened, and when.
    pub(super) fn say(&self, text: impl Display) {
        let elapsed = format!("{:6.1}s", self.elapsed().as_secs_f64());
        self.print(&format!("{}  {text}", self.paint(DIM, elapsed)));
    }

    /// More about it.
    pub(super) fn add(&self, text: impl Display) {
        self.print(&format!("         {text}"));
    }

    /// Something that should not have happened.
    pub(super) fn complain(&self, text: impl Display) {
        self.say(self.paint(RED, text));
    }

    /// What somebody at another terminal would see.
    pub(super) fn show<L: Display>(&self, lines: impl IntoIterator<Item = L>) {
        for line in lines {
            self.print(&format!("         {} {line}", self.paint(DIM, "|")));
        }
    }

    /// As it is: the table.
    pub(super) fn print(&self, text: &str) {
        // A reader that went away, as `| head` does, does not stop the demo from cleaning up.
        let _ = if self.to_stderr {
            writeln!(io::stderr().lock(), "{text}")
        } else {
            writeln!(io::stdout().lock(), "{text}")
        };
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn is_colored(&self) -> bool {
        self.is_colored
    }

    fn paint(&self, style: &str, text: impl Display) -> String {
        if self.is_colored { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_string() }
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
