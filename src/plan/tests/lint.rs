//! Each rule, by a plan that breaks it.

use crate::model::*;

use super::super::lint::*;
use super::super::{DeployRequest, Plan, StageName, Step, deploy, lint};
use super::world::world;

const LINE: &str = "web: r40 x3 warm, r41 x3 live; worker: r40 x0, r41 x2 live";

/// The rules broken by the plan of a plain third deploy once it has been spoilt.
fn broken(spoil: impl Fn(&mut Plan)) -> Vec<&'static str> {
    let (environment, world) = world(LINE);
    let mut plan = deploy(&environment, &world, &DeployRequest::default()).unwrap();
    spoil(&mut plan);
    let mut rules: Vec<_> = lint(&plan, Some(&world)).into_iter().map(|flaw| flaw.rule).collect();
    rules.dedup();
    rules
}

fn drop_steps(plan: &mut Plan, which: impl Fn(&Step) -> bool) {
    plan.stages.iter_mut().for_each(|stage| stage.steps.retain(|step| !which(step)));
}

fn weights(plan: &mut Plan, change: impl Fn(&mut Weights, &mut Weights)) {
    for step in plan.stages.iter_mut().flat_map(|stage| &mut stage.steps) {
        if let Step::CutOverTraffic { before, after, .. } = step {
            change(before, after);
        }
    }
}

fn first_of(plan: &mut Plan, name: StageName, step: Step) {
    plan.stages.iter_mut().find(|stage| stage.name == name).unwrap().steps.push(step);
}

fn web(release: u32) -> FleetKey {
    FleetKey { service: "web".parse().unwrap(), release: ReleaseNumber(release) }
}

#[test]
fn a_sound_plan_breaks_none() {
    assert_eq!(broken(|_| {}), [""; 0]);
}

#[test]
fn visitors_only_after_verification() {
    assert_eq!(broken(|plan| drop_steps(plan, |step| matches!(step, Step::AwaitHealthy { .. }))), [VERIFY_FIRST]);
    assert!(broken(|plan| plan.stages.reverse()).contains(&VERIFY_FIRST));
}

#[test]
fn all_visitors_to_one_release() {
    assert!(broken(|plan| weights(plan, |_, after| _ = after.0.insert(ReleaseNumber(40), 50))).contains(&ONE_RELEASE));
    assert!(broken(|plan| weights(plan, |_, after| after.0.clear())).contains(&ONE_RELEASE));
}

#[test]
fn pinned_before_it_loses_its_visitors() {
    assert_eq!(broken(|plan| drop_steps(plan, |step| matches!(step, Step::PinSize { .. }))), [PIN_FIRST]);
}

#[test]
fn a_way_back_until_the_watch() {
    let retire =
        || Step::RetireFleet { fleet: FleetKey { service: "worker".parse().unwrap(), release: ReleaseNumber(40) }, drain: Seconds(0) };
    assert_eq!(broken(|plan| first_of(plan, StageName::Launch, retire())), [WAY_BACK]);
}

#[test]
fn a_fleet_with_visitors_is_kept() {
    let retire = |release| Step::RetireFleet { fleet: web(release), drain: Seconds(0) };
    assert!(broken(|plan| first_of(plan, StageName::Settle, retire(42))).contains(&KEEP_LIVE));
    let shrink = || Step::ResizeFleet { fleet: web(41), kind: CapacityKind::OnDemand, size_before: 3, size: 1, max: 4 };
    assert_eq!(broken(|plan| first_of(plan, StageName::Launch, shrink())), [KEEP_LIVE]);
    let leave = || Step::LeaveRoute { rule: RuleKey { service: "web".parse().unwrap(), priority: 10 }, release: ReleaseNumber(42) };
    assert!(broken(|plan| first_of(plan, StageName::Watch, leave())).contains(&KEEP_LIVE));
}

#[test]
fn a_fleet_lingers_after_its_visitors_have_left() {
    let (mut environment, world) = world("web: r41 x3 live");
    (environment.timing.keep_warm, environment.timing.watch) = (0, Seconds(0));
    let mut plan = deploy(&environment, &world, &DeployRequest::default()).unwrap();
    assert_eq!(lint(&plan, Some(&world)), []);
    drop_steps(&mut plan, |step| matches!(step, Step::WatchFleet { .. }));
    assert!(lint(&plan, Some(&world)).iter().all(|flaw| flaw.rule == LINGER) && !lint(&plan, Some(&world)).is_empty());
}

#[test]
fn out_of_the_route_before_retirement() {
    assert_eq!(broken(|plan| drop_steps(plan, |step| matches!(step, Step::LeaveRoute { .. }))), [OUT_OF_ROUTE]);
}

#[test]
fn no_more_than_five_target_groups() {
    assert_eq!(broken(|plan| weights(plan, |_, after| after.0.extend((1..5).map(|old| (ReleaseNumber(old), 0))))), [CROWDED]);
}

#[test]
fn from_the_weights_there_are() {
    assert_eq!(broken(|plan| weights(plan, |before, _| _ = before.0.remove(&ReleaseNumber(40)))), [FROM_HERE]);
}

#[test]
fn one_writer_within_a_stage() {
    let twice = |plan: &mut Plan| {
        let stage = plan.stages.iter_mut().find(|stage| stage.steps.iter().any(|step| matches!(step, Step::SettleFleet { .. }))).unwrap();
        let again = stage.steps[0].clone();
        stage.steps.push(again);
    };
    assert_eq!(broken(twice), [ONE_WRITE]);
}

#[test]
fn foundations_before_the_launch() {
    assert_eq!(broken(|plan| drop_steps(plan, |step| matches!(step, Step::CreateTestRule { .. }))), [FOUNDATIONS]);
}

#[test]
fn the_records_agree() {
    assert_eq!(broken(|plan| _ = plan.serving.insert("web".parse().unwrap(), ReleaseNumber(41))), [HEAD]);
}

#[test]
fn nobody_follows_a_policy_without_visitors() {
    let policies = vec![ScalingPolicy { metric: ScalingMetric::Cpu, target: 60, warmup: Seconds(300) }];
    let follow = |release, policies: &[ScalingPolicy]| Step::SetScaling {
        fleet: web(release),
        kind: CapacityKind::OnDemand,
        before: Vec::new(),
        policies: policies.to_vec(),
    };
    assert_eq!(broken(|plan| first_of(plan, StageName::Settle, follow(42, &policies))), [""; 0]);
    assert_eq!(broken(|plan| first_of(plan, StageName::Settle, follow(41, &[]))), [""; 0]);
    assert_eq!(broken(|plan| first_of(plan, StageName::Settle, follow(41, &policies))), [FOLLOW]);
    assert_eq!(broken(|plan| first_of(plan, StageName::Launch, follow(42, &policies))), [FOLLOW]);
}
