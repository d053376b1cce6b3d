//! `keys reseal`: passes of the sweep until nothing is left to do.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use vestibule::sweep::{Budget, Reseal};

use super::super::{Code, Context, Shown};

/// What one pass sees to, so that there is progress to be seen.
const AT_ONCE: u64 = 1_000;
/// While others are at it.
const PAUSE: Duration = Duration::from_millis(200);

/// Exit code 0 if all secrets are sealed by the key that seals, 1 if some do not open or could not be
/// asked for.
pub(super) async fn run(context: &Context<'_>) -> anyhow::Result<Shown> {
    let vestibule = context.vestibule().await?;
    let (stop, total) = (CancellationToken::new(), vestibule.key_usage().await?.behind());
    let bar = bar(total, context.json);
    let (mut done, mut errors, mut limit) = (0, 0, AT_ONCE);
    let usage = loop {
        let budget = Budget { limit, ..Budget::default() };
        let swept = Reseal { budget }.pass(&vestibule, &stop).await;
        done += swept.done;
        errors += swept.errors;
        let usage = vestibule.key_usage().await?;
        bar.set_position(total.saturating_sub(usage.behind()));
        // A whole round in which there was nothing but what does not open is the last one.
        let idle = swept.done + swept.changed == 0 && swept.held == 0;
        if usage.behind() == 0 || errors > 0 || idle && limit > AT_ONCE {
            break usage;
        }
        limit = if idle { u64::MAX } else { AT_ONCE };
        if swept.held > 0 {
            sleep(PAUSE).await;
        }
    };
    bar.finish_and_clear();
    let (behind, primary) = (usage.behind(), usage.ring().first());
    let primary = primary.map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{done} secrets sealed anew by key {primary}");
    if behind > 0 {
        text = format!(
            "{text}; {behind} are not: what does not open keeps its key in use, and `sweep reseal` \
             names it"
        );
    }
    if errors > 0 {
        text = format!("{text}; the store failed {errors} times: try again");
    }
    let code = if behind + errors > 0 { Code::Error } else { Code::Done };
    let json = json!({ "primary": primary, "done": done, "behind": behind, "errors": errors });
    Ok(Shown::done(text, json).with_code(code))
}

/// On a terminal, and to standard error: what is printed is for programs too.
fn bar(total: u64, json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template("{bar:40} {pos}/{len} sealed anew, {per_sec}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
