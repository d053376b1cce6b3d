//! `why`: where a record stands, what happens next, and what to do, in plain sentences.

use vestibule::{inspect::Sought, store};

use super::{
    Context, Shown,
    story::{self, Story},
    subject::{self, Id, Subject},
};
use crate::config::load_retention;

/// So many events are told.
const EVENTS: u16 = 5;

pub(super) async fn run(id: &Id, context: &Context<'_>) -> anyhow::Result<Shown> {
    let inspector = context.inspector()?;
    let subject = id.subject(&inspector).await?;
    let now_ms = inspector.now_ms().await?;
    let retention = load_retention(&context.connect)?;
    let story: Option<Story> = match &subject {
        Subject::Connection(id) => match inspector.connection(id).await? {
            None => None,
            Some(row) => {
                let connector = match row.connector.as_deref().and_then(subject::slug) {
                    // Where there are no keys it is found by a walk: only if that says something.
                    Some(slug) if row.status == "active" => {
                        subject::connector(context, &inspector, &slug).await?
                    }
                    _ => None,
                };
                Some(story::connection(&row, connector.as_ref(), retention, now_ms))
            }
        },
        Subject::Pending(id) => {
            let (row, outcome) = (inspector.pending(*id).await?, inspector.outcome(*id).await?);
            let waiters = inspector.waiters(*id).await?.rows;
            let poll = inspector.poll(*id).await?;
            story::pending(row.as_ref(), outcome.as_ref(), &waiters, poll.as_ref(), now_ms)
        }
        Subject::Headers(id) => {
            inspector.headers_at(*id).await?.map(|row| story::headers(&row, retention, now_ms))
        }
        Subject::Token(id) => inspector.token(*id).await?.map(|row| story::token(&row, now_ms)),
        Subject::State(digest) => {
            inspector.state(*digest).await?.map(|row| story::state(&row, now_ms))
        }
        Subject::Connector(slug) => subject::connector(context, &inspector, slug)
            .await?
            .map(|row| story::connector(&row, now_ms)),
    };
    let Some(mut story) = story else {
        return Ok(Shown::not_found(format!(
            "there is no {} {}: it never was, or Redis has forgotten it",
            subject.kind(),
            subject.id()
        )));
    };
    let of = match &subject {
        Subject::Connection(id) => Some((id.shard(), store::Subject::Connection)),
        Subject::Headers(id) => Some((id.shard(), store::Subject::Headers)),
        // The others have no events, or none that lead to them.
        _ => None,
    };
    if let Some((shard, kind)) = of {
        let sought = Sought::of(kind, subject.id());
        let (events, _) = inspector.events_of(Some(shard), &sought, 0, EVENTS).await?;
        story.history.extend(story::events(&events, now_ms));
    }
    Ok(Shown::done(story.text(), &story))
}
