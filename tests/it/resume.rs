//! `adstage resume`: an operation whose process is gone is brought to its end, or undone, from another machine. No visitor notices.

use std::time::Duration;

use adstage::aws::dynamodb::{Key, Write};
use adstage::failure::End;
use adstage::journal::{self, Entry};
use adstage::lock;
use adstage::model::*;
use adstage::plan::{SPREAD, StageName};
use adstage::sandbox::{Misfortune, When};

use crate::practice;
use crate::yard::{Operator, Went, Yard, shown};

/// A company whose r1 serves, and whose next release differs in `web` and `worker`.
async fn yard() -> Yard {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    change(&mut yard, "two");
    yard
}

fn change(yard: &mut Yard, greeting: &str) {
    for service in &mut yard.environment.services {
        service.variables.insert("GREETING".into(), greeting.into());
    }
}

/// Joe's deploy, whose process is gone as soon as this is so.
async fn killed_when(yard: &Yard, reached: impl Fn(&Operator) -> bool) -> Operator {
    let joe = yard.operator("joe").await;
    let watching = async {
        while !reached(&joe) {
            joe.clock.sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        went = joe.deploy() => panic!("through before: {went:?}"),
        () = watching => {}
    }
    joe.line.cut(true);
    joe
}

/// Changes outside the state table so far.
fn changes(yard: &Yard, action: &str) -> usize {
    yard.sandbox.faults().calls().iter().filter(|call| call.action == action && call.refused.is_none()).count()
}

async fn state(yard: &Yard) -> String {
    shown(&yard.environment, &yard.operator("onlooker").await.world().await)
}

/// The newest operation's row and the words of its events.
async fn journal_of(yard: &Yard, operator: &Operator) -> (OperationRecord, Vec<Entry>) {
    let environment = &yard.environment;
    let scope = Scope::of(environment);
    let newest = operator.world().await.records.operations[0].id.clone();
    let (operation, events) = journal::operation(&operator.aws.dynamodb, &scope, &newest).await.unwrap().unwrap();
    journal::fold(&events).unwrap();
    (operation.record, events.into_iter().map(|event| event.entry).collect())
}

const THROUGH: &str = "admin: r1 x1 at 0, r2 x1 at 100; web: r1 x2 at 0, r2 x2 at 100; worker: r1 x1, r2 x1; head: admin r2 web r2 worker r2; r1 good, r2 good";
const AS_BEFORE: &str = "admin: r1 x1 at 100; web: r1 x2 at 100; worker: r1 x1; head: admin r1 web r1 worker r1; r1 good, r2 untried";

/// Killed when a stage begins, then resumed or undone by somebody else, while visitors come by.
async fn story(stage: StageName, abort: bool) {
    let yard = yard().await;
    let visitors = yard.visitors();
    let made = changes(&yard, "CreateLaunchTemplate");
    let begun = |joe: &Operator| joe.saw().contains(&format!("{stage} …")) && changes(&yard, "CreateLaunchTemplate") > made;
    killed_when(&yard, begun).await;
    let maya = yard.operator("maya").await;
    let ending = maya.resume(abort).await.ending();
    assert_eq!(ending.failure, None, "{stage}, abort {abort}");
    let (outcome, expected) = if abort { (Outcome::RolledBack, AS_BEFORE) } else { (Outcome::Deployed, THROUGH) };
    assert_eq!((ending.outcome, state(&yard).await.as_str()), (outcome, expected), "{stage}, abort {abort}");
    yard.clock.sleep(SPREAD.duration()).await;
    assert_eq!(visitors.gone().await.failed, [""; 0], "{stage}, abort {abort}");
    let (operation, entries) = journal_of(&yard, &maya).await;
    assert_eq!((operation.by.as_str(), operation.ended), ("joe", Some(outcome)));
    let over = entries.iter().any(|entry| matches!(entry, Entry::TakenOver { to, .. } if to.contains("maya on maya-laptop")));
    assert!(over, "both names are in the journal: {entries:?}");
    assert!(matches!(maya.resume(false).await, Went::Nothing));
}

const STAGES: [StageName; 6] =
    [StageName::Prepare, StageName::Launch, StageName::Await, StageName::CutOver, StageName::Watch, StageName::Settle];

#[tokio::test(start_paused = true)]
async fn m36_whoever_comes_finishes_it_wherever_it_stopped() {
    for stage in STAGES {
        story(stage, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_undoes_it_wherever_it_stopped() {
    for stage in STAGES {
        story(stage, true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn m20_a_cutover_whose_process_dies_right_after_its_write_is_not_written_twice() {
    let yard = yard().await;
    let visitors = yard.visitors();
    let before = changes(&yard, "ModifyRule");
    // Two routes take the candidate in, then both move.
    killed_when(&yard, |_| changes(&yard, "ModifyRule") >= before + 4).await;
    let maya = yard.operator("maya").await;
    assert_eq!(maya.resume(false).await.ending().failure, None);
    assert_eq!((changes(&yard, "ModifyRule"), state(&yard).await.as_str()), (before + 4, THROUGH));
    let (_, entries) = journal_of(&yard, &maya).await;
    let found = |entry: &&Entry| matches!(entry, Entry::Step(key, journal::Deed::Succeeded { found: Some(text) }) if key.stage == "cut over" && text == "found done");
    assert!(entries.iter().filter(found).count() >= 1, "{entries:?}");
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn m22_one_route_of_two_has_moved() {
    for abort in [false, true] {
        let yard = yard().await;
        let visitors = yard.visitors();
        let before = changes(&yard, "ModifyRule");
        killed_when(&yard, |_| changes(&yard, "ModifyRule") >= before + 3).await;
        let went = yard.operator("maya").await.resume(abort).await;
        assert_eq!(went.ending().failure, None);
        assert_eq!(state(&yard).await, if abort { AS_BEFORE } else { THROUGH });
        yard.clock.sleep(SPREAD.duration()).await;
        assert_eq!(visitors.gone().await.failed, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_had_begun_nothing_is_closed() {
    let yard = yard().await;
    // The acquire, then the release's row.
    let before = changes(&yard, "TransactWriteItems");
    killed_when(&yard, |_| changes(&yard, "TransactWriteItems") > before).await;
    let maya = yard.operator("maya").await;
    let ending = maya.resume(false).await.ending();
    assert_eq!((ending.outcome, ending.failure), (Outcome::Refused, None));
    assert!(matches!(maya.resume(false).await, Went::Nothing));
}

#[tokio::test(start_paused = true)]
async fn a_day_later_it_is_only_undone() {
    let yard = yard().await;
    killed_when(&yard, |joe| joe.saw().contains(&"await …".to_string())).await;
    yard.clock.sleep(Duration::from_secs(25 * 3600)).await;
    let maya = yard.operator("maya").await;
    let Went::Stuck(failure) = maya.resume(false).await else { panic!("an old plan was gone on with") };
    assert_eq!((failure.end, failure.next[0].as_str()), (End::Refused, "adstage resume production --abort"));
    assert_eq!(maya.resume(true).await.ending().failure, None);
    assert_eq!(state(&yard).await, AS_BEFORE);
}

/// The scope of the yard's environment.
fn scope(yard: &Yard) -> Scope {
    Scope::of(&yard.environment)
}

#[tokio::test(start_paused = true)]
async fn m29_asked_to_stop_while_it_waits_a_deploy_hands_over_at_once_and_goes_on_in_other_hands() {
    let yard = yard().await;
    let visitors = yard.visitors();
    let (joe, maya) = (yard.operator("joe").await, yard.operator("maya").await);
    let halting = async {
        while !joe.saw().contains(&"await …".to_string()) {
            joe.clock.sleep(Duration::from_millis(100)).await;
        }
        let lock = lock::read(&maya.aws.dynamodb, &scope(&yard)).await.unwrap().lock.unwrap();
        lock::halt(&maya.aws.dynamodb, &maya.clock, &scope(&yard), &lock.operation.unwrap(), "maya", "it is late").await.unwrap();
        maya.clock.moment()
    };
    let (went, asked) = tokio::join!(joe.deploy(), halting);
    assert!(maya.clock.passed(asked) < Duration::from_secs(20), "{:?}", maya.clock.passed(asked));
    let ending = went.ending();
    let failure = ending.failure.unwrap();
    assert_eq!((ending.outcome, failure.end), (Outcome::Halted, End::TimedOut));
    assert_eq!(failure.what, "the deploy of r2 was stopped by maya, at await: it is late");
    let next = ["resume production", "resume production --abort", "rollback production"];
    assert_eq!(failure.next, next.map(|rest| format!("adstage {rest}")));
    let began = maya.clock.moment();
    assert_eq!(maya.resume(false).await.ending().failure, None);
    assert!(maya.clock.passed(began) < Duration::from_secs(180), "no lease was waited for");
    assert_eq!(state(&yard).await, THROUGH);
    let (_, entries) = journal_of(&yard, &maya).await;
    assert!(entries.iter().any(|entry| matches!(entry, Entry::Halted { by, .. } if by == "maya")), "{entries:?}");
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn m21_a_cutover_whose_reply_is_lost_is_read_back_and_not_written_twice() {
    let yard = yard().await;
    let before = changes(&yard, "ModifyRule");
    yard.sandbox.faults().schedule(When::Action("ModifyRule".into(), 3), Misfortune::LoseReply);
    yard.operator("joe").await.deploy().await.well();
    assert_eq!((changes(&yard, "ModifyRule") - before, state(&yard).await.as_str()), (4, THROUGH));
}

#[tokio::test(start_paused = true)]
async fn m23_what_was_made_by_a_call_whose_reply_is_lost_is_adopted() {
    let mut yard = yard().await;
    for action in ["CreateLaunchTemplate", "CreateTargetGroup", "CreateRule", "CreateAutoScalingGroup"] {
        yard.sandbox.faults().schedule(When::Action(action.into(), 2), Misfortune::LoseReply);
    }
    yard.operator("joe").await.deploy().await.well();
    assert_eq!(state(&yard).await, THROUGH);
    for action in ["RunInstances", "CreateImage"] {
        yard.sandbox.faults().schedule(When::Action(action.into(), 1), Misfortune::LoseReply);
    }
    yard.operator("builder").await.bake("2").await.well();
    change(&mut yard, "three");
    let maya = yard.operator("maya").await;
    let names: Vec<_> = maya.world().await.images.into_iter().map(|image| image.name).collect();
    assert_eq!(names.len(), 2, "one image a bake: {names:?}");
}

/// What the rule of `/` does from now on, by somebody's hand.
async fn by_hand(operator: &Operator, weights: &[(u32, u16)]) {
    let world = operator.world().await;
    let web: ServiceName = "web".parse().unwrap();
    let rule = world.rules.iter().find(|rule| rule.priority == Some(13)).unwrap();
    let arn = |release: u32| world.fleet(&web, ReleaseNumber(release)).unwrap().target_group.as_ref().unwrap().arn.clone();
    let groups: Vec<_> = weights.iter().map(|(release, weight)| (arn(*release), *weight)).collect();
    operator.aws.elbv2.set_weights(&rule.arn, &groups).await.unwrap();
}

/// A deploy during which somebody changes a route by hand; how it ended.
async fn meddled(yard: &Yard) -> adstage::execute::Ending {
    let (joe, meddler) = (yard.operator("joe").await, yard.operator("grace").await);
    let meddling = async {
        while !joe.saw().contains(&"await …".to_string()) {
            joe.clock.sleep(Duration::from_millis(100)).await;
        }
        by_hand(&meddler, &[(1, 90), (2, 10)]).await;
    };
    tokio::join!(joe.deploy(), meddling).0.ending()
}

#[tokio::test(start_paused = true)]
async fn m25_a_route_changed_by_hand_is_not_written_over() {
    let yard = yard().await;
    let ending = meddled(&yard).await;
    assert_eq!((ending.outcome, ending.failure.unwrap().end), (Outcome::Stranded, End::Stranded));
    assert!(state(&yard).await.contains("web: r1 x2 at 90, r2 x2 at 10"), "{}", state(&yard).await);
    let maya = yard.operator("maya").await;
    assert!(matches!(maya.resume(false).await, Went::Stuck(failure) if failure.end == End::Stranded));
    assert_eq!(maya.resume(true).await.ending().outcome, Outcome::Stranded, "tried once more, with the same end");
    assert!(state(&yard).await.contains("web: r1 x2 at 90, r2 x2 at 10"));
}

#[tokio::test(start_paused = true)]
async fn m40_an_undo_that_fails_for_good_strands_and_may_be_tried_once_more() {
    let yard = yard().await;
    let failure = meddled(&yard).await.failure.unwrap();
    assert!(failure.evidence.iter().any(|line| line.starts_with("not undone: route web")), "{failure:?}");
    assert!(failure.next.contains(&"adstage resume production --abort".to_string()), "{failure:?}");
    let maya = yard.operator("maya").await;
    let open = lock::read(&maya.aws.dynamodb, &scope(&yard)).await.unwrap().lock.unwrap().open;
    assert!(open.is_some(), "it is still named");
    // Somebody puts the route in order.
    by_hand(&maya, &[(1, 100), (2, 0)]).await;
    let Went::Stuck(stuck) = maya.resume(false).await else { panic!("what failed was tried again unasked") };
    assert!(stuck.next.contains(&"adstage resume production --abort".to_string()), "{stuck:?}");
    assert_eq!(maya.resume(true).await.ending().failure, None);
    assert_eq!(state(&yard).await, AS_BEFORE);
}

#[tokio::test(start_paused = true)]
async fn m39_a_journal_with_a_hole_is_not_guessed_at() {
    let yard = yard().await;
    killed_when(&yard, |joe| joe.saw().contains(&"await …".to_string())).await;
    let maya = yard.operator("maya").await;
    let open = lock::read(&maya.aws.dynamodb, &scope(&yard)).await.unwrap().lock.unwrap().open.unwrap();
    let key = Key::new(&scope(&yard).pk, sk::operation(&open));
    maya.aws.dynamodb.write(&scope(&yard).table, &Write::update(key, "SET seq = seq + :one").value(":one", 1u64)).await.unwrap();
    let before = state(&yard).await;
    for abort in [false, true] {
        let Went::Stuck(failure) = maya.resume(abort).await else { panic!("it was guessed") };
        assert_eq!(failure.end, End::Stranded);
        assert!(failure.because[0].contains("its journal is broken at event"), "{failure:?}");
    }
    assert_eq!(state(&yard).await, before);
}

#[test]
fn with_nothing_unfinished_there_is_nothing_to_resume() {
    let company = practice::open("yes");
    let unset = company.sandbox(&["resume", "production"]).ends(6);
    assert!(
        unset.stderr.contains("there is no state table") && unset.stderr.contains("adstage --sandbox setup production"),
        "{}",
        unset.stderr
    );
    company.sandbox(&["setup", "production", "--yes"]).ends(0);
    let said = company.sandbox(&["resume", "production"]).ends(0);
    assert_eq!(said.stdout, "Nothing to resume. production serves nothing yet.\n");
    let said = company.sandbox(&["resume", "production", "--abort", "--output", "json"]).ends(0).json();
    assert_eq!((&said["outcome"], &said["exit"]), (&"deployed".into(), &0.into()));
}
