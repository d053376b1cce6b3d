//! What a person sees while it runs, and what stays of it in `docs/results.md`.

use std::{
    fmt::Write as _,
    io::IsTerminal,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    properties::{Progress, Verdict},
    support::results,
};

pub struct Report {
    only: Option<String>,
    scale: f64,
    lines: Vec<Line>,
}

struct Line {
    area: &'static str,
    name: String,
    verdict: Verdict,
    took: Duration,
}

impl Report {
    pub fn new(only: Option<String>, scale: f64) -> Self {
        Self { only, scale, lines: Vec::new() }
    }

    /// Runs one property at `full` size times the scale, unless another area was asked for.
    pub async fn property<F>(
        &mut self,
        area: &'static str,
        name: &'static str,
        full: u64,
        property: impl FnOnce(u64, Progress) -> F,
    ) where
        F: Future<Output = Verdict>,
    {
        let size = ((full as f64 * self.scale) as u64).max(1);
        self.run(area, name.to_owned(), size, property).await;
    }

    /// Runs a property without its guard, at a size that no scale shrinks: it must fail, or the
    /// property shows nothing.
    pub async fn guard<F>(
        &mut self,
        area: &'static str,
        name: &str,
        without: &str,
        size: u64,
        property: impl FnOnce(u64, Progress) -> F,
    ) where
        F: Future<Output = Verdict>,
    {
        let inverted = async |size, progress| match property(size, progress).await {
            Ok(figure) => Err(format!("it holds all the same, so it shows nothing: {figure}")),
            // Something must have broken: a run in which nothing happened shows nothing either.
            Err(found) if found.contains("runs in which no") => Err(found),
            Err(found) => Ok(format!("fails, as it must: {found}")),
        };
        self.run(area, format!("({name}, with {without})"), size, inverted).await;
    }

    async fn run<F>(
        &mut self,
        area: &'static str,
        name: String,
        size: u64,
        property: impl FnOnce(u64, Progress) -> F,
    ) where
        F: Future<Output = Verdict>,
    {
        if self.only.as_deref().is_some_and(|only| only != area) {
            return;
        }
        let bar = ProgressBar::new(size).with_style(
            ProgressStyle::with_template("{msg:44} {wide_bar} {pos}/{len} {eta}").unwrap(),
        );
        bar.set_message(format!("{area}: {name}"));
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let watched = bar.clone();
        let progress: Progress = Arc::new(move |done| watched.inc(done));
        let started = Instant::now();
        // A property that panics has failed; the others still run.
        let verdict = AssertUnwindSafe(property(size, progress)).catch_unwind().await;
        let verdict = verdict.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(format!("panicked: {}", text.unwrap_or_else(|| "see above".to_owned())))
        });
        bar.finish_and_clear();
        let took = started.elapsed();
        let (word, text) = match &verdict {
            Ok(figure) => ("PASS", figure),
            Err(found) => ("FAIL", found),
        };
        println!("{word}  {area:11}  {name}: {text} ({:.1} s)", took.as_secs_f64());
        self.lines.push(Line { area, name, verdict, took });
    }

    /// Writes the results, prints the summary line, and says whether all passed.
    pub fn finish(self) -> bool {
        let failed = self.lines.iter().filter(|line| line.verdict.is_err()).count();
        if self.lines.is_empty() {
            println!("no area is called {}", self.only.as_deref().unwrap_or_default());
        }
        // Only what ran at full size may speak for the project.
        if (self.scale - 1.0).abs() < f64::EPSILON && !self.lines.is_empty() {
            let before = self.only.is_some().then(|| results::section("prove")).flatten();
            results::write_section("prove", &table(&self.rows(&before.unwrap_or_default())));
        }
        println!("{} passed, {failed} failed", self.lines.len() - failed);
        failed == 0 && !self.lines.is_empty()
    }

    /// The rows of this run, and of what was `before` those of the other areas: where they were.
    fn rows(&self, before: &str) -> Vec<String> {
        let ran = |area: &str| self.lines.iter().any(|line| line.area == area);
        let area = |row: &str| row.split('|').nth(1).unwrap_or_default().trim().to_owned();
        let of = |name: &str| {
            self.lines.iter().filter(|line| line.area == name).map(Line::row).collect::<Vec<_>>()
        };
        let (mut rows, mut put) = (Vec::new(), Vec::new());
        for row in before.lines().skip_while(|line| !line.starts_with("|--")).skip(1) {
            let name = area(row);
            if !ran(&name) {
                rows.push(row.to_owned());
            } else if !put.contains(&name) {
                rows.extend(of(&name));
                put.push(name);
            }
        }
        for line in &self.lines {
            if !put.iter().any(|name| name == line.area) {
                rows.extend(of(line.area));
                put.push(line.area.to_owned());
            }
        }
        rows
    }
}

impl Line {
    fn row(&self) -> String {
        let (word, text) = match &self.verdict {
            Ok(figure) => ("PASS", figure),
            Err(found) => ("**FAIL**", found),
        };
        let (seconds, text) = (self.took.as_secs_f64(), text.replace('|', "/"));
        format!("| {} | {} | {text} | {word} | {seconds:.1} |", self.area, self.name)
    }
}

fn table(rows: &[String]) -> String {
    let seconds =
        |row: &String| row.rsplit('|').nth(1).and_then(|it| it.trim().parse::<f64>().ok());
    let mut table = format!(
        "Each area at full size, as it was run last: {:.0} s in all, on {} cores.\n\n\
         | area | property | figure | | s |\n|---|---|---|---|---|\n",
        rows.iter().filter_map(seconds).sum::<f64>(),
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    for row in rows {
        let _ = writeln!(table, "{row}");
    }
    table
}
