//! `top`: what goes on, live.

mod frame;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use ratatui::{
    DefaultTerminal, Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use vestibule::inspect::{Snapshot, Watch};

use self::frame::View;
use super::{Context, Shown};

/// How long a key may go unheard.
const HEARD_WITHIN: Duration = Duration::from_millis(100);
/// What is printed where there is no terminal: so wide, and so high.
const PRINTED: (u16, u16) = (140, 44);

/// How to look.
#[derive(Debug, Args)]
pub struct Options {
    /// Seconds between two looks
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every_s: u64,
    /// Print one look and exit: so it is with --json, and where there is no terminal
    #[arg(long)]
    once: bool,
}

/// Looks until `q`, Esc, Ctrl-C or SIGTERM. A Redis that is away is waited for, and told.
pub(super) async fn run(options: &Options, context: &Context<'_>) -> ExitCode {
    let done = match context.inspector() {
        Err(error) => Err(error),
        Ok(inspector) => {
            let watch = Watch::new(inspector);
            if options.once || context.json || !io::stdout().is_terminal() {
                once(&watch).await.map(Some)
            } else {
                let every = Duration::from_secs(options.every_s);
                let mut terminal = ratatui::init();
                let looked = live(&mut terminal, &watch, every).await;
                ratatui::restore();
                looked.map(|()| None)
            }
        }
    };
    match done {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(shown)) => shown.print(context.json),
        Err(error) => Shown::failure(&error).print(context.json),
    }
}

async fn once(watch: &Watch) -> anyhow::Result<Shown> {
    let seen = watch.look().await?;
    let mut terminal = Terminal::new(TestBackend::new(PRINTED.0, PRINTED.1))?;
    let view = View { seen: Some(&seen), fault: None, keys: false };
    terminal.draw(|frame| view.draw(frame))?;
    Ok(Shown::done(text(terminal.backend()), seen))
}

/// The screen as lines, without what is blank at their ends and at its own.
fn text(screen: &TestBackend) -> String {
    let buffer = screen.buffer();
    let width = usize::from(buffer.area.width).max(1);
    let lines = buffer.content.chunks(width).map(|row| {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    });
    let lines: Vec<_> = lines.collect();
    lines.join("\n").trim_end().to_owned()
}

async fn live(
    terminal: &mut DefaultTerminal,
    watch: &Watch,
    every: Duration,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut seen: Option<Snapshot> = None;
    terminal.draw(|frame| View { seen: None, fault: None, keys: true }.draw(frame))?;
    loop {
        let next = Instant::now() + every;
        let fault = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            looked = watch.look() => match looked {
                Ok(snapshot) => {
                    seen = Some(snapshot);
                    None
                }
                Err(error) => Some(error.to_string()),
            },
        };
        loop {
            let view = View { seen: seen.as_ref(), fault: fault.as_deref(), keys: true };
            terminal.draw(|frame| view.draw(frame))?;
            // The connection to Redis lives on other threads.
            match tokio::task::block_in_place(asked)? {
                Some(Asked::Quit) => return Ok(()),
                Some(Asked::Look) => break,
                Some(Asked::Draw) | None => {}
            }
            // Told to stop: it is heard above, at once.
            let is_told = tokio::select! {
                biased;
                _ = terminate.recv() => true,
                () = std::future::ready(()) => false,
            };
            if is_told {
                return Ok(());
            }
            if Instant::now() >= next {
                break;
            }
        }
    }
}

enum Asked {
    Quit,
    Look,
    /// The window has another size.
    Draw,
}

/// What somebody wants, if anybody does within a moment.
fn asked() -> io::Result<Option<Asked>> {
    if !event::poll(HEARD_WITHIN)? {
        return Ok(None);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                Some(Asked::Quit)
            }
            KeyCode::Char('q') | KeyCode::Esc => Some(Asked::Quit),
            KeyCode::Char(' ' | 'r') | KeyCode::Enter => Some(Asked::Look),
            _ => None,
        },
        Event::Resize(..) => Some(Asked::Draw),
        _ => None,
    })
}
