//! One step about turns at polling, asked of one store.

use vestibule::store::{AcquirePoll, PollRelease, PollTurn, ReleasePoll, Store, StoreError};

use super::{
    ask::{Answer, connection, digest, request},
    ask_pending::pending,
    step_device::DeviceStep,
};

pub(super) async fn ask(store: &dyn Store, step: &DeviceStep) -> Result<Answer, StoreError> {
    Ok(match *step {
        DeviceStep::HasStored { id, request: by } => {
            let stored = store.has_stored(&connection(id), request(by)).await?;
            Answer::new(format!("has stored {stored}"))
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
            match store.release_poll(turn).await? {
                PollRelease::Released { next_in } => Answer::new("release Released").span(next_in),
                PollRelease::Lost => Answer::new("release Lost"),
            }
        }
    })
}
