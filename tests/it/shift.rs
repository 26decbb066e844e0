//! Visitors come little by little, and what they get is watched: in virtual time, with everything as late as AWS is.

use std::time::Duration;

use adstage::failure::End;
use adstage::journal;
use adstage::model::*;
use adstage::steps::Consult;
use aws_sdk_cloudwatch::types::StateValue;

use adstage::sandbox::{Misfortune, When};

use crate::yard::{Operator, Seen, Visitors, Yard, shown};

/// r1 serves; the next release is to come in two shifts.
async fn ready() -> Yard {
    let mut yard = Yard::lifelike().await;
    yard.operator("ana").await.deploy().await.well();
    let shift = |percent| Shift { percent, watch: Seconds(300) };
    yard.environment.timing.watching.shifts = [10, 100].map(shift).into();
    yard
}

/// Another release whose pages fail so: `fails=20` is one in twenty, and health checks do not see it.
fn release(yard: &mut Yard, script: &str) {
    yard.environment.services[1].variables.insert("SANDBOX_SCRIPT".into(), script.into());
}

/// Twenty requests a second at each route.
fn crowd(yard: &Yard) -> Vec<Visitors> {
    (0..10).map(|_| yard.visitors()).collect()
}

async fn gone(crowd: Vec<Visitors>) -> Seen {
    let mut all = Seen::default();
    for visitors in crowd {
        let seen = visitors.gone().await;
        all.count += seen.count;
        all.failed.extend(seen.failed);
    }
    all
}

async fn state(yard: &Yard) -> String {
    shown(&yard.environment, &yard.operator("onlooker").await.world().await)
}

/// Everything the journal holds of the newest operation.
async fn record(operator: &Operator) -> String {
    let scope = Scope::of(&operator.environment);
    let newest = operator.world().await.records.operations[0].id.clone();
    let (_, events) = journal::operation(&operator.aws.dynamodb, &scope, &newest).await.unwrap().unwrap();
    format!("{events:?}")
}

#[tokio::test(start_paused = true)]
async fn one_request_in_twenty_failing_at_ten_percent_is_caught_in_the_first_watch_and_taken_back() {
    let mut yard = ready().await;
    let before = state(&yard).await;
    release(&mut yard, "fails=20");
    let visitors = crowd(&yard);
    let joe = yard.operator("joe").await;
    let ending = joe.deploy().await.ending();
    let seen = gone(visitors).await;
    let failure = ending.failure.unwrap();
    assert_eq!((ending.outcome, failure.end), (Outcome::RolledBack, End::RolledBack), "{failure:?}");
    let evidence = failure.evidence.iter().find(|line| line.contains("requests failed")).unwrap_or_else(|| panic!("{failure:?}"));
    assert_eq!(joe.saw().iter().filter(|line| *line == "watch …").count(), 1, "{:?}", joe.saw());
    assert!(seen.failed.len() * 100 < seen.count, "{} of {} failed", seen.failed.len(), seen.count);
    assert!(seen.failed.iter().all(|failed| failed.contains("web-r2")), "{:?}", seen.failed);
    assert!(record(&joe).await.contains(evidence));
    assert_eq!(state(&yard).await, format!("{before}, r2 bad"));

    let after = crowd(&yard);
    yard.clock.sleep(Duration::from_secs(60)).await;
    let seen = gone(after).await;
    assert!(seen.failed.is_empty() && seen.count > 1_000, "{} of {}", seen.failed.len(), seen.count);
}

#[tokio::test(start_paused = true)]
async fn a_good_release_comes_in_two_shifts_and_the_record_says_what_its_visitors_got() {
    let mut yard = ready().await;
    release(&mut yard, "");
    let visitors = crowd(&yard);
    let joe = yard.operator("joe").await;
    joe.deploy().await.well();
    assert_eq!(gone(visitors).await.failed, [""; 0]);
    let record = record(&joe).await;
    assert!(record.contains("0 failed, as well served as by web-r1"), "{record}");
    assert!(state(&yard).await.contains("r2 good"));
}

#[tokio::test(start_paused = true)]
async fn too_few_requests_are_said_and_never_called_well() {
    let mut yard = ready().await;
    release(&mut yard, "");
    let joe = yard.operator("joe").await;
    joe.deploy().await.well();
    let record = record(&joe).await;
    assert!(record.contains("too few requests to judge it by: 0 of 100") && !record.contains("as well served"), "{record}");
}

/// Until the first shift is watched.
async fn in_the_shift(yard: &Yard, joe: &Operator) {
    let watching = async {
        while !joe.saw().iter().any(|line| line == "watch …") {
            joe.clock.sleep(Duration::from_secs(1)).await;
        }
        joe.clock.sleep(Duration::from_secs(30)).await;
    };
    tokio::select! {
        went = joe.deploy() => panic!("{went:?}"),
        () = watching => {}
    }
    joe.line.cut(true);
    let world = yard.operator("onlooker").await.world().await;
    assert_eq!(serving(&yard.environment, &world).to_string(), "r2 10 % · r1 90 %");
    assert_eq!(drift(&yard.environment, &world), [], "an open shift is no drift");
}

#[tokio::test(start_paused = true)]
async fn killed_in_the_middle_of_a_shift_it_is_resumed_undone_or_rolled_back() {
    for how in ["resume", "abort", "rollback"] {
        let mut yard = ready().await;
        let before = state(&yard).await;
        release(&mut yard, "");
        let visitors = yard.visitors();
        let joe = yard.operator("joe").await;
        in_the_shift(&yard, &joe).await;
        let maya = yard.operator("maya").await;
        match how {
            "resume" => {
                maya.resume(false).await.well();
                let state = state(&yard).await;
                assert!(state.contains("web: r1 x2 at 0, r2 x2 at 100") && state.contains("r2 good"), "{state}");
            }
            "abort" => {
                assert_eq!(maya.resume(true).await.ending().failure, None);
                assert_eq!(state(&yard).await, format!("{before}, r2 untried"));
            }
            _ => {
                maya.rollback().await.well();
                let state = state(&yard).await;
                assert!(state.contains("web: r1 x2 at 100, r2 x2 at 0") && state.contains("r2 bad"), "{state}");
            }
        }
        assert_eq!(visitors.gone().await.failed, [""; 0], "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_out_of_a_shift_that_fails_leaves_the_shift_as_it_was_and_is_typed_again() {
    let mut yard = ready().await;
    release(&mut yard, "");
    let visitors = yard.visitors();
    in_the_shift(&yard, &yard.operator("joe").await).await;
    let half = state(&yard).await;
    yard.sandbox.faults().schedule(When::Action("ModifyRule".into(), 1), Misfortune::Refuse(400, "TargetGroupAssociationLimit".into()));
    let maya = yard.operator("maya").await;
    let ending = maya.rollback().await.ending();
    let failure = ending.failure.unwrap();
    assert_eq!(ending.outcome, Outcome::RolledBack, "{failure:?}");
    assert_eq!(state(&yard).await, half, "nobody is moved to a release that was under watch");
    assert_eq!(failure.next[0], "adstage rollback production", "{failure:?}");
    assert_ne!(maya.world().await.records.head.unwrap().check_after, [0; 0], "nobody has looked yet");
    yard.operator("kim").await.rollback().await.well();
    let state = state(&yard).await;
    assert!(state.contains("web: r1 x2 at 100, r2 x2 at 0") && state.contains("r2 bad"), "{state}");
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

/// A release that fails one request in twenty gets everybody at once.
async fn at_once(on_trouble: OnTrouble) -> (Yard, Vec<Visitors>) {
    let mut yard = ready().await;
    let watching = &mut yard.environment.timing.watching;
    (watching.shifts, watching.on_trouble) = (Vec::new(), on_trouble);
    yard.environment.timing.watch = Seconds(300);
    release(&mut yard, "fails=20");
    let visitors = crowd(&yard);
    (yard, visitors)
}

#[tokio::test(start_paused = true)]
async fn trouble_once_everybody_is_there_is_said_or_taken_back_by_itself() {
    let (yard, visitors) = at_once(OnTrouble::Ask).await;
    let ending = yard.operator("joe").await.deploy().await.ending();
    let failure = ending.failure.unwrap();
    assert_eq!((ending.outcome, failure.end), (Outcome::Deployed, End::Trouble), "nobody is there to be asked");
    assert_eq!(failure.next[0], "adstage rollback production");
    assert!(state(&yard).await.contains("web: r1 x2 at 0, r2 x2 at 100"));
    drop(gone(visitors).await);

    let (yard, visitors) = at_once(OnTrouble::Rollback).await;
    let ending = yard.operator("joe").await.deploy().await.ending();
    assert_eq!((ending.outcome, ending.failure.unwrap().end), (Outcome::RolledBack, End::RolledBack));
    drop(gone(visitors).await);
    let state = state(&yard).await;
    assert!(state.contains("web: r1 x2 at 100;") && state.contains("r2 bad"), "{state}");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_at_the_terminal_is_asked_and_silence_changes_nothing() {
    for answer in [Some(true), Some(false), None] {
        let (yard, visitors) = at_once(OnTrouble::Ask).await;
        let joe = yard.operator("joe").await;
        let waiting = std::sync::Mutex::new(Vec::new());
        *joe.consult.lock().unwrap() = Consult::with(move |_| {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            match answer {
                Some(answer) => _ = sender.send(answer),
                None => waiting.lock().unwrap().push(sender),
            }
            receiver
        });
        let ending = joe.deploy().await.ending();
        let wanted = if answer == Some(true) { Outcome::RolledBack } else { Outcome::Deployed };
        assert_eq!(ending.outcome, wanted, "{answer:?}");
        if wanted == Outcome::Deployed {
            // It heals like any other, and everything that it could be left for is still there.
            let groups =
                joe.aws.autoscaling.groups_named(&["shop-production-web-r1".into(), "shop-production-web-r2".into()]).await.unwrap();
            let seen: Vec<_> = groups.iter().map(|found| (found.health_type.as_str(), found.group.desired)).collect();
            assert_eq!(seen, [("EC2,ELB", 2), ("EC2,ELB", 2)], "{answer:?}");
        }
        let said = joe.events.lock().unwrap().iter().any(|event| format!("{event:?}").contains("nobody answered within 2m"));
        assert_eq!(said, answer.is_none());
        drop(gone(visitors).await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_goes_off_is_trouble_and_one_that_had_before_is_not() {
    for (before, outcome) in [(true, Outcome::Deployed), (false, Outcome::RolledBack)] {
        let mut yard = ready().await;
        yard.environment.timing.watching.alarms = vec!["checkout".into(), "missing".into()];
        release(&mut yard, "");
        let joe = yard.operator("joe").await;
        let client = yard.cloudwatch();
        client.put_metric_alarm().alarm_name("checkout").send().await.unwrap();
        let goes_off = async || {
            let set = client.set_alarm_state().alarm_name("checkout").state_value(StateValue::Alarm);
            set.state_reason("12 errors in a minute").send().await.unwrap();
        };
        if before {
            goes_off().await;
        }
        let watching = async {
            while !joe.saw().iter().any(|line| line == "watch …") {
                joe.clock.sleep(Duration::from_secs(1)).await;
            }
            joe.clock.sleep(Duration::from_secs(20)).await;
            goes_off().await;
        };
        let (went, ()) = tokio::join!(joe.deploy(), watching);
        let ending = went.ending();
        assert_eq!(ending.outcome, outcome, "{ending:?}");
        let record = record(&joe).await;
        let wanted = if before { "alarm checkout had gone off before" } else { "alarm checkout has gone off: 12 errors in a minute" };
        assert!(record.contains(wanted), "{record}");
        assert!(!before || record.contains("there is no alarm missing"), "{record}");
    }
}
