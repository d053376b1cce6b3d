//! Of a connection.

use std::time::Duration;

use vestibule::inspect::{ConnectionView, ConnectorView};

use super::{
    super::when::{long, relative},
    Story, kept, paused, when_paused_ends,
};

/// So long overdue, and somebody should look for the workers.
const LATE_MS: u64 = 60_000;

pub(in super::super) fn connection(
    row: &ConnectionView,
    connector: Option<&ConnectorView>,
    retention: Option<Duration>,
    now_ms: u64,
) -> Story {
    let mut story = Story::default();
    standing(row, retention, now_ms, &mut story);
    if row.status == "active" {
        exchange(row, now_ms, &mut story);
        schedule(row, connector, now_ms, &mut story);
    }
    history(row, now_ms, &mut story);
    story
}

fn standing(row: &ConnectionView, retention: Option<Duration>, now_ms: u64, story: &mut Story) {
    let since =
        row.status_at_ms.map(|at| format!(", {}", relative(at, now_ms))).unwrap_or_default();
    let reason = row.reason.as_deref().unwrap_or("no reason is on record");
    let of = row.connector.as_deref().map(|slug| format!(" of {slug}")).unwrap_or_default();
    let id = &row.id;
    match row.status.as_str() {
        "active" => {
            let token = match (row.has_secret, row.expires_at_ms) {
                (false, _) => "but no secret is stored, which should not be".to_owned(),
                (true, None) => "with an access token that has no stated end".to_owned(),
                (true, Some(at)) if at > now_ms => {
                    format!("with an access token that is good for another {}", long(at - now_ms))
                }
                (true, Some(at)) => {
                    format!("but its access token ran out {}", relative(at, now_ms))
                }
            };
            story.state.push(format!("This connection{of} is active, {token}."));
        }
        "needs_reauth" if row.reason.as_deref() == Some("not_signed_in") => {
            story.state.push(format!("Nobody has signed in to this connection{of} yet."));
            story.next.push("Nothing, until its owner signs in.".to_owned());
            story.todo.push("Send its owner through the sign-in.".to_owned());
        }
        "needs_reauth" => {
            story.state.push(format!(
                "This connection{of} needs its owner to sign in again{since}: {reason}."
            ));
            story.next.push("Nothing is refreshed or vended until that.".to_owned());
            story.todo.push(
                "Send its owner through the sign-in again, for this same connection.".to_owned(),
            );
        }
        "exhausted" => {
            story
                .state
                .push(format!("The refresh of this connection{of} was given up{since}: {reason}."));
            story.next.push("Nothing, until somebody retries it.".to_owned());
            story.todo.push(format!("Mend the cause, then `vestibule-worker retry {id}`."));
        }
        "revoked" => {
            story.state.push(format!("This connection{of} was revoked{since}: {reason}."));
            story.next.push("Nothing; a new sign-in to it makes it active again.".to_owned());
        }
        "orphaned" => {
            story
                .state
                .push(format!("Access to this connection{of} was withdrawn{since}: {reason}."));
            story.next.push(format!(
                "Nothing is refreshed or vended. It is {}; until that access can be given back, with \
                 nothing lost.",
                kept(retention)
            ));
        }
        "deleted" => {
            let at = row.deleted_at_ms.map_or("a moment ago".to_owned(), |at| relative(at, now_ms));
            story.state.push(format!("This connection was deleted, {at}."));
            story.next.push(
                "What is left of it are receipts, for those who retry; Redis forgets them a minute \
                 after."
                    .to_owned(),
            );
        }
        "damaged" => {
            story.state.push(
                "Its record is damaged: it lacks what every connection has, or is of another type. \
                 Every verb leaves it as it is."
                    .to_owned(),
            );
            story.todo.push(format!(
                "See who wrote it: `redis-cli TYPE '{0}'`, `redis-cli HGETALL '{0}'`; then delete \
                 it, and let its owner sign in again.",
                row.key
            ));
        }
        other => story.state.push(format!("This connection{of} is {other}{since}: {reason}.")),
    }
}

/// What is under way, or was cut off.
fn exchange(row: &ConnectionView, now_ms: u64, story: &mut Story) {
    if let Some(lease) = &row.lease {
        let by = if lease.by.is_empty() { "Somebody" } else { &lease.by };
        let left = long(lease.ends_at_ms - now_ms.min(lease.ends_at_ms));
        story.state.push(format!("{by} refreshes it now, and has the lease for another {left}."));
        story.next.push(format!("If {by} dies, another one takes over when the lease has ended."));
    } else if let Some(undecided) = &row.undecided {
        let since =
            undecided.since_ms.map_or("some time ago".to_owned(), |at| relative(at, now_ms));
        story.state.push(format!(
            "Its refresh token was presented {since}, and nobody knows the answer: whoever did died, \
             or the answer was lost."
        ));
        story.next.push(
            "Whoever refreshes it next presents the same token again, as soon as the provider \
             forgives that, or once no journal can bring the answer any more."
                .to_owned(),
        );
    }
    if row.siblings > 0 {
        story.state.push(format!(
            "{} other answers of its provider are kept beside the current one, until a refresh \
             shows which of them lives.",
            row.siblings
        ));
    }
    if row.attempts > 0 {
        let first = row.failing_at_ms.map(|at| format!(", the first {}", relative(at, now_ms)));
        let last = row.error_at_ms.map(|at| format!(" ({})", relative(at, now_ms)));
        let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
        let error = row.last_error.as_deref().unwrap_or("nothing on record");
        story.state.push(match row.attempts {
            1 => format!("Its last refresh failed{last} with: {error}."),
            n => format!("Its last {n} refreshes failed{first}; the last one{last} with: {error}."),
        });
    }
}

/// When it is refreshed, and what is in the way.
fn schedule(
    row: &ConnectionView,
    connector: Option<&ConnectorView>,
    now_ms: u64,
    story: &mut Story,
) {
    let id = &row.id;
    let connector = connector.filter(|connector| connector.paused);
    if let Some(connector) = connector {
        story.state.push(paused(connector));
        story.next.push(when_paused_ends(connector, now_ms));
        let slug = &connector.slug;
        story.todo.push(format!("Mend its client, then `vestibule-worker resume {slug}`."));
    }
    let Some(next) = row.next_at_ms.filter(|_| row.has_refresh_token) else {
        let why = if row.has_refresh_token {
            "it has no time to be"
        } else {
            "there is nothing to refresh it with"
        };
        story.next.push(format!("It is not refreshed: {why}."));
        if row.expires_at_ms.is_some_and(|at| at <= now_ms) {
            story.todo.push("Send its owner through the sign-in again.".to_owned());
        }
        return;
    };
    if next > now_ms {
        let what = if row.attempts > 0 { "tried again" } else { "refreshed" };
        story.next.push(format!("It is {what} in {}.", long(next - now_ms)));
        if row.attempts > 0 {
            story.todo.push(format!(
                "To try at once, once the cause is mended: `vestibule-worker retry {id}`."
            ));
        }
        return;
    }
    if row.lease.is_some() {
        return;
    }
    match row.due_at_ms {
        Some(at) if at > now_ms => story.next.push(format!(
            "It is due; a worker has claimed it or put it off, and it is looked at again in {}.",
            long(at - now_ms)
        )),
        Some(at) if connector.is_some() => {
            story.next.push(format!("It has been due for {}.", long(now_ms - at)));
        }
        Some(at) => {
            story.next.push(format!(
                "It has been due for {}: the next pass takes it.",
                long(now_ms - at)
            ));
            if now_ms - at > LATE_MS {
                story.todo.push(
                    "No worker takes it: does one run, with this connector in its configuration? \
                     `vestibule-worker doctor`, and its /readyz."
                        .to_owned(),
                );
            }
        }
        None => {
            story.next.push(
                "It is due, and not on the index that workers go by: only who asks for its token \
                 refreshes it."
                    .to_owned(),
            );
            story.todo.push(format!("`vestibule-worker refresh {id}` puts that right."));
        }
    }
}

fn history(row: &ConnectionView, now_ms: u64, story: &mut Story) {
    if let Some(at) = row.created_at_ms {
        story.history.push(format!("It was created {}.", relative(at, now_ms)));
    }
    let (Some(grant), Some(ver)) = (row.grant, row.ver) else { return };
    if row.has_secret {
        let from = match row.answered_at_ms {
            Some(at) => format!("by a refresh, {}", relative(at, now_ms)),
            None => "by a sign-in".to_owned(),
        };
        story
            .history
            .push(format!("Its secret is number {ver}, under grant {grant}, and came {from}."));
    } else if ver > 0 {
        story
            .history
            .push(format!("Its secrets are gone ({ver} so far); its grant is number {grant}."));
    }
}
