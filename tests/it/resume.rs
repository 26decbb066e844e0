//! `adstage resume`: an operation whose process is gone is brought to its end, or undone, from another machine. No visitor notices.

use std::time::Duration;

use adstage::failure::End;
use adstage::journal::{self, Entry};
use adstage::model::*;
use adstage::plan::{SPREAD, StageName};

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
    let scope = Scope::environment(&environment.state_table, &environment.app, &environment.name);
    let newest = operator.world().await.records.operations[0].id.clone();
    let (operation, events) = journal::operation(&operator.aws.dynamodb, &scope, &newest).await.unwrap().unwrap();
    journal::fold(&events).unwrap();
    (operation.record, events.into_iter().map(|event| event.entry).collect())
}

const THROUGH: &str = "admin: r1 x1 at 0, r2 x1 at 100; web: r1 x2 at 0, r2 x2 at 100; worker: r1 x0, r2 x1; head: admin r2 web r2 worker r2; r1 good, r2 good";
const AS_BEFORE: &str = "admin: r1 x1 at 100; web: r1 x2 at 100; worker: r1 x1; head: admin r1 web r1 worker r1; r1 good, r2 untried";

/// Killed when a stage begins, then resumed or undone by somebody else, while visitors come by.
async fn story(stage: StageName, abort: bool) {
    let yard = yard().await;
    let visitors = yard.visitors();
    killed_when(&yard, |joe| joe.saw().contains(&format!("{stage} …"))).await;
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
    killed_when(&yard, |_| changes(&yard, "TransactWriteItems") >= before + 1).await;
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
