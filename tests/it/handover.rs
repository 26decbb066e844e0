//! Workers going from one release to the next, in virtual time: what is held, what works, and what becomes of a new one that does not come
//! up. With real processes and a real queue: `workers.rs`.

use std::cell::RefCell;
use std::time::Duration;

use adstage::failure::End;
use adstage::model::*;
use insta::assert_snapshot;

use crate::yard::{Operator, Yard};

/// The worker's fleets as they are now.
async fn worker(yard: &Yard) -> String {
    let world = yard.operator("onlooker").await.world().await;
    let fleets = world.fleets.iter().filter(|fleet| fleet.key.service.as_str() == "worker" && fleet.standing().next().is_some());
    let said = |fleet: &Fleet| match fleet.activity() {
        Some(activity) => format!("{} {activity:?}", fleet.key.release),
        None => format!("{} x{}, nobody holds it", fleet.key.release, fleet.desired()),
    };
    fleets.map(said).collect::<Vec<_>>().join(", ")
}

/// Its instances, by release, with the tag that says whether they are to work.
async fn instances(yard: &Yard) -> Vec<(u32, String, String)> {
    let onlooker = yard.operator("onlooker").await;
    let world = onlooker.world().await;
    let mut found = Vec::new();
    for fleet in world.fleets.iter().filter(|fleet| fleet.key.service.as_str() == "worker") {
        let ids: Vec<String> = fleet.standing().flat_map(|(_, group)| &group.instances).map(|instance| instance.id.clone()).collect();
        for instance in onlooker.aws.ec2.instances_by_id(&ids).await.unwrap() {
            found.push((fleet.key.release.0, instance.tags["adstage:active"].clone(), instance.id));
        }
    }
    found
}

/// One release serves; the worker of the next one plays this.
async fn second(yard: &mut Yard, script: &str) -> Operator {
    yard.operator("ana").await.deploy().await.well();
    let worker = yard.environment.services.iter_mut().find(|service| service.name.as_str() == "worker").unwrap();
    worker.variables.insert("SANDBOX_SCRIPT".into(), script.into());
    yard.operator("joe").await
}

/// Everything the worker's fleets were, one after the other, while something goes on.
async fn seen<T>(yard: &Yard, while_it: impl Future<Output = T>) -> (T, Vec<String>) {
    let seen = RefCell::new(vec![worker(yard).await]);
    let looking = async {
        loop {
            yard.clock.sleep(Duration::from_secs(1)).await;
            let now = worker(yard).await;
            // Between the writes of a hand-over, that is: whether a look falls there is chance.
            let between = now.contains("Mixed") || now.matches("Active").count() > 1;
            if !between && seen.borrow().last() != Some(&now) {
                seen.borrow_mut().push(now);
            }
        }
    };
    let went = tokio::select! {
        went = while_it => went,
        () = looking => unreachable!("it looks for ever"),
    };
    let now = worker(yard).await;
    seen.borrow_mut().push(now);
    let mut seen = seen.into_inner();
    seen.dedup();
    (went, seen)
}

#[tokio::test(start_paused = true)]
async fn the_new_one_is_held_until_the_cutover_and_the_old_one_then_rests() {
    let mut yard = Yard::lifelike().await;
    let joe = second(&mut yard, "").await;
    let (went, was) = seen(&yard, joe.deploy()).await;
    went.well();
    assert_snapshot!(was.join("\n"), @"
    r1 Active
    r1 Active, r2 Held
    r1 Held, r2 Active
    ");
    let (went, was) = seen(&yard, joe.rollback()).await;
    went.well();
    assert_snapshot!(was.join("\n"), @"
    r1 Held, r2 Active
    r1 Active, r2 Held
    ");
}

#[tokio::test(start_paused = true)]
async fn a_new_one_that_crashes_once_it_is_to_work_is_undone_and_visitors_come_back_too() {
    let mut yard = Yard::lifelike().await;
    let joe = second(&mut yard, "crash").await;
    let visitors = yard.visitors();
    let (went, was) = seen(&yard, joe.deploy()).await;
    let ending = went.ending();
    assert_eq!((ending.outcome, ending.failure.as_ref().map(|failure| failure.end)), (Outcome::RolledBack, Some(End::RolledBack)));
    assert_snapshot!(was.join("\n"), @"
    r1 Active
    r1 Active, r2 Held
    r1 Held, r2 Active
    r1 Active, r2 Held
    r1 Active
    ");
    assert_eq!(visitors.gone().await.failed, [""; 0]);
    let world = joe.world().await;
    assert_eq!(world.records.head.unwrap().serving.values().map(|release| release.0).collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_a_group_launches_later_is_as_its_release_is() {
    let mut yard = Yard::lifelike().await;
    let joe = second(&mut yard, "").await;
    joe.deploy().await.well();
    let before = instances(&yard).await;
    assert_eq!(before.iter().map(|(release, tag, _)| (*release, tag.as_str())).collect::<Vec<_>>(), [(1, "no"), (2, "yes")]);
    for (_, _, id) in &before {
        joe.aws.ec2.terminate(id).await.unwrap();
    }
    yard.clock.sleep(Duration::from_secs(600)).await;
    let after = instances(&yard).await;
    assert!(after.iter().all(|(_, _, id)| before.iter().all(|(_, _, gone)| gone != id)), "{after:?}");
    assert_eq!(after.iter().map(|(release, tag, _)| (*release, tag.as_str())).collect::<Vec<_>>(), [(1, "no"), (2, "yes")]);
}

#[tokio::test(start_paused = true)]
async fn one_that_may_overlap_works_from_its_first_moment_and_the_old_one_sleeps_at_the_end() {
    let mut yard = Yard::lifelike().await;
    yard.environment.services.iter_mut().for_each(|service| service.overlap = service.name.as_str() == "worker");
    let joe = second(&mut yard, "").await;
    let (went, was) = seen(&yard, joe.deploy()).await;
    went.well();
    assert_snapshot!(was.join("\n"), @"
    r1 x1, nobody holds it
    r1 x1, nobody holds it, r2 x1, nobody holds it
    r1 x0, nobody holds it, r2 x1, nobody holds it
    ");
}
