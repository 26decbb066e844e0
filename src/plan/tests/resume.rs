//! What remains of an operation that stopped: the table, row by row, and whole plans cut anywhere.

use std::collections::BTreeMap;

use crate::model::{CapacityKind, Direction, Fleet, OperationKind, ReleaseNumber, RuleAction, Seconds, StepStatus, World};

use super::super::{
    Ask, Backward, Course, DeployRequest, KEPT, Onward, Plan, RollbackRequest, Stage, StageName, Step, Unfinished, Unresumable, deploy,
    resume, rollback,
};
use super::world::{operation, world};

type Statuses = Vec<Vec<Option<StepStatus>>>;

/// A deploy of r42 over r41, and the world it was planned for.
fn planned() -> (Plan, World) {
    let (environment, mut world) = world("web: r41 x2 live; admin: r41 x1 live");
    for fleet in &mut world.fleets {
        healthy(fleet);
    }
    (deploy(&environment, &world, &DeployRequest::default()).unwrap(), world)
}

fn healthy(fleet: &mut Fleet) {
    let target = |n: u32| crate::model::TargetHealth {
        instance: format!("i-{n}"),
        state: crate::model::TargetState::Healthy,
        reason: String::new(),
        description: String::new(),
    };
    let count = fleet.desired();
    fleet.target_group.iter_mut().for_each(|group| group.targets = (0..count).map(target).collect());
}

/// The first `stages` of them at one status.
fn through(plan: &Plan, stages: usize, status: StepStatus) -> Statuses {
    let status = |at: usize| (at < stages).then_some(status);
    plan.stages.iter().enumerate().map(|(at, stage)| vec![status(at); stage.steps.len()]).collect()
}

/// The world once the first `stages` of the plan have run.
fn after(plan: &Plan, world: &World, stages: usize) -> World {
    let mut world = world.clone();
    for step in plan.stages[..stages].iter().flat_map(|stage| &stage.steps) {
        apply(step, &mut world);
    }
    world
}

fn fleet<'w>(world: &'w mut World, key: &crate::model::FleetKey) -> &'w mut Fleet {
    if world.fleet(&key.service, key.release).is_none() {
        world.fleets.push(Fleet { key: key.clone(), groups: BTreeMap::new(), target_group: None, template: None, test_rule: None });
    }
    world.fleets.iter_mut().find(|fleet| fleet.key == *key).unwrap()
}

fn group<'w>(world: &'w mut World, key: &crate::model::FleetKey, kind: CapacityKind) -> &'w mut crate::model::Group {
    fleet(world, key).groups.get_mut(&kind).unwrap()
}

/// What a step does, in a world of plain values.
fn apply(step: &Step, world: &mut World) {
    let (shape, _) = super::world::world("web: r9 x2 live");
    let name = |key: &crate::model::FleetKey| key.name(&shape.app, &shape.name);
    match step {
        Step::CreateLaunchTemplate { fleet: key, .. } => {
            fleet(world, key).template = Some(crate::model::Template { id: "lt".into(), name: name(key) });
        }
        Step::CreateTargetGroup { fleet: key, .. } => {
            let made = crate::model::TargetGroup { name: name(key), arn: name(key), targets: Vec::new() };
            fleet(world, key).target_group = Some(made);
        }
        Step::CreateTestRule { fleet: key } => fleet(world, key).test_rule = Some("rule".into()),
        Step::LaunchFleet { fleet: key, kind, size, max, held, .. } => {
            let group = crate::model::Group {
                name: name(key),
                min: *size,
                max: *max,
                desired: *size,
                deleting: false,
                instances: Vec::new(),
                activity: held.then_some(crate::model::Activity::Held),
                policies: vec![],
            };
            fleet(world, key).groups.insert(*kind, group);
            healthy(fleet(world, key));
        }
        Step::PinSize { fleet: key, kind, size, .. } => group(world, key, *kind).min = *size,
        Step::SettleFleet { fleet: key, kind, min, .. } => group(world, key, *kind).min = *min,
        Step::ResizeFleet { fleet: key, kind, size, .. } => group(world, key, *kind).desired = *size,
        Step::SetActive { fleet: key, active } => {
            let activity = if *active { crate::model::Activity::Active } else { crate::model::Activity::Held };
            fleet(world, key).groups.values_mut().for_each(|group| group.activity = Some(activity));
        }
        Step::RetireFleet { fleet: key, .. } => world.fleets.retain(|fleet| fleet.key != *key),
        Step::IdleInRoute { rule, after, .. } | Step::CutOverTraffic { rule, after, .. } => {
            let key = |release: &ReleaseNumber| crate::model::FleetKey { service: rule.service.clone(), release: *release };
            let groups = after.0.iter().map(|(release, weight)| (name(&key(release)), *weight)).collect();
            set(world, rule.priority, groups);
        }
        Step::LeaveRoute { rule, release } => {
            let mut weights = world.weights(rule).unwrap();
            weights.0.remove(release);
            let key = |release: &ReleaseNumber| crate::model::FleetKey { service: rule.service.clone(), release: *release };
            set(world, rule.priority, weights.0.iter().map(|(release, weight)| (name(&key(release)), *weight)).collect());
        }
        _ => {}
    }
}

fn set(world: &mut World, priority: u16, groups: std::collections::BTreeMap<String, u16>) {
    world.rules.iter_mut().find(|rule| rule.priority == Some(priority)).unwrap().action = RuleAction::Forward(groups);
}

struct Case<'a> {
    plan: &'a Plan,
    statuses: Statuses,
    direction: Direction,
    age: Seconds,
}

impl<'a> Case<'a> {
    fn new(plan: &'a Plan, statuses: Statuses) -> Self {
        Self { plan, statuses, direction: Direction::Forward, age: Seconds(60) }
    }

    fn back(self) -> Self {
        Self { direction: Direction::Back, ..self }
    }

    fn judged(&self, world: &World, ask: Ask) -> Result<Course, Unresumable> {
        let record = operation(OperationKind::Deploy, 42, Some(41));
        let statuses = self.statuses.clone();
        let unfinished = Unfinished { record: &record, plan: self.plan, statuses, direction: self.direction, age: self.age };
        resume(&"production".parse().unwrap(), &unfinished, world, ask)
    }

    fn forward(&self, world: &World) -> Vec<Vec<Onward>> {
        match self.judged(world, Ask::GoOn) {
            Ok(Course::Forward(course)) => course,
            other => panic!("{other:?}"),
        }
    }

    fn undone(&self, world: &World, ask: Ask) -> Vec<Vec<Backward>> {
        match self.judged(world, ask) {
            Ok(Course::Back(course)) => course,
            other => panic!("{other:?}"),
        }
    }

    fn stopped(&self, world: &World, ask: Ask) -> Unresumable {
        self.judged(world, ask).unwrap_err()
    }
}

fn at(plan: &Plan, wanted: impl Fn(&Stage) -> bool) -> usize {
    plan.stages.iter().position(wanted).unwrap()
}

fn is_cutover(stage: &Stage) -> bool {
    stage.steps.iter().any(|step| matches!(step, Step::CutOverTraffic { .. }))
}

#[test]
fn what_was_never_begun_is_run_and_what_is_done_is_left_alone() {
    let (plan, before) = planned();
    let launch = at(&plan, |stage| stage.name == StageName::Launch);
    let case = Case::new(&plan, through(&plan, launch, StepStatus::Succeeded));
    let course = case.forward(&after(&plan, &before, launch));
    assert!(course[..launch].iter().flatten().all(|act| *act == Onward::Done), "{course:?}");
    assert!(course[launch..].iter().flatten().all(|act| *act == Onward::Run), "{course:?}");
}

#[test]
fn m20_a_step_that_was_begun_and_is_found_done_is_not_run_twice() {
    let (plan, before) = planned();
    let cutover = at(&plan, is_cutover);
    let mut statuses = through(&plan, cutover, StepStatus::Succeeded);
    statuses[cutover].fill(Some(StepStatus::Started));
    let case = Case::new(&plan, statuses);
    let course = case.forward(&after(&plan, &before, cutover + 1));
    assert!(course[cutover].iter().all(|act| matches!(act, Onward::Found(_))), "{course:?}");
    let course = case.forward(&after(&plan, &before, cutover));
    assert!(course[cutover].iter().all(|act| *act == Onward::Run), "{course:?}");
}

#[test]
fn health_is_proved_again_before_visitors_move_and_not_after() {
    let (plan, before) = planned();
    let (wait, cutover) = (at(&plan, |stage| stage.name == StageName::Await), at(&plan, is_cutover));
    let case = Case::new(&plan, through(&plan, cutover, StepStatus::Succeeded));
    assert!(case.forward(&after(&plan, &before, cutover))[wait].iter().all(|act| *act == Onward::Run));
    let case = Case::new(&plan, through(&plan, cutover + 1, StepStatus::Succeeded));
    assert!(case.forward(&after(&plan, &before, cutover + 1))[wait].iter().all(|act| *act == Onward::Done));
}

#[test]
fn m22_of_two_routes_the_one_that_has_not_moved_moves_and_the_other_stays() {
    let (plan, before) = planned();
    let cutover = at(&plan, is_cutover);
    let mut statuses = through(&plan, cutover, StepStatus::Succeeded);
    statuses[cutover].fill(Some(StepStatus::Started));
    let mut world = after(&plan, &before, cutover);
    apply(&plan.stages[cutover].steps[0], &mut world);
    let case = Case::new(&plan, statuses);
    assert_eq!(case.forward(&world)[cutover], [Onward::Found("found done".into()), Onward::Run]);
    assert_eq!(case.undone(&world, Ask::Abort)[cutover], [Backward::Undo, Backward::LookAgain]);
}

#[test]
fn a_half_launched_fleet_is_launched_on_or_undone() {
    let (plan, before) = planned();
    let launch = at(&plan, |stage| stage.name == StageName::Launch);
    let mut statuses = through(&plan, launch, StepStatus::Succeeded);
    statuses[launch].fill(Some(StepStatus::Started));
    let mut world = after(&plan, &before, launch + 1);
    world.fleets.last_mut().unwrap().groups.get_mut(&CapacityKind::OnDemand).unwrap().desired = 0;
    let case = Case::new(&plan, statuses);
    assert!(case.forward(&world)[launch].contains(&Onward::Run));
    assert!(case.undone(&world, Ask::Abort)[launch].iter().all(|act| *act == Backward::Undo));
}

#[test]
fn m25_what_is_neither_before_nor_after_is_named_and_left_alone() {
    let (plan, before) = planned();
    let cutover = at(&plan, is_cutover);
    let mut statuses = through(&plan, cutover, StepStatus::Succeeded);
    statuses[cutover].fill(Some(StepStatus::Started));
    let mut world = after(&plan, &before, cutover);
    let Step::CutOverTraffic { rule, before: from, .. } = &plan.stages[cutover].steps[0] else { panic!("a cutover") };
    let mut half = from.clone();
    half.0.values_mut().for_each(|weight| *weight = 50);
    apply(&Step::IdleInRoute { rule: rule.clone(), before: from.clone(), after: half }, &mut world);
    let case = Case::new(&plan, statuses);
    for ask in [Ask::GoOn, Ask::Abort] {
        let stopped = case.stopped(&world, ask);
        assert!(matches!(stopped, Unresumable::Stranded(_)), "{stopped:?}");
        assert!(stopped.refusal().because[0].contains("serves r41:50 r42:50; expected r41:100 r42:0 or r41:0 r42:100"), "{stopped:?}");
        assert!(stopped.refusal().next.contains(&"adstage rollback production".to_string()));
    }
}

#[test]
fn what_was_done_and_is_gone_is_another_world_than_the_plans() {
    let (plan, before) = planned();
    let launch = at(&plan, |stage| stage.name == StageName::Launch);
    let case = Case::new(&plan, through(&plan, launch + 1, StepStatus::Succeeded));
    let mut world = after(&plan, &before, launch + 1);
    world.fleets.last_mut().unwrap().groups.clear();
    let stopped = case.stopped(&world, Ask::GoOn);
    assert!(matches!(&stopped, Unresumable::Refused(_)) && stopped.refusal().because[0].contains("it is not there"), "{stopped:?}");
    let next = &stopped.refusal().next;
    assert_eq!(next[..], ["adstage resume production --abort".to_string(), "adstage rollback production".to_string()]);
    // There is nothing left of it to undo.
    let acts = &case.undone(&world, Ask::Abort)[launch];
    assert!(acts.contains(&Backward::Nothing("it is gone already".into())) && acts.contains(&Backward::Undo), "{acts:?}");
}

#[test]
fn going_back_is_for_ever_and_goes_on_where_it_was() {
    let (plan, before) = planned();
    let launch = at(&plan, |stage| stage.name == StageName::Launch);
    let mut statuses = through(&plan, launch, StepStatus::Succeeded);
    statuses[launch] = vec![Some(StepStatus::Undoing), Some(StepStatus::Undone)];
    let case = Case::new(&plan, statuses.clone()).back();
    let course = case.undone(&after(&plan, &before, launch), Ask::GoOn);
    assert_eq!(course[launch], [Backward::Undo, Backward::Done]);
    assert!(course[..launch].iter().flatten().all(|act| *act == Backward::Undo), "{course:?}");

    statuses[launch][0] = Some(StepStatus::UndoFailed);
    let case = Case::new(&plan, statuses).back();
    let stopped = case.stopped(&after(&plan, &before, launch), Ask::GoOn);
    assert!(stopped.refusal().next.contains(&"adstage resume production --abort".to_string()), "{stopped:?}");
    assert_eq!(case.undone(&after(&plan, &before, launch), Ask::Abort)[launch][0], Backward::Undo);
}

#[test]
fn past_the_first_removal_undoing_is_not_offered() {
    let (environment, mut world) = world("web: r40 x2 warm, r41 x2 live");
    world.fleets.iter_mut().for_each(healthy);
    let plan = deploy(&environment, &world, &DeployRequest::default()).unwrap();
    let retire = at(&plan, |stage| stage.steps.iter().any(|step| matches!(step, Step::RetireFleet { .. })));
    let mut statuses = through(&plan, retire, StepStatus::Succeeded);
    let there = after(&plan, &world, retire);
    assert!(Case::new(&plan, statuses.clone()).judged(&there, Ask::Abort).is_ok(), "after the cutover, before the removal");
    statuses[retire].fill(Some(StepStatus::Started));
    let case = Case::new(&plan, statuses);
    let stopped = case.stopped(&there, Ask::Abort);
    let next = &stopped.refusal().next;
    assert_eq!(next[..], ["adstage rollback production".to_string(), "adstage resume production".to_string()]);
    assert!(case.judged(&there, Ask::GoOn).is_ok());
}

#[test]
fn visitors_are_not_taken_back_to_a_sick_fleet() {
    let (plan, before) = planned();
    let cutover = at(&plan, is_cutover);
    let case = Case::new(&plan, through(&plan, cutover + 1, StepStatus::Succeeded));
    let mut world = after(&plan, &before, cutover + 1);
    assert!(case.judged(&world, Ask::Abort).is_ok());
    world.fleets[0].target_group.as_mut().unwrap().targets.clear();
    let stopped = case.stopped(&world, Ask::Abort);
    assert!(stopped.refusal().because[0].contains("admin-r41 has no healthy instance"), "{stopped:?}");
}

#[test]
fn an_old_plan_is_only_undone() {
    let (plan, before) = planned();
    let old = Case { age: Seconds(KEPT.0 + 1), ..Case::new(&plan, through(&plan, 1, StepStatus::Succeeded)) };
    let world = after(&plan, &before, 1);
    let stopped = old.stopped(&world, Ask::GoOn);
    assert_eq!(stopped.refusal().next[0], "adstage resume production --abort");
    assert!(old.judged(&world, Ask::Abort).is_ok());
}

/// Every plan, cut after each of its stages: what is left is exactly the rest, and going back undoes exactly what was begun.
#[test]
fn cut_after_any_stage_the_rest_remains() {
    let lines = [
        "web: ; admin: ",
        "web: r41 x2 live; admin: r41 x1 live; worker: r41 x1 live",
        "web: r39 x2 warm, r40 x2 warm, r41 x2 live; worker: r40 x0 out, r41 x1 live",
        "web: r40 x2 warm, r41 x2 live, before=r40; worker: r40 x0 out, r41 x1 live, before=r40",
    ];
    for line in lines {
        let (mut environment, mut start) = world(line);
        start.fleets.iter_mut().for_each(healthy);
        let at_once = deploy(&environment, &start, &DeployRequest::default());
        let shift = |percent| crate::model::Shift { percent, watch: Seconds(180) };
        environment.timing.watching.shifts = [10, 50, 100].map(shift).into();
        let plans =
            [at_once, deploy(&environment, &start, &DeployRequest::default()), rollback(&environment, &start, &RollbackRequest::default())];
        for plan in plans.into_iter().flatten() {
            for cut in 0..=plan.stages.len() {
                let there = after(&plan, &start, cut);
                let case = Case::new(&plan, through(&plan, cut, StepStatus::Succeeded));
                let course = case.forward(&there);
                let rerun = |stage: &Stage| stage.steps.iter().all(Step::only_looks);
                for (at, (stage, acts)) in plan.stages.iter().zip(&course).enumerate() {
                    let done = acts.iter().all(|act| *act == Onward::Done);
                    assert!(done == (at < cut) || rerun(stage), "{line}, cut at {cut}: {} {acts:?}", stage.name);
                }
                if let Ok(Course::Back(course)) = case.judged(&there, Ask::Abort) {
                    let begun = course.iter().map(|acts| acts.iter().any(|act| *act != Backward::Done)).collect::<Vec<_>>();
                    assert!(begun.iter().enumerate().all(|(at, begun)| *begun == (at < cut)), "{line}, cut at {cut}");
                }
            }
        }
    }
}
