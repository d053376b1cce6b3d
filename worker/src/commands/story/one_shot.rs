//! Of pendings, temp tokens and PKCE states.

use vestibule::inspect::{OneShotView, OutcomeView, PollView, WaiterView};

use super::{
    super::when::{long, relative},
    Story,
};

/// `None` if nothing is known of it.
pub(in super::super) fn pending(
    row: Option<&OneShotView>,
    outcome: Option<&OutcomeView>,
    waiters: &[WaiterView],
    poll: Option<&PollView>,
    now_ms: u64,
) -> Option<Story> {
    let mut story = Story::default();
    let state = row.map(|row| row.state.as_str());
    match (state, outcome) {
        (None, None) => return None,
        (Some("live"), _) => {
            let row = row?;
            story.state.push(format!(
                "This pending waits for somebody to complete it, for another {}.",
                long(row.left_ms)
            ));
            if row.bound {
                story.state.push("Only the person that it is bound to may.".to_owned());
            }
            story.next.push("If nobody does, it expires, and whoever waits is told so.".to_owned());
            story.todo.push(format!("To withdraw it: `vestibule-worker cancel {}`.", row.id));
        }
        (Some("expired"), _) => {
            story.state.push("This pending has expired: nobody completed it in time.".to_owned());
            story
                .next
                .push("Redis forgets it within a minute. Who still needs it asks anew.".to_owned());
        }
        (Some("damaged"), _) => {
            story
                .state
                .push("Its record is damaged, and every verb leaves it as it is.".to_owned());
        }
        (state, outcome) => {
            let how = outcome.map(|it| it.how.as_str()).or(state).unwrap_or("ended");
            let at = outcome.map(|it| it.at_ms).or(row.and_then(|row| row.ended_at_ms));
            let at = at.map_or(String::new(), |at| format!(", {}", relative(at, now_ms)));
            let by = outcome.map(|it| it.by.as_str()).filter(|by| !by.is_empty());
            let by = by.map_or(String::new(), |by| format!(" by {by}"));
            story.state.push(format!("This pending was {how}{by}{at}."));
            story.next.push(match outcome {
                Some(_) => "Whoever waits is told so, until Redis forgets the outcome.".to_owned(),
                None => "Redis forgets it within a minute.".to_owned(),
            });
        }
    }
    if !waiters.is_empty() {
        let who: Vec<_> = waiters.iter().map(|waiter| waiter.by.as_str()).collect();
        story.state.push(format!("Waiting for it: {}.", who.join(", ")));
    } else if state == Some("live") {
        story.state.push("Nobody waits for it.".to_owned());
    }
    if let Some(poll) = poll.filter(|_| state == Some("live")) {
        if let Some(by) = &poll.by {
            story.state.push(format!("{by} is polling its provider."));
        }
        if let Some(next) = poll.next_at_ms.filter(|next| *next > now_ms) {
            story.next.push(format!("Its provider is polled {}.", relative(next, now_ms)));
        }
        if let Some(failures @ 1..) = poll.failures {
            story.state.push(format!("The last {failures} polls brought no answer."));
        }
    }
    history(row, now_ms, &mut story);
    Some(story)
}

pub(in super::super) fn token(row: &OneShotView, now_ms: u64) -> Story {
    let mut story = Story::default();
    story.state.push(match row.state.as_str() {
        "live" => format!("This temp token is valid for another {}.", long(row.left_ms)),
        "expired" => "This temp token has expired.".to_owned(),
        "revoked" => {
            let at =
                row.ended_at_ms.map_or(String::new(), |at| format!(", {}", relative(at, now_ms)));
            format!("This temp token was revoked by itself{at}.")
        }
        "dropped" => {
            "This temp token was revoked with all others of its resource or its scope.".to_owned()
        }
        other => format!("Its record is {other}."),
    });
    if row.state == "live" {
        story.next.push("It expires by itself.".to_owned());
        story.todo.push(format!("To end it now: `vestibule-worker revoke {}`.", row.id));
    } else {
        story.next.push("Nobody accepts it any more. Its link must be made anew.".to_owned());
    }
    history(Some(row), now_ms, &mut story);
    story
}

pub(in super::super) fn state(row: &OneShotView, now_ms: u64) -> Story {
    let mut story = Story::default();
    match row.state.as_str() {
        "live" => {
            let left = long(row.left_ms);
            story.state.push(format!(
                "This sign-in is under way: its callback may come for another {left}."
            ));
            story.next.push("The callback takes it, once; or it expires.".to_owned());
        }
        "taken" => {
            let at = row.ended_at_ms.map_or("just now".to_owned(), |at| relative(at, now_ms));
            story.state.push(format!("Its callback has come, {at}: nobody can use it again."));
            story.next.push(
                "The same request is answered again for a minute after that; every other one is \
                 refused."
                    .to_owned(),
            );
        }
        "expired" => {
            story.state.push("Its callback did not come in time.".to_owned());
            story.next.push("The user begins again.".to_owned());
        }
        other => story.state.push(format!("Its record is {other}.")),
    }
    history(Some(row), now_ms, &mut story);
    story
}

fn history(row: Option<&OneShotView>, now_ms: u64, story: &mut Story) {
    let Some(row) = row else { return };
    if let Some(at) = row.created_at_ms {
        story.history.push(format!("It was made {}.", relative(at, now_ms)));
    }
    if !row.display.is_empty() {
        story.history.push(format!("Its writer says: {}", row.display));
    }
}
