//! One step about caps and pauses, asked of one store.

use std::time::Duration;

use vestibule::store::{
    ConnectorName, Pause, Paused, Release, Reserve, Reserved, Shard, Store, StoreError,
};

use super::{
    ask::{Answer, SHARD, digest},
    step_limit::LimitStep,
};
use crate::support::verbs::BY;

pub(super) async fn ask(store: &dyn Store, step: &LimitStep) -> Result<Answer, StoreError> {
    Ok(match *step {
        LimitStep::Reserve { of, holder, lease, caps, in_line } => {
            let (connector, holder) = (connector(of), digest(b'h', holder));
            let reserve = Reserve { connector, holder, lease, caps, in_line };
            match store.reserve(reserve).await? {
                Reserved::Go { probe: true } => Answer::new("reserve probe"),
                Reserved::Go { probe: false } => Answer::new("reserve go"),
                Reserved::Later(wait) => Answer::new("reserve later").span(wait),
                Reserved::Paused { remaining, reason } => {
                    Answer::new("reserve paused").span(remaining).detail(reason)
                }
            }
        }
        LimitStep::Release { of, holder, caps, made } => {
            let (connector, holder) = (connector(of), digest(b'h', holder));
            store.release(Release { connector, holder, caps, made }).await?;
            Answer::new("release")
        }
        LimitStep::Pause { of, request, first } => {
            let (connector, request) = (connector(of), digest(b'r', request));
            let longest = Duration::from_secs(100);
            let pause =
                Pause { connector, request, reason: "invalid_client", first, longest, by: BY };
            match store.pause_connector(pause).await? {
                Paused::Paused { remaining } => Answer::new("pause paused").span(remaining),
                Paused::Again { remaining } => Answer::new("pause again").span(remaining),
                Paused::Still { remaining } => Answer::new("pause still").span(remaining),
            }
        }
        LimitStep::Resume { of, request } => {
            let resumed = store.resume_connector(connector(of), digest(b'r', request), BY).await?;
            Answer::new(format!("resume {resumed:?}"))
        }
        LimitStep::Read { of } => match store.read_pause(connector(of)).await? {
            Some(row) => Answer::new("pause read")
                .detail(format!("{} {}", row.reason, row.times))
                .time(" since", Some(row.since_ms), store)
                .time(" until", Some(row.until_ms), store),
            None => Answer::new("pause read nothing"),
        },
    })
}

fn connector(number: u8) -> ConnectorName<'static> {
    ConnectorName { shard: Shard::new(SHARD), slug: ["github", "gitlab"][usize::from(number)] }
}
