//! A colleague asks a deploy to stop, in virtual time: before visitors move, while they move, after; and when nobody answers any more.
//! (What people read meanwhile: `lock`.)

use std::time::Duration;

use adstage::cli::lock::halt::{Answer, Request, ask};
use adstage::failure::End;
use adstage::lock::constants;
use adstage::model::*;
use adstage::sandbox::{Misfortune, When};

use crate::yard::{Operator, Went, Yard, shown};

fn scope(yard: &Yard) -> Scope {
    Scope::of(&yard.environment)
}

/// r1 serves; the next deploy is of another release, whose web instances come up late.
async fn ready() -> Yard {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    yard.environment.services[1].variables.insert("SANDBOX_SCRIPT".into(), "late".into());
    yard
}

/// Waits until an operator has seen this line.
async fn saw(operator: &Operator, line: &str) {
    while !operator.saw().iter().any(|seen| seen == line) {
        operator.clock.sleep(Duration::from_millis(100)).await;
    }
}

/// Maya asks whoever is at work to stop; and how long it took until that had come to something.
async fn asked(yard: &Yard, maya: &Operator) -> (Answer, Duration) {
    let lock = adstage::lock::read(&maya.aws.dynamodb, &scope(yard)).await.unwrap().lock.unwrap();
    let operation = lock.operation.expect("somebody is at work");
    let request = Request { operation: &operation, who: "maya", why: "checkout is down", patience: constants::HOLD };
    let began = maya.clock.moment();
    let answer = ask(&maya.aws.dynamodb, &maya.clock, &scope(yard), &request, &|_, _| ()).await.unwrap();
    (answer, maya.clock.since(began))
}

/// A deploy, and maya's asking once it has come to this line.
async fn halted_at(yard: &Yard, line: &str) -> (Went, Answer, Duration) {
    let (joe, maya) = (yard.operator("joe").await, yard.operator("maya").await);
    let (went, (answer, took)) = tokio::join!(joe.deploy(), async {
        saw(&joe, line).await;
        asked(yard, &maya).await
    });
    (went, answer, took)
}

async fn lock(yard: &Yard) -> LockRecord {
    adstage::lock::read(&yard.operator("onlooker").await.aws.dynamodb, &scope(yard)).await.unwrap().lock.unwrap()
}

/// Every web visitor gets r1, and the records say so.
async fn as_before(yard: &Yard) {
    yard.clock.sleep(adstage::plan::SPREAD.duration()).await;
    assert_eq!(yard.visit("/").await.1, "shop-production-web-r1");
    let state = shown(&yard.environment, &yard.operator("onlooker").await.world().await);
    assert!(state.contains("head: admin r1 web r1 worker r1") && !state.contains("r2 x"), "{state}");
    assert_eq!(lock(yard).await.open, None);
}

#[tokio::test(start_paused = true)]
async fn m29_halted_while_it_waits_a_deploy_hands_over_within_a_heartbeat_and_is_rolled_back_at_once() {
    let yard = ready().await;
    let visitors = yard.visitors();
    let (went, answer, took) = halted_at(&yard, "await …").await;
    assert!(matches!(answer, Answer::HandedOver(_)), "{answer:?}");
    assert!(took < Duration::from_secs(15), "{took:?}: nobody waits for the lease");
    let failure = went.ending().failure.unwrap();
    assert_eq!(failure.end, End::TimedOut);
    assert!(format!("{failure:?}").contains("maya") && format!("{failure:?}").contains("checkout is down"), "{failure:?}");
    let left = lock(&yard).await;
    assert!(left.state == LockState::Free && left.open.is_some() && left.halt.is_none(), "{left:?}");
    let maya = yard.operator("maya").await;
    let began = maya.clock.moment();
    maya.rollback().await.well();
    assert!(maya.clock.since(began) < Duration::from_secs(60));
    as_before(&yard).await;
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn m29_halted_while_visitors_are_being_moved_a_deploy_undoes_nothing_and_whoever_comes_next_settles_it() {
    let mut yard = ready().await;
    yard.environment.services[1].variables.insert("SANDBOX_SCRIPT".into(), "ready".into());
    let visitors = yard.visitors();
    // Both candidates go in at weight 0; then the first route moves, and the second write is throttled for longer than a heartbeat takes.
    for nth in 4..9 {
        yard.sandbox.faults().schedule(When::Action("ModifyRule".into(), nth), Misfortune::Throttle);
    }
    let (went, answer, _) = halted_at(&yard, "cut over …").await;
    let ending = went.ending();
    match answer {
        Answer::HandedOver(_) => {
            assert_eq!(ending.failure.unwrap().end, End::TimedOut);
            assert!(lock(&yard).await.open.is_some());
        }
        // The write got through before the request was heard.
        Answer::Ended => assert_eq!(ending.outcome, Outcome::Deployed),
        other => panic!("{other:?}"),
    }
    yard.operator("maya").await.rollback().await.well();
    yard.clock.sleep(adstage::plan::SPREAD.duration()).await;
    assert_eq!(yard.visit("/").await.1, "shop-production-web-r1");
    assert_eq!(yard.visit("/admin/x").await.1, "shop-production-admin-r1");
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn m29_halted_after_its_cutover_a_deploy_ends_as_deployed() {
    let mut yard = ready().await;
    yard.environment.timing.watch = Seconds(180);
    let visitors = yard.visitors();
    let (went, answer, took) = halted_at(&yard, "watch …").await;
    assert!(matches!(answer, Answer::Ended), "{answer:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    let ending = went.ending();
    assert_eq!((ending.outcome, ending.failure.unwrap().end), (Outcome::Deployed, End::Trouble));
    let free = lock(&yard).await;
    assert!(free.state == LockState::Free && free.open.is_none(), "{free:?}");
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn m30_a_holder_that_is_cut_off_does_not_answer_is_taken_over_and_writes_nothing_more() {
    let yard = ready().await;
    let visitors = yard.visitors();
    let (joe, maya) = (yard.operator("joe").await, yard.operator("maya").await);
    let (went, ()) = tokio::join!(joe.deploy(), async {
        saw(&joe, "await …").await;
        joe.line.cut(true);
        let (answer, took) = asked(&yard, &maya).await;
        assert!(matches!(answer, Answer::Gone(_)), "{answer:?}");
        assert!((70..80).contains(&took.as_secs()), "{took:?}: the lease and a grace, and not longer");
        maya.rollback().await.well();
        as_before(&yard).await;
        joe.line.cut(false);
    });
    let failure = went.ending().failure.unwrap();
    assert_eq!(failure.end, End::Stranded);
    assert!(failure.because.join(" ").contains("the lock was lost"), "{failure:?}");
    as_before(&yard).await;
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn m31_whoever_asks_twice_or_too_late_is_told_who_is_there_now() {
    let yard = ready().await;
    let (joe, maya) = (yard.operator("joe").await, yard.operator("maya").await);
    let joes = async {
        joe.deploy().await;
    };
    let asks = async {
        saw(&joe, "await …").await;
        let other = OperationId("01OTHER".into());
        let request = Request { operation: &other, who: "maya", why: "x", patience: constants::HOLD };
        let answer = ask(&maya.aws.dynamodb, &maya.clock, &scope(&yard), &request, &|_, _| ()).await.unwrap();
        let Answer::PassedOn(row) = answer else { panic!("{answer:?}") };
        assert_eq!(row.who, "joe");
        asked(&yard, &maya).await
    };
    tokio::join!(joes, asks);
    let gone = OperationId("01GONE".into());
    let request = Request { operation: &gone, who: "maya", why: "x", patience: constants::HOLD };
    let answer = ask(&maya.aws.dynamodb, &maya.clock, &scope(&yard), &request, &|_, _| ()).await.unwrap();
    assert!(matches!(answer, Answer::Ended), "{answer:?}");
}
