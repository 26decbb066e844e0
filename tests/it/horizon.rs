//! A call that was frozen between the guard and the socket lands minutes after its sender has lost the lock. AWS cannot refuse it; so it
//! is seen, put right and written down.

use std::time::Duration;

use adstage::journal::{self, Entry};
use adstage::model::*;

use crate::yard::{Operator, Went, Yard};

fn change(yard: &mut Yard, greeting: &str) {
    for service in &mut yard.environment.services {
        service.variables.insert("GREETING".into(), greeting.into());
    }
}

/// r2 serves, r1 is warm.
async fn yard() -> Yard {
    let mut yard = Yard::ready().await;
    yard.environment.timing.keep_warm = 2;
    yard.operator("ana").await.deploy().await.well();
    change(&mut yard, "two");
    yard.operator("ana").await.deploy().await.well();
    yard
}

/// Joe goes back to r1. His laptop freezes while the writes that move visitors are on their way, and maya undoes what he began.
async fn frozen_and_taken_over(yard: &Yard) -> Operator {
    let joe = yard.operator("joe").await;
    joe.line.hold(Some("ModifyRule"));
    tokio::select! {
        went = joe.rollback() => panic!("through before: {went:?}"),
        () = async { while joe.line.held() < 2 { joe.clock.sleep(Duration::from_millis(5)).await } } => {}
    }
    joe.line.cut(true);
    let ending = yard.operator("maya").await.resume(true).await.ending();
    assert_eq!(ending.outcome, Outcome::RolledBack, "{ending:?}");
    assert_eq!(shares(yard).await, ["r2", "r2"]);
    joe
}

/// The release each route leads to.
async fn shares(yard: &Yard) -> Vec<String> {
    let world = yard.operator("onlooker").await.world().await;
    let routed = yard.environment.services.iter().filter_map(|service| {
        let rule = RuleKey { service: service.name.clone(), priority: service.route.as_ref()?.priority };
        Some(world.weights(&rule).and_then(|weights| weights.sole()).map_or_else(|| "split".into(), |release| release.to_string()))
    });
    routed.collect()
}

/// What operations found when they looked once more, newest operation first.
async fn findings(yard: &Yard, operator: &Operator) -> Vec<bool> {
    let environment = &yard.environment;
    let scope = Scope::of(environment);
    let mut found = Vec::new();
    for record in operator.world().await.records.operations {
        let (_, events) = journal::operation(&operator.aws.dynamodb, &scope, &record.id).await.unwrap().unwrap();
        found.extend(events.into_iter().filter_map(|event| match event.entry {
            Entry::Horizon { zombie, .. } => Some(zombie),
            _ => None,
        }));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn m16_a_call_that_lands_after_everybody_is_gone_is_seen_and_put_right_by_the_next_command() {
    let mut yard = yard().await;
    let joe = frozen_and_taken_over(&yard).await;
    let visitors = yard.visitors();
    yard.clock.sleep(Duration::from_secs(120)).await;
    assert!(joe.line.deliver_held().await > 0);
    assert!(shares(&yard).await.contains(&"r1".to_string()));

    let world = yard.operator("onlooker").await.world().await;
    let drift = drift(&yard.environment, &world);
    assert!(drift.iter().any(|Drift(said)| said.contains("adstage resume production")), "{drift:?}");
    change(&mut yard, "three");
    match yard.operator("kim").await.deploy().await {
        Went::Refused(refusal) => assert!(refusal.next.contains(&"adstage resume production".to_string()), "{refusal:?}"),
        other => panic!("{other:?}"),
    }
    let kim = yard.operator("kim").await;
    kim.reassert().await.well();
    assert_eq!(shares(&yard).await, ["r2", "r2"]);
    assert_eq!(findings(&yard, &kim).await, [false, false], "nothing was wrong when maya and kim ended");

    // Nothing can land any more after a quarter of an hour: the next operation looks for the last time.
    yard.clock.sleep(Duration::from_secs(960)).await;
    kim.deploy().await.well();
    let head = kim.world().await.records.head.unwrap();
    assert_eq!(head.check_after, [0; 0]);
    kim.clock.sleep(Duration::from_secs(1)).await;
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn m16_a_call_that_lands_during_the_next_deploy_is_put_right_before_it_ends() {
    let mut yard = yard().await;
    let joe = frozen_and_taken_over(&yard).await;
    change(&mut yard, "three");
    let kim = yard.operator("kim").await;
    let watching = async {
        while !kim.saw().contains(&"watch …".to_string()) {
            kim.clock.sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(shares(&yard).await, ["r3", "r3"]);
        assert!(joe.line.deliver_held().await > 0);
        assert!(shares(&yard).await.contains(&"r1".to_string()));
    };
    let (went, ()) = tokio::join!(kim.deploy(), watching);
    went.well();
    assert_eq!(shares(&yard).await, ["r3", "r3"]);
    let findings = findings(&yard, &kim).await;
    assert!(findings.contains(&true), "{findings:?}");
}

#[tokio::test(start_paused = true)]
async fn m13_stopped_for_minutes_with_nobody_coming_it_beats_first_and_goes_on() {
    let mut yard = yard().await;
    change(&mut yard, "three");
    let joe = yard.operator("joe").await;
    let calls = || yard.sandbox.faults().calls();
    let stopped = async {
        while !joe.saw().contains(&"await …".to_string()) {
            joe.clock.sleep(Duration::from_millis(10)).await;
        }
        // What the stage writes down first is not under way any more.
        joe.clock.sleep(Duration::from_millis(50)).await;
        joe.clock.sleep_machine(Duration::from_secs(200));
        calls().len()
    };
    let (went, at) = tokio::join!(joe.deploy(), stopped);
    went.well();
    let later = calls();
    let first_change = later[at..].iter().find(|call| call.mutating).unwrap();
    assert_eq!((first_change.service, first_change.action.as_str()), ("dynamodb", "UpdateItem"), "a beat is its first act");
    assert_eq!(shares(&yard).await, ["r3", "r3"]);
}
