use insta::assert_snapshot;

use crate::model::*;

use super::super::RollbackRequest;
use super::world::{operation, release, world};
use super::{rollback, rollback_to, rolled_back, said};

#[test]
fn to_a_warm_fleet() {
    let world = world("web: r41 x3 warm, r42 x3 live, before=r41; admin: r41 x1 warm, r42 x1 live, before=r41");
    assert_snapshot!(rollback(&world), @"
    back from r42 to r41 (shop-41, ami-41)
      note  r42 will be marked bad: deploying it again needs --force
      1 await     3 of 3 healthy in web-r41 at the load balancer now, or within 30s
      2           1 of 1 healthy in admin-r41 at the load balancer now, or within 30s
      3 cut over  pin web-r42 at 3 (smallest size was 1)
      4           pin admin-r42 at 1 (smallest size was 1)
      5           route web (rule 10): r41:0 r42:100 -> r41:100 r42:0
      6           route admin (rule 20): r41:0 r42:100 -> r41:100 r42:0
      7 settle    web-r41 heals by the load balancer's checks, 2 to 4 instances
      8           admin-r41 heals by the load balancer's checks, 1 to 2 instances
    ");
    assert_eq!(rolled_back(&world, &RollbackRequest::default()).unwrap().left(), [ReleaseNumber(42)]);
}

#[test]
fn to_a_warm_fleet_that_was_scaled_in() {
    assert_snapshot!(rollback(&world("web: r41 x1 warm, r42 x3 live, before=r41")), @"
    back from r42 to r41 (shop-41, ami-41)
      note  web-r41 has fewer instances than are live: it grows first
      note  r42 will be marked bad: deploying it again needs --force
      1 launch    resize web-r41 from 1 to 3 (at most 4)
      2 await     3 of 3 healthy in web-r41 at the load balancer for 20s, within 10m
      3 cut over  pin web-r42 at 3 (smallest size was 1)
      4           route web (rule 10): r41:0 r42:100 -> r41:100 r42:0
      5 settle    web-r41 heals by the load balancer's checks, 2 to 4 instances
    ");
}

#[test]
fn workers_are_woken_after_the_visitors_are_back() {
    assert_snapshot!(rollback(&world("web: r41 x3 warm, r42 x3 live, before=r41; worker: r41 x0, r42 x2 live, before=r41")), @"
    back from r42 to r41 (shop-41, ami-41)
      note  worker-r41 sleeps: it is woken once the visitors are back
      note  r42 will be marked bad: deploying it again needs --force
      1 await     3 of 3 healthy in web-r41 at the load balancer now, or within 30s
      2 cut over  pin web-r42 at 3 (smallest size was 1)
      3           route web (rule 10): r41:0 r42:100 -> r41:100 r42:0
      4 settle    web-r41 heals by the load balancer's checks, 2 to 4 instances
      5           resize worker-r41 from 0 to 2 (at most 2)
      6           2 of 2 healthy in worker-r41 at the load balancer for 20s, within 10m
      7           make worker-r42 inactive: it finishes what it has, and rests
      8           worker-r41 heals by the load balancer's checks, 1 to 2 instances
    ");
}

#[test]
fn of_a_worker_alone() {
    assert_snapshot!(rollback(&world("worker: r41 x0, r42 x2 live, before=r41")), @"
    back from r42 to r41 (shop-41, ami-41)
      note  worker-r41 sleeps: it is woken first
      note  r42 will be marked bad: deploying it again needs --force
      1 launch    resize worker-r41 from 0 to 2 (at most 2)
      2 await     2 of 2 healthy in worker-r41 at the load balancer for 20s, within 10m
      3 cut over  pin worker-r42 at 2 (smallest size was 1)
      4           make worker-r42 inactive: it finishes what it has, and rests
      5 settle    worker-r41 heals by the load balancer's checks, 1 to 2 instances
    ");
}

#[test]
fn to_a_fleet_that_is_gone() {
    let (environment, mut world) = world("web: r42 x3 live, before=r41");
    world.records.releases.push(release(&environment, 41, &[environment.services[0].name.clone()], Verdict::Good));
    world.images.push(super::world::image("ami-41"));
    let mut here = (environment, world);
    assert_snapshot!(rollback(&here), @"
    back from r42 to r41 (shop-41, ami-41)
      note  web-r41 is gone: it is launched again from ami-41, which takes as long as a deploy
      note  r42 will be marked bad: deploying it again needs --force
      1 prepare   template from ami-41, m7i.large: web-r41
      2           target group: web-r41
      3           test rule no visitor can match: web-r41
      4           route web (rule 10): r42:100 -> r41:0 r42:100
      5 launch    fleet web-r41, 3 instances (at most 4)
      6 await     3 of 3 healthy in web-r41 at the load balancer for 20s, within 10m
      7 cut over  pin web-r42 at 3 (smallest size was 1)
      8           route web (rule 10): r41:0 r42:100 -> r41:100 r42:0
      9 settle    web-r41 heals by the load balancer's checks, 2 to 4 instances
    ");
    here.1.images.retain(|image| image.id.0 != "ami-41");
    assert_snapshot!(rollback(&here), @"
    REFUSED cannot roll back production
      because  web has no fleet of r41 any more, and its image shop-41 (ami-41) is gone
      next     adstage image list
    ");
}

#[test]
fn to_half_a_fleet() {
    assert_snapshot!(rollback(&world("web: r41 x3 warm half, r42 x3 live, before=r41")), @"
    back from r42 to r41 (shop-41, ami-41)
      note  web-r41 is gone: it is launched again from ami-41, which takes as long as a deploy
      note  r42 will be marked bad: deploying it again needs --force
      1 clear     take r41 out of route web (rule 10)
      2           retire web-r41, drained for 30s (no way back)
      3 prepare   template from ami-41, m7i.large: web-r41
      4           target group: web-r41
      5           test rule no visitor can match: web-r41
      6           route web (rule 10): r42:100 -> r41:0 r42:100
      7 launch    fleet web-r41, 3 instances (at most 4)
      8 await     3 of 3 healthy in web-r41 at the load balancer for 20s, within 10m
      9 cut over  pin web-r42 at 3 (smallest size was 1)
     10           route web (rule 10): r41:0 r42:100 -> r41:100 r42:0
     11 settle    web-r41 heals by the load balancer's checks, 2 to 4 instances
    ");
}

#[test]
fn past_a_bad_release() {
    assert_snapshot!(rollback(&world("web: r40 x3 warm, r41 x3 warm bad, r42 x3 live, before=r41")), @"
    back from r42 to r40 (shop-40, ami-40)
      note  r42 will be marked bad: deploying it again needs --force
      1 await     3 of 3 healthy in web-r40 at the load balancer now, or within 30s
      2 cut over  pin web-r42 at 3 (smallest size was 1)
      3           route web (rule 10): r40:0 r41:0 r42:100 -> r40:100 r41:0 r42:0
      4 settle    web-r40 heals by the load balancer's checks, 2 to 4 instances
    ");
}

#[test]
fn only_what_the_last_deploy_moved() {
    assert_snapshot!(rollback(&world("web: r41 x3 warm, r42 x3 live, before=r41; admin: r40 x1 live, before=r40")), @"
    back from r42 to r41 (shop-41, ami-41)
      note  admin stays at r40
      note  r42 will be marked bad: deploying it again needs --force
      1 await     3 of 3 healthy in web-r41 at the load balancer now, or within 30s
      2 cut over  pin web-r42 at 3 (smallest size was 1)
      3           route web (rule 10): r41:0 r42:100 -> r41:100 r42:0
      4 settle    web-r41 heals by the load balancer's checks, 2 to 4 instances
    ");
}

#[test]
fn to_a_named_release() {
    let world = world("web: r40 x3 warm, r41 x3 live, r42 x3 warm bad, before=r42");
    assert_snapshot!(rollback_to(&world, 42), @"
    back from r41 to r42 (shop-42, ami-42)
      note  r42 is marked bad: checkout fails
      1 await     3 of 3 healthy in web-r42 at the load balancer now, or within 30s
      2 cut over  pin web-r41 at 3 (smallest size was 1)
      3           route web (rule 10): r40:0 r41:100 r42:0 -> r40:0 r41:0 r42:100
      4 settle    web-r42 heals by the load balancer's checks, 2 to 4 instances
    ");
    assert_snapshot!(rollback_to(&world, 41), @"
    r41 (shop-41, ami-41) stays live
      note  r41 serves already, nothing to do
    ");
    assert_snapshot!(rollback_to(&world, 7), @"
    REFUSED cannot roll back production
      because  there is no release r7 in production
      next     adstage history production
    ");
}

#[test]
fn with_nothing_to_go_back_to() {
    assert_snapshot!(rollback(&world("web: r1 x3 live")), @"
    REFUSED cannot roll back production
      because  r1 serves, and there is no earlier good release to go back to
      next     adstage history production
    ");
    assert_snapshot!(rollback(&world("web:")), @"
    REFUSED cannot roll back production
      because  nothing serves, and there is no earlier good release to go back to
      next     adstage history production
    ");
}

#[test]
fn of_a_deploy_that_was_killed_before_its_cutover() {
    let (environment, mut world) = world("web: r40 x3 warm, r41 x3 live, before=r40, r42 x3 idle");
    world.records.operations = vec![operation(OperationKind::Deploy, 42, Some(41))];
    assert_snapshot!(rollback(&(environment, world)), @"
    r41 stays live
      note  the deploy of r42 by ana is not through, and has not changed what is served
      note  r41 serves, as before; only the remains are removed
      1 clear     take r42 out of route web (rule 10)
      2           retire web-r42, drained for 30s (no way back)
    ");
}

#[test]
fn after_a_killed_deploy_was_settled_by_a_deploy_that_failed_in_turn() {
    let (environment, mut world) = world("web: r40 x3 warm, r41 x3 live, before=r40");
    let ended = |outcome, release| OperationRecord { ended: Some(outcome), ..operation(OperationKind::Deploy, release, Some(41)) };
    world.records.operations = vec![ended(Outcome::RolledBack, 43), ended(Outcome::Stranded, 42)];
    let plan = rolled_back(&(environment, world), &RollbackRequest::default()).unwrap();
    assert_eq!(plan.release.unwrap().number, ReleaseNumber(40));
}

#[test]
fn of_a_deploy_that_was_killed_in_or_after_its_cutover() {
    for line in [
        "web: r41 x3 warm, r42 x3 100% untried, head=r41; admin: r41 x1 live, r42 x1 idle",
        "web: r41 x3 warm, r42 x3 100% untried, head=r41; admin: r41 x1 warm, r42 x1 100% untried, head=r41",
    ] {
        let (environment, mut world) = world(line);
        world.records.operations = vec![operation(OperationKind::Deploy, 42, Some(41))];
        let plan = rolled_back(&(environment, world), &RollbackRequest::default()).unwrap();
        assert!(plan.serving.values().all(|release| *release == ReleaseNumber(41)), "{plan:?}");
        assert_eq!(plan.left(), [ReleaseNumber(42)]);
        assert_eq!(plan.previous, Some(ReleaseNumber(42)));
    }
}

#[test]
fn a_worker_that_sleeps_does_not_serve_whatever_the_records_say() {
    // A deploy of r42 had moved everybody and put the old worker to sleep; a rollback of it had begun, and done nothing.
    let (environment, mut world) =
        world("web: r41 x3 warm, r42 x3 100% untried, head=r41; worker: r41 x0, r42 x1 untried overlap, head=r41");
    world.records.operations = vec![operation(OperationKind::Rollback, 41, Some(42)), operation(OperationKind::Deploy, 42, Some(41))];
    assert_snapshot!(rollback(&(environment, world)), @"
    back from r42 to r41 (shop-41, ami-41)
      note  the rollback to r41 by ana is not through, and has moved some visitors and not others
      note  this puts an end to the rollback to r41 by ana
      note  worker-r41 sleeps: it is woken once the visitors are back
      note  r42 will be marked bad: deploying it again needs --force
      1 await     3 of 3 healthy in web-r41 at the load balancer now, or within 30s
      2 cut over  pin web-r42 at 3 (smallest size was 1)
      3           route web (rule 10): r41:0 r42:100 -> r41:100 r42:0
      4 settle    web-r41 heals by the load balancer's checks, 2 to 4 instances
      5           resize worker-r41 from 0 to 1 (at most 2)
      6           1 of 1 healthy in worker-r41 at the load balancer for 20s, within 10m
      7           worker-r41 heals by the load balancer's checks, 1 to 2 instances
      8           put worker-r42 to sleep: its 1 instance ends, the rest of it stays
    ");
}

#[test]
fn a_rollback_that_was_killed_is_finished() {
    let (environment, mut world) = world("web: r41 x3 100%, r42 x3 warm, head=r42, before=r41; worker: r41 x0, r42 x1 live, before=r41");
    world.records.operations = vec![operation(OperationKind::Rollback, 41, Some(42))];
    let plan = rolled_back(&(environment, world), &RollbackRequest::default()).unwrap();
    assert_eq!(plan.left(), [ReleaseNumber(42)]);
    assert_snapshot!(said(Ok(plan)), @"
    back from r42 to r41 (shop-41, ami-41)
      note  the rollback to r41 by ana is not through, and its release has all visitors
      note  this puts an end to the rollback to r41 by ana
      note  worker-r41 sleeps: it is woken first
      note  r42 will be marked bad: deploying it again needs --force
      1 launch    resize worker-r41 from 0 to 1 (at most 2)
      2 await     1 of 1 healthy in worker-r41 at the load balancer for 20s, within 10m
      3 cut over  pin worker-r42 at 1 (smallest size was 1)
      4           make worker-r42 inactive: it finishes what it has, and rests
      5 settle    worker-r41 heals by the load balancer's checks, 1 to 2 instances
      6           web-r41 heals by the load balancer's checks, 2 to 4 instances
    ");
}

#[test]
fn of_split_visitors() {
    assert_snapshot!(rollback(&world("web: r41 x3 50%, r42 x3 50% untried, head=r41")), @"
    back from r42 to r41 (shop-41, ami-41)
      note  r42 will be marked bad: deploying it again needs --force
      1 await     3 of 3 healthy in web-r41 at the load balancer now, or within 30s
      2 cut over  pin web-r42 at 3 (smallest size was 1)
      3           route web (rule 10): r41:50 r42:50 -> r41:100 r42:0
      4 settle    web-r41 heals by the load balancer's checks, 2 to 4 instances
    ");
}

#[test]
fn what_was_divided_before_is_divided_again_once_it_is_undone() {
    let planned = |line: &str, operations: Vec<OperationRecord>| {
        let (environment, mut world) = world(line);
        world.records.operations = operations;
        rolled_back(&(environment, world), &RollbackRequest::default()).unwrap().divided
    };
    let deploy = || vec![operation(OperationKind::Deploy, 42, Some(41))];
    assert!(planned("web: r41 x3 90%, r42 x3 10% untried, head=r41", deploy()), "a shift");
    assert!(planned("worker: r41 x1 active, r42 x1 part untried, head=r41", deploy()), "a hand-over");
    let moved = "web: r41 x3 100%, r42 x3 warm, head=r42, before=r41; admin: r41 x1 warm, r42 x1 live, before=r41";
    assert!(planned(moved, vec![operation(OperationKind::Rollback, 41, Some(42))]), "one of two routes of a rollback");
    assert!(!planned("web: r41 x3 warm, r42 x3 live, before=r41", Vec::new()));
    assert!(!planned("web: r41 x3 warm, r42 x3 100% untried, head=r41", deploy()), "all of its visitors");
}

#[test]
fn a_warm_worker_is_made_active_again_once_the_visitors_are_back() {
    assert_snapshot!(rollback(&world("web: r41 x3 warm, r42 x3 live, before=r41; worker: r41 x1, r42 x2 live, before=r41")), @"
    back from r42 to r41 (shop-41, ami-41)
      note  worker-r41 has fewer instances than are live: it grows once the visitors are back
      note  r42 will be marked bad: deploying it again needs --force
      1 await     3 of 3 healthy in web-r41 at the load balancer now, or within 30s
      2 cut over  pin web-r42 at 3 (smallest size was 1)
      3           route web (rule 10): r41:0 r42:100 -> r41:100 r42:0
      4 settle    web-r41 heals by the load balancer's checks, 2 to 4 instances
      5           resize worker-r41 from 1 to 2 (at most 2)
      6           2 of 2 healthy in worker-r41 at the load balancer for 20s, within 10m
      7           make worker-r41 active
      8           make worker-r42 inactive: it finishes what it has, and rests
      9           2 of 2 healthy in worker-r41 at the load balancer for 20s, within 10m
     10           worker-r41 heals by the load balancer's checks, 1 to 2 instances
    ");
    assert_snapshot!(rollback(&world("worker: r41 x2, r42 x2 live, before=r41")), @"
    back from r42 to r41 (shop-41, ami-41)
      note  r42 will be marked bad: deploying it again needs --force
      1 await     2 of 2 healthy in worker-r41 at the load balancer now, or within 30s
      2 cut over  pin worker-r42 at 2 (smallest size was 1)
      3           make worker-r41 active
      4           make worker-r42 inactive: it finishes what it has, and rests
      5           2 of 2 healthy in worker-r41 at the load balancer for 20s, within 10m
      6 settle    worker-r41 heals by the load balancer's checks, 1 to 2 instances
    ");
}

#[test]
fn a_hand_over_that_was_cut_short_is_taken_back() {
    let (environment, mut world) = world("worker: r41 x1 active, r42 x1 part untried, head=r41");
    world.records.operations = vec![operation(OperationKind::Deploy, 42, Some(41))];
    assert_snapshot!(rollback(&(environment, world)), @"
    r41 stays live
      note  the deploy of r42 by ana is not through, and has moved some visitors and not others
      note  this puts an end to the deploy of r42 by ana
      1 await     1 of 1 healthy in worker-r41 at the load balancer now, or within 30s
      2 cut over  make worker-r42 inactive: it finishes what it has, and rests
      3 settle    worker-r41 heals by the load balancer's checks, 1 to 2 instances
      4           retire worker-r42, drained for 30s (no way back)
    ");
}
