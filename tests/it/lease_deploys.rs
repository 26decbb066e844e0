//! Whole deploys under which DynamoDB goes away, credentials expire, a process dies or somebody freezes the environment, in virtual time,
//! while visitors come by.

use std::time::Duration;

use adstage::failure::End;
use adstage::journal;
use adstage::lock::{self, Blocked};
use adstage::model::*;

use crate::yard::{Operator, Visitors, Went, Yard, shown};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn scope(yard: &Yard) -> Scope {
    Scope::of(&yard.environment)
}

/// `r1` serves; what comes next is another release.
async fn serving() -> (Yard, Visitors) {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    let visitors = yard.visitors();
    for service in &mut yard.environment.services {
        service.variables.insert("GREETING".into(), "two".into());
    }
    (yard, visitors)
}

/// Calls that change something but the records, and calls that only read, by now.
fn calls(yard: &Yard) -> (usize, usize) {
    let calls = yard.sandbox.faults().calls();
    let others = calls.iter().filter(|call| call.service != "dynamodb");
    let (changes, reads): (Vec<_>, Vec<_>) = others.partition(|call| call.mutating);
    (changes.len(), reads.len())
}

/// Until the operator is at this stage.
async fn reached(yard: &Yard, operator: &Operator, stage: &str) {
    while !operator.saw().contains(&format!("{stage} …")) {
        yard.clock.sleep(Duration::from_millis(100)).await;
    }
    yard.clock.sleep(seconds(2)).await;
}

/// A deploy during which something goes wrong at a stage and is put right again after a while. Also says how many changes were made between
/// a minute after it went wrong and its end.
async fn disturbed(yard: &Yard, joe: &Operator, stage: &str, lasts: Duration, disturb: impl Fn(bool)) -> (Went, usize) {
    let disturbance = async {
        reached(yard, joe, stage).await;
        disturb(true);
        let (_, reads) = calls(yard);
        let clear = lasts.min(seconds(46));
        yard.clock.sleep(clear).await;
        let (changes, reads_now) = calls(yard);
        assert!(reads_now > reads, "it goes on looking");
        yard.clock.sleep(lasts - clear).await;
        let late = calls(yard).0 - changes;
        disturb(false);
        late
    };
    tokio::join!(joe.deploy(), disturbance)
}

async fn lock(yard: &Yard) -> LockRecord {
    lock::read(&yard.operator("reader").await.aws.dynamodb, &scope(yard)).await.unwrap().lock.unwrap()
}

#[tokio::test(start_paused = true)]
async fn m09_a_deploy_sits_out_that_dynamodb_is_away_for_a_while() {
    for lasts in [40, 400] {
        let (yard, visitors) = serving().await;
        let joe = yard.operator("joe").await;
        let (went, late) = disturbed(&yard, &joe, "await", seconds(lasts), |away| joe.line.dynamodb_away(away)).await;
        went.well();
        assert_eq!(late, 0, "nothing was changed that could not be written down");
        let seen = visitors.gone().await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        let lock = lock(&yard).await;
        assert_eq!((lock.state, lock.open), (LockState::Free, None));
    }
}

/// The deploy was given up: exit 8, whoever served still serves, and what was begun is still named.
async fn given_up(yard: &Yard, went: Went, visitors: Visitors) {
    let ending = went.ending();
    let failure = ending.failure.unwrap();
    assert_eq!((ending.outcome, failure.end, failure.end.code()), (Outcome::Stranded, End::Stranded, 8));
    let seen = visitors.gone().await;
    assert!(seen.failed.is_empty(), "{:?}", seen.failed);
    assert_eq!(seen.groups.len(), 1, "visitors have seen one release: {:?}", seen.groups);
    let lock = lock(yard).await;
    assert_eq!((lock.state, lock.open.is_some()), (LockState::Held, true), "it lapses by itself");
    // From another machine it is put in order.
    let maya = yard.operator("maya").await;
    maya.rollback().await.well();
    let shows = shown(&yard.environment, &maya.world().await);
    assert!(shows.contains("web: r1 x2 at 100") && !shows.contains("r2 x"), "{shows}");
}

#[tokio::test(start_paused = true)]
async fn m10_a_deploy_leaves_when_dynamodb_stays_away_and_touches_nothing_any_more() {
    let (yard, visitors) = serving().await;
    let joe = yard.operator("joe").await;
    let began = yard.clock.moment();
    let (went, late) = disturbed(&yard, &joe, "await", seconds(1_200), |away| joe.line.dynamodb_away(away)).await;
    assert_eq!(late, 0);
    assert!(yard.clock.passed(began) < seconds(1_300), "it did not wait twice");
    given_up(&yard, went, visitors).await;
}

/// A deploy whose operator is logged out for a while; and how many changes it made meanwhile, once the guard was closed.
async fn logged_out(yard: &Yard, joe: &Operator, lasts: u64) -> (Went, usize) {
    let meanwhile = async {
        reached(yard, joe, "await").await;
        joe.line.log_out(true);
        yard.clock.sleep(seconds(46)).await;
        let changes = calls(yard).0;
        yard.clock.sleep(seconds(lasts)).await;
        let late = calls(yard).0 - changes;
        joe.line.log_out(false);
        late
    };
    tokio::join!(joe.deploy(), meanwhile)
}

#[tokio::test(start_paused = true)]
async fn m35_credentials_that_expire_during_a_deploy_are_waited_for() {
    let (yard, visitors) = serving().await;
    let (went, late) = logged_out(&yard, &yard.operator("joe").await, 200).await;
    went.well();
    assert_eq!((late, visitors.gone().await.failed), (0, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn m35_credentials_that_stay_expired_end_a_deploy_like_an_outage() {
    let (yard, visitors) = serving().await;
    let (went, late) = logged_out(&yard, &yard.operator("joe").await, 1_500).await;
    assert_eq!(late, 0);
    given_up(&yard, went, visitors).await;
}

#[tokio::test(start_paused = true)]
async fn m31_a_freeze_during_a_deploy_lets_it_finish_and_stops_the_next() {
    let (mut yard, _visitors) = serving().await;
    let (joe, maya) = (yard.operator("joe").await, yard.operator("maya").await);
    let until = Some("2027-01-01T00:00:00Z".to_string());
    let record = FreezeRecord { who: "maya".into(), reason: "year-end close".into(), made: "now".into(), until: until.clone() };
    let freezing = async {
        reached(&yard, &joe, "await").await;
        lock::freeze(&maya.aws.dynamodb, &maya.clock, &scope(&yard), &maya.who, &record, None).await.unwrap()
    };
    let (went, frozen) = tokio::join!(joe.deploy(), freezing);
    went.well();
    assert_eq!(frozen, lock::Freezing::Frozen);
    for service in &mut yard.environment.services {
        service.variables.insert("GREETING".into(), "three".into());
    }
    let went = yard.operator("joe").await.deploy().await;
    let Went::Blocked(Blocked::Frozen(found)) = went else { panic!("{went:?}") };
    assert_eq!((found.reason.as_str(), found.until), ("year-end close", until));
}

#[tokio::test(start_paused = true)]
async fn m04_an_operator_who_dies_right_after_asking_for_the_lock_costs_the_next_one_seventy_seconds_and_no_question() {
    let (yard, visitors) = serving().await;
    let joe = yard.operator("joe").await;
    joe.line.hold(Some("TransactWriteItems"));
    tokio::select! {
        went = joe.deploy() => panic!("{went:?}"),
        () = yard.clock.sleep(seconds(2)) => {}
    }
    assert!(joe.line.deliver_held().await > 0, "the packet was under way");
    let dead = lock(&yard).await;
    assert_eq!((dead.state, dead.who.as_str()), (LockState::Held, "joe"));
    let (maya, began) = (yard.operator("maya").await, yard.clock.moment());
    let taken = async {
        while lock(&yard).await.who != "maya" {
            yard.clock.sleep(Duration::from_millis(500)).await;
        }
        yard.clock.passed(began)
    };
    let (went, waited) = tokio::join!(maya.deploy(), taken);
    went.well();
    assert!((70..=78).contains(&waited.as_secs()), "{waited:?}");
    let operations = journal::read(&maya.aws.dynamodb, &scope(&yard)).await.unwrap().operations;
    let ended: Vec<_> = operations.iter().take(2).map(|operation| (operation.by.as_str(), operation.ended)).collect();
    assert_eq!(ended, [("maya", Some(Outcome::Deployed)), ("joe", Some(Outcome::Refused))]);
    assert!(visitors.gone().await.failed.is_empty());
}
