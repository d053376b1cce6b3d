//! Every interleaving of a small world, and what each guard is for: without it the checker
//! finds how an account is lost. The model is in `properties::model`; two credentials with more
//! attempts are part of `make prove`.

mod conformance;

use crate::properties::model::{
    SMALL, explore,
    record::Guards,
    way_to_break,
    world::{Step, World},
};

#[test]
fn no_interleaving_loses_an_account() {
    println!("{}", explore(SMALL).unwrap());
    println!("{}", explore(World { credentials: 2, attempts: 2, ..SMALL }).unwrap());
    println!("{}", explore(World { workers: 4, attempts: 3, crashes: 2, ..SMALL }).unwrap());
}

/// Of a provider that does not rotate too, which may give the same token at a sign-in.
#[test]
fn no_interleaving_crosses_a_grant() {
    println!("{}", explore(World { rotates: false, ..SMALL }).unwrap());
}

#[test]
fn without_the_lineage_check_the_live_token_is_dropped() {
    let world = World { guards: Guards { lineage: false, ..Guards::ALL }, ..SMALL };
    let story = way_to_break(world, "the live token is never dropped");
    assert!(matches!(story.last(), Some(Step::Commit { .. })), "{story:?}");
}

#[test]
fn without_alt_the_live_token_is_dropped() {
    let world = World { guards: Guards { alt: false, ..Guards::ALL }, ..SMALL };
    let story = way_to_break(world, "the live token is never dropped");
    assert!(matches!(story.last(), Some(Step::Commit { .. })), "{story:?}");
}

#[test]
fn without_the_grant_check_an_old_secret_is_stored() {
    let guards = Guards { grant: false, ..Guards::ALL };
    let story =
        way_to_break(World { rotates: false, guards, ..SMALL }, "no secret of another grant");
    assert!(matches!(story.last(), Some(Step::Commit { .. })), "{story:?}");
}

#[test]
fn without_the_fence_check_an_old_attempt_judges() {
    let world = World { guards: Guards { fence: false, ..Guards::ALL }, ..SMALL };
    let story = way_to_break(world, "the newest attempt judges");
    assert!(matches!(story.last(), Some(Step::Fail { .. })), "{story:?}");
}
