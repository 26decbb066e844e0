//! A deploy whose process is gone between any two of its changes. Whoever comes next, on another machine, converges to one known release
//! that serves everybody, with nothing left behind, and no visitor notices.

use std::time::Duration;

use adstage::lock::Blocked;
use adstage::model::*;
use adstage::plan::SPREAD;

use crate::yard::{Operator, Went, Yard, shown};

/// What the next operator types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Rollback,
    Deploy,
}

fn changes(yard: &Yard) -> usize {
    yard.sandbox.faults().calls().iter().filter(|call| call.mutating && call.service != "dynamodb").count()
}

/// A second deploy, whose process is gone right after the n-th change it makes. True if it was through before.
async fn killed_after(yard: &Yard, n: usize, joe: &Operator) -> bool {
    let last = changes(yard) + n;
    let reached = async {
        while changes(yard) < last {
            yard.clock.sleep(Duration::from_millis(5)).await;
        }
    };
    let through = tokio::select! {
        went = joe.deploy() => { went.well(); true }
        () = reached => false,
    };
    joe.line.cut(true);
    through
}

/// One story; true if the deploy was through before it could be killed.
async fn story(n: usize, next: Next) -> bool {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    let visitors = yard.visitors();
    for service in &mut yard.environment.services {
        service.variables.insert("GREETING".into(), "two".into());
    }
    let through = killed_after(&yard, n, &yard.operator("joe").await).await;
    if through {
        return true;
    }
    let maya = yard.operator("maya").await;
    let went = match next {
        Next::Rollback => maya.rollback().await,
        Next::Deploy => {
            // What has begun something is settled by a person's decision, and never by the next deploy.
            assert!(matches!(maya.deploy().await, Went::Blocked(Blocked::Unfinished(_))), "after {n}");
            maya.resume(false).await.well();
            maya.deploy().await
        }
    };
    let plan = went.well();
    yard.clock.sleep(SPREAD.duration()).await;
    let world = maya.world().await;
    let state = shown(&yard.environment, &world);
    converged(&yard, &plan.serving, &world, &format!("after {n}, {next:?}: {state}")).await;
    assert_eq!(visitors.gone().await.failed, [""; 0], "after {n}, {next:?}: {state}");
    false
}

/// One release everywhere, recorded, whole; nothing of any other but what is warm.
async fn converged(yard: &Yard, serving: &std::collections::BTreeMap<ServiceName, ReleaseNumber>, world: &World, said: &str) {
    let head = world.records.head.as_ref().expect("a head");
    assert_eq!(&head.serving, serving, "{said}");
    let releases: std::collections::BTreeSet<_> = serving.values().collect();
    assert_eq!((releases.len(), serving.len()), (1, 3), "{said}");
    for service in &yard.environment.services {
        let live = serving[&service.name];
        let fleets: Vec<_> = world.fleets.iter().filter(|fleet| fleet.key.service == service.name).collect();
        let whole = |fleet: &&&Fleet| !fleet.groups.is_empty() && fleet.target_group.is_some() && fleet.template.is_some();
        assert_eq!(fleets.iter().filter(whole).count(), fleets.len(), "{said}");
        assert!(fleets.len() <= 2, "{said}");
        let fleet = world.fleet(&service.name, live).expect(said);
        assert_eq!((fleet.desired(), fleet.healthy()), (service.instances, service.instances as usize), "{said}");
        if let Some(route) = &service.route {
            let weights = world.weights(&RuleKey { service: service.name.clone(), priority: route.priority });
            assert_eq!(weights.and_then(|weights| weights.sole()), Some(live), "{said}");
        }
    }
    let unfinished = world.records.lock.as_ref().and_then(|lock| lock.open.as_ref());
    assert_eq!(unfinished, None, "{said}");
}

// A deploy makes 31 changes here, and a story for each of them takes minutes. These are one of each kind: template, target group, test rule,
// route taken in, group, pin, first and second weight write, and three of the settling.

#[tokio::test(start_paused = true)]
async fn and_rolled_back() {
    for n in [1, 8, 12, 17, 18, 26] {
        assert!(!story(n, Next::Rollback).await, "through after {n} changes");
    }
}

#[tokio::test(start_paused = true)]
async fn and_deployed_again() {
    for n in [5, 11, 15, 17, 20, 31] {
        assert!(!story(n, Next::Deploy).await, "through after {n} changes");
    }
}

#[tokio::test(start_paused = true)]
async fn and_through_before() {
    assert!(story(40, Next::Deploy).await);
}
