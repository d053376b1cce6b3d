//! One step about turns at polling, asked of one store.

use vestibule::store::{AcquirePoll, PollTurn, ReleasePoll, Store, StoreError};

use super::{
    ask::{Answer, digest},
    ask_pending::{dedup, pending},
    step_device::DeviceStep,
};

pub(super) async fn ask(store: &dyn Store, step: &DeviceStep) -> Result<Answer, StoreError> {
    Ok(match *step {
        DeviceStep::Find { id, dedup: number } => {
            let found = store.find_pending(pending(id).namespace(), dedup(id, number)).await?;
            match found {
                Some(found) => Answer::new("find").detail(found.to_string()),
                None => Answer::new("find nothing"),
            }
        }
        DeviceStep::Acquire { id, holder, lease, interval } => {
            let (id, holder) = (pending(id), digest(b'h', holder));
            let turn = AcquirePoll { id, holder, lease, interval, instance: "test" };
            match store.acquire_poll(turn).await? {
                PollTurn::Yours { interval, failures, inherited } => {
                    let word = if inherited { "yours inherited" } else { "yours" };
                    let detail = format!("{failures} {interval:?}");
                    Answer::new(format!("acquire {word}")).detail(detail)
                }
                PollTurn::Later(wait) => Answer::new("acquire later").span(wait),
                PollTurn::Ended => Answer::new("acquire ended"),
            }
        }
        DeviceStep::Release { id, holder, next_in, interval, failures } => {
            let (id, holder) = (pending(id), digest(b'h', holder));
            let turn = ReleasePoll { id, holder, next_in, interval, failures };
            Answer::new(format!("release {:?}", store.release_poll(turn).await?))
        }
    })
}
