//! What `top` draws: the same look as the status page's, as far as a terminal has room.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph, Row, Table},
};
use vestibule::inspect::Snapshot;

use crate::commands::when::{detail, long, relative, utc_seconds};

/// Overdue for so long, somebody should know.
const LATE_MS: u64 = 60_000;

pub(super) struct View<'a> {
    pub(super) seen: Option<&'a Snapshot>,
    /// Why there is no newer look.
    pub(super) fault: Option<&'a str>,
    /// Whether keys are heard.
    pub(super) keys: bool,
}

impl View<'_> {
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let [top, numbers, troubles, pair, events] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(3),
            Constraint::Fill(2),
            Constraint::Fill(3),
            Constraint::Fill(3),
        ])
        .areas(frame.area());
        frame.render_widget(self.head(), top);
        let Some(seen) = self.seen else { return };
        frame.render_widget(figures(seen), numbers);
        frame.render_widget(needs(seen), troubles);
        let [left, right] =
            Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(2).areas(pair);
        frame.render_widget(scheduled(seen), left);
        frame.render_widget(exchanges(seen), right);
        frame.render_widget(happened(seen, events), events);
    }

    fn head(&self) -> Line<'_> {
        let mut spans = vec![Span::from("Vestibule").bold(), Span::from("  ")];
        match (self.fault, self.seen) {
            (Some(fault), _) => {
                let what = format!("Redis does not answer; what is below is old: {fault}");
                spans.push(Span::from(what).red().bold());
            }
            (None, Some(seen)) => {
                let ping = format!("{}.{} ms", seen.ping_us / 1000, seen.ping_us % 1000 / 100);
                let at = utc_seconds(seen.now_ms);
                let at = at.get(11..19).unwrap_or(&at);
                spans.push(Span::from(format!("{at} UTC by Redis, which answers in {ping}")));
            }
            (None, None) => spans.push(Span::from("looking …")),
        }
        if self.keys {
            spans.push(Span::from("   q quits, space looks now").dim());
        }
        Line::from(spans)
    }
}

fn figures(seen: &Snapshot) -> Paragraph<'static> {
    let late_ms = seen.oldest_due_ms.map_or(0, |at| seen.now_ms.saturating_sub(at));
    let active = seen.census.connections.get("active").copied().unwrap_or(0);
    let stuck: u64 = seen
        .census
        .troubles
        .iter()
        .filter(|trouble| trouble.status != "failing")
        .map(|trouble| trouble.count)
        .sum();
    let paused = seen.paused.len() as u64;
    let bad = |is_bad: bool| if is_bad { Style::new().fg(Color::Red) } else { Style::new() };
    let mut spans = Vec::new();
    for (name, count, style) in [
        ("overdue", seen.overdue, bad(late_ms > LATE_MS)),
        ("scheduled", seen.due.count, Style::new()),
        ("stuck", stuck + seen.census.others, bad(stuck > 0)),
        ("failing", seen.census.failing, Style::new()),
        ("active", active, Style::new()),
        ("exchanges", seen.leases.count, Style::new()),
        ("paused", paused, bad(paused > 0)),
        ("orphans", seen.orphans.count, Style::new()),
        ("undelivered", seen.undelivered, Style::new()),
    ] {
        spans.push(Span::styled(format!("{count} "), style.add_modifier(Modifier::BOLD)));
        spans.push(Span::styled(format!("{name}   "), style));
    }
    let oldest = if seen.overdue == 0 {
        "Nothing is overdue.".to_owned()
    } else {
        format!("The oldest has been due for {}.", long(late_ms))
    };
    let refused: Vec<_> = seen.refused.iter().copied().collect();
    let refused = if refused.is_empty() {
        String::new()
    } else {
        format!(" This user of Redis may not see: {}.", refused.join(", "))
    };
    Paragraph::new(vec![Line::from(spans), Line::from(oldest + &refused).dim()])
}

fn needs(seen: &Snapshot) -> Table<'static> {
    let paused = seen.paused.iter().map(|connector| {
        let reason = connector.reason.clone().unwrap_or_default();
        let since = connector.since_ms.map_or_else(String::new, |at| relative(at, seen.now_ms));
        Row::new(["paused".to_owned(), connector.slug.clone(), "1".to_owned(), since, reason])
            .style(Style::new().fg(Color::Red))
    });
    let troubles = seen.census.troubles.iter().map(|trouble| {
        let since = trouble.since_ms.map_or_else(String::new, |at| relative(at, seen.now_ms));
        Row::new([
            trouble.status.replace('_', " "),
            trouble.name.clone(),
            trouble.count.to_string(),
            since,
            trouble.reason.clone(),
        ])
    });
    let widths = [
        Constraint::Length(13),
        Constraint::Length(18),
        Constraint::Length(7),
        Constraint::Length(12),
        Constraint::Fill(1),
    ];
    table("What needs somebody", ["what", "of", "count", "last", "why"], widths)
        .rows(paused.chain(troubles))
}

fn scheduled(seen: &Snapshot) -> Table<'static> {
    let rows = seen.due.rows.iter().map(|row| {
        let failures = match (&row.last_error, row.attempts) {
            (_, 0) => String::new(),
            (None, attempts) => attempts.to_string(),
            (Some(error), attempts) => format!("{attempts}: {error}"),
        };
        let style = if row.due_at_ms < seen.now_ms.saturating_sub(LATE_MS) {
            Style::new().fg(Color::Red)
        } else {
            Style::new()
        };
        let due = relative(row.due_at_ms, seen.now_ms);
        Row::new([due, row.connector.clone(), row.id.clone(), failures]).style(style)
    });
    let widths = [
        Constraint::Length(11),
        Constraint::Length(10),
        Constraint::Length(34),
        Constraint::Fill(1),
    ];
    table(&format!("Due ({})", seen.due.count), ["when", "of", "connection", "failures"], widths)
        .rows(rows)
}

fn exchanges(seen: &Snapshot) -> Table<'static> {
    let rows = seen.leases.rows.iter().map(|row| {
        Row::new([row.by.clone(), row.connector.clone(), relative(row.ends_at_ms, seen.now_ms)])
    });
    let widths = [Constraint::Fill(1), Constraint::Length(10), Constraint::Length(11)];
    table(&format!("Who holds what ({})", seen.leases.count), ["who", "of", "ends"], widths)
        .rows(rows)
}

fn happened(seen: &Snapshot, area: Rect) -> Table<'static> {
    let room = usize::from(area.height);
    let rows = seen.events.iter().take(room).map(|event| {
        Row::new([
            relative(event.at_ms, seen.now_ms),
            event.kind.replace('_', " "),
            event.name.clone(),
            detail(&event.detail),
            event.subject_id.clone(),
        ])
    });
    let widths = [
        Constraint::Length(12),
        Constraint::Length(26),
        Constraint::Length(14),
        Constraint::Fill(1),
        Constraint::Length(34),
    ];
    table("What happened last", ["when", "what", "of", "more", "id"], widths).rows(rows)
}

fn table<const N: usize>(
    title: &str,
    head: [&'static str; N],
    widths: [Constraint; N],
) -> Table<'static> {
    let block = Block::new().borders(Borders::TOP).title(format!(" {title} "));
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::DIM));
    Table::new(Vec::<Row<'static>>::new(), widths).header(head).block(block)
}
