use std::time::Duration;

use super::*;

const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";

fn signed_in(ledger: &mut Ledger, settings: &Settings, now: Instant) -> Tokens {
    let sanction = Sanction {
        subject: "ada".to_owned(),
        scope: "read write".to_owned(),
        redirect_uri: "http://localhost/cb".to_owned(),
        challenge: s256(VERIFIER),
    };
    let code = ledger.issue_code(sanction, now + settings.code_lifetime);
    ledger.redeem(&code, "http://localhost/cb", VERIFIER, settings, now).unwrap()
}

#[test]
fn the_grace_counts_from_the_first_rotation_and_ends_exactly() {
    let settings = Settings { reuse_grace: Duration::from_secs(30), ..Settings::default() };
    let mut ledger = Ledger::default();
    let start = Instant::now();
    let first = signed_in(&mut ledger, &settings, start).refresh_token;
    let mut present = |seconds_in: f64| {
        let now = start + Duration::from_secs_f64(seconds_in);
        ledger.refresh(&first, None, &settings, now).map(|tokens| tokens.refresh_token)
    };

    let successor = present(0.0).unwrap();
    let sibling = present(20.0).unwrap();
    let late_sibling = present(29.999).unwrap();
    assert!(successor != sibling && sibling != late_sibling);
    assert!(present(30.0).is_err(), "a replay does not prolong the grace");

    for dead in [successor, sibling, late_sibling] {
        assert!(ledger.refresh(&dead, None, &settings, start).is_err());
    }
    assert_eq!(ledger.counts.refreshes, 3);
    assert_eq!(ledger.counts.replays_in_grace, 2);
    assert_eq!(ledger.counts.reused_presentations, 3);
    assert_eq!(ledger.counts.family_revocations, 1);
}

#[test]
fn siblings_live_side_by_side() {
    let settings = Settings::default();
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let first = signed_in(&mut ledger, &settings, now).refresh_token;
    let successor = ledger.refresh(&first, None, &settings, now).unwrap();
    let sibling = ledger.refresh(&first, None, &settings, now).unwrap();
    for each in [&successor, &sibling] {
        assert_eq!(ledger.subject_of(&each.access_token, now), Some("ada"));
        assert!(ledger.refresh(&each.refresh_token, None, &settings, now).is_ok());
    }
    assert_eq!(ledger.counts.reused_presentations, 1);
}

#[test]
fn a_grace_that_mints_nothing_new_repeats_its_answer() {
    let settings = Settings { grace_mints_new: false, ..Settings::default() };
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let first = signed_in(&mut ledger, &settings, now).refresh_token;
    let successor = ledger.refresh(&first, None, &settings, now).unwrap();
    let again = ledger.refresh(&first, None, &settings, now).unwrap();
    assert_eq!(again.refresh_token, successor.refresh_token);
    assert_eq!(again.access_token, successor.access_token);
}

#[test]
fn a_scope_may_shrink_and_never_grow() {
    let settings = Settings::default();
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let first = signed_in(&mut ledger, &settings, now).refresh_token;
    assert!(ledger.refresh(&first, Some("read admin"), &settings, now).is_err());
    let tokens = ledger.refresh(&first, Some("read"), &settings, now).unwrap();
    assert_eq!(tokens.scope, "read");
    assert_eq!(ledger.counts.reused_presentations, 0, "a malformed request presents nothing");
}

#[test]
fn time_ends_codes_and_access_tokens() {
    let settings = Settings::default();
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let tokens = signed_in(&mut ledger, &settings, now);
    let almost = settings.access_lifetime_first.saturating_sub(Duration::from_millis(1));
    assert!(ledger.subject_of(&tokens.access_token, now + almost).is_some());
    let end = now + settings.access_lifetime_first;
    assert!(ledger.subject_of(&tokens.access_token, end).is_none());

    let sanction = Sanction {
        subject: String::new(),
        scope: String::new(),
        redirect_uri: String::new(),
        challenge: s256(VERIFIER),
    };
    let code = ledger.issue_code(sanction, now);
    assert!(ledger.redeem(&code, "", VERIFIER, &settings, now).is_err());
}
