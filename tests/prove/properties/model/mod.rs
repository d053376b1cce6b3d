//! The protocol of a refresh, exhaustively: begin, commit and fail by workers that crash and pause
//! anywhere, under a provider whose grace does its worst.

pub mod record;
pub mod world;

use stateright::{Checker, Model};

use self::{
    record::Guards,
    world::{Step, World},
};
use super::{Progress, Verdict};

/// What takes a moment.
pub const SMALL: World = World {
    workers: 3,
    credentials: 1,
    attempts: 4,
    crashes: 1,
    rotates: true,
    guards: Guards::ALL,
};

/// Three workers and two credentials.
pub async fn two_credentials(attempts: u64, progress: Progress) -> Verdict {
    let attempts = u8::try_from(attempts).unwrap();
    let verdict = explore(World { credentials: 2, attempts, ..SMALL });
    progress(attempts.into());
    verdict
}

/// All states that can be reached, or a way to one that must not be.
pub fn explore(world: World) -> Verdict {
    let checker = world.checker().threads(2).spawn_bfs().join();
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        let steps = steps_to(&world, property, path.into_vec());
        return Err(format!("{property}: not after {steps:?}"));
    }
    Ok(format!("{} states, all of them good", checker.unique_state_count()))
}

/// A way to break the property, up to the step that does.
pub fn way_to_break(world: World, property: &'static str) -> Vec<Step> {
    let checker = world.checker().spawn_bfs().join();
    let path = checker.discovery(property).unwrap_or_else(|| panic!("nobody noticed: {property}"));
    steps_to(&world, property, path.into_vec())
}

fn steps_to(world: &World, property: &str, path: Vec<(world::State, Option<Step>)>) -> Vec<Step> {
    let properties = world.properties();
    let holds = properties.iter().find(|it| it.name == property).unwrap().condition;
    let good = path.into_iter().take_while(|(state, _)| holds(world, state));
    good.filter_map(|(_, step)| step).collect()
}
