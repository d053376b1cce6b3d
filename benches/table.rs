//! What a person sees, and what stays of it in `docs/results.md`.

use std::time::Instant;

use comfy_table::presets::ASCII_MARKDOWN;

use crate::support::results;

/// What a figure should reach.
#[derive(Debug, Clone, Copy)]
pub enum Reach {
    AtLeast(f64),
    AtMost(f64),
}

/// The table of one run.
pub struct Table {
    only: Option<String>,
    whole: bool,
    rows: comfy_table::Table,
    below: usize,
    started: Instant,
}

impl Table {
    pub fn new(only: Option<String>, scale: f64) -> Self {
        let mut rows = comfy_table::Table::new();
        rows.load_style(ASCII_MARKDOWN);
        rows.set_header(["area", "what", "against", "ratio", "reach", "", "measured"]);
        let whole = only.is_none() && (scale - 1.0).abs() < f64::EPSILON;
        Self { only, whole, rows, below: 0, started: Instant::now() }
    }

    pub fn wants(&self, area: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == area)
    }

    /// A row with a figure to reach.
    pub fn judge(
        &mut self,
        [area, what, against]: [&str; 3],
        figure: f64,
        reach: Reach,
        measured: &str,
    ) {
        let (reaches, wanted) = match reach {
            Reach::AtLeast(least) => (figure >= least, format!("≥ {least}")),
            Reach::AtMost(most) => (figure <= most, format!("≤ {most}")),
        };
        self.below += usize::from(!reaches);
        let word = if reaches { "PASS" } else { "below" };
        let figure = format!("{figure:.2}");
        eprintln!("{word:5}  {area}: {what} / {against}: {figure} ({wanted}); {measured}");
        self.rows.add_row([area, what, against, &figure, &wanted, word, measured]);
    }

    /// A row whose ratio is to be known, with nothing to reach.
    pub fn compare(&mut self, [area, what, against]: [&str; 3], ratio: f64, measured: &str) {
        let ratio = format!("{ratio:.2}");
        eprintln!("       {area}: {what} / {against}: {ratio}; {measured}");
        self.rows.add_row([area, what, against, &ratio, "", "", measured]);
    }

    /// A row that only tells.
    pub fn tell(&mut self, [area, what, against]: [&str; 3], measured: &str) {
        eprintln!("       {area}: {what} / {against}: {measured}");
        self.rows.add_row([area, what, against, "", "", "", measured]);
    }

    pub fn finish(self) {
        if self.rows.is_empty() {
            println!("no area is called {}", self.only.as_deref().unwrap_or_default());
            return;
        }
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let seconds = self.started.elapsed().as_secs_f64();
        println!("{}\n", self.rows);
        println!("{} below what they should reach; {seconds:.0} s, {cores} cores", self.below);
        // Only a whole run may speak for the project.
        if self.whole {
            let told = format!(
                "{seconds:.0} s in all, on {cores} cores. Each ratio is the median over rounds in which \
                 the contestants took turns.\n\n{}\n",
                self.rows
            );
            results::write_section("bench", &told);
        }
    }
}
