//! The words, without a lock.

use super::*;
use crate::model::{LockState, OperationId};

fn joes() -> LockRecord {
    LockRecord {
        state: LockState::Held,
        who: "joe".into(),
        host: "runner-7".into(),
        via: "https://ci.example.com/8841".into(),
        doing: "deploying r412".into(),
        operation: Some(OperationId("01JOE".into())),
        stage: "await".into(),
        since: "2026-11-22T14:02:11Z".into(),
        eta_s: Some(720),
        lease_ms: 60_000,
        ..LockRecord::default()
    }
}

fn attempt(waited: u64) -> Attempt<'static> {
    Attempt {
        subject: "production",
        command: "adstage deploy production",
        environment: Some("production"),
        overrides: true,
        waited: Duration::from_secs(waited),
        now: "2026-11-22T14:05:31Z".parse().expect("a time"),
    }
}

fn told(failure: &Failure) -> String {
    format!("{} {}\n{}\n> {}", failure.end.code(), failure.what, failure.because.join("\n"), failure.next.join("\n> "))
}

#[test]
fn m31_the_blocked_one_sees_who_from_where_since_when_for_how_long_and_what_to_type() {
    insta::assert_snapshot!(told(&held(&joes(), Duration::from_secs(2), &attempt(0))), @r"
    5 production is locked: joe is deploying r412
    since 3m ago, from runner-7 (https://ci.example.com/8841)
    at await, about 9m to go
    operation 01JOE
    if nobody is there any more, --lock-timeout 75s or longer takes over; shorter ones never do, however often they are repeated
    > adstage deploy production --lock-timeout 15m
    > adstage lock halt production
    > adstage lock show production
    ");
    // An image's lock has no commands of its own.
    let bake = Attempt { subject: "shop-ab12", command: "adstage image bake --from-base", environment: None, ..attempt(0) };
    let failure = held(&joes(), Duration::ZERO, &bake);
    assert_eq!(failure.next, ["adstage image bake --from-base --lock-timeout 15m"]);
}

#[test]
fn m19_whoever_retries_too_short_a_wait_is_told_what_is_enough() {
    let because = |quiet, waited| held(&joes(), Duration::from_secs(quiet), &attempt(waited)).because.join("\n");
    assert!(because(30, 30).contains("--lock-timeout 75s or longer"), "{}", because(30, 30));
    assert!(because(30, 30).contains("quiet for 30s, so perhaps gone"));
    assert!(because(4, 900).contains("alive: renewed 4s ago, as seen from here") && !because(4, 900).contains("75s"));
    // One look cannot tell.
    assert!(!because(0, 0).contains("alive") && !because(0, 0).contains("quiet"));
}

#[test]
fn a_waiter_is_told_what_it_waits_for_and_when_it_will_take_over() {
    let now = attempt(0).now;
    let line = |quiet| waiting(&joes(), Duration::from_secs(quiet), now);
    assert_eq!(line(2), "waiting for joe on runner-7: deploying r412, at await, about 9m to go");
    assert!(line(30).ends_with("about 9m to go, quiet for 30s: taken over in 40s if there is no sign"), "{}", line(30));
    let late = "2026-11-22T14:45:31Z".parse().expect("a time");
    assert!(waiting(&joes(), Duration::ZERO, late).ends_with("at await, longer than usual already"));
}

#[test]
fn m31_a_freeze_names_its_person_reason_and_end_and_both_ways_on() {
    let freeze = FreezeRecord {
        who: "maya".into(),
        reason: "year-end close".into(),
        made: String::new(),
        until: Some("2026-12-01T08:00:00Z".into()),
    };
    insta::assert_snapshot!(told(&frozen(&freeze, &attempt(900), &TimeZone::UTC)), @r#"
    5 production is frozen by maya until Tue 2026-12-01 08:00 (in 8d 17h)
    "year-end close"
    a person's freeze is never waited for
    > adstage deploy production --override-freeze "…"
    > adstage lock unfreeze production
    "#);
    let setup = Attempt { overrides: false, ..attempt(0) };
    assert_eq!(frozen(&freeze, &setup, &TimeZone::UTC).next, ["adstage lock unfreeze production"]);
}
