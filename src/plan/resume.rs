//! What remains to be done of an operation that stopped before its end: its own plan, what its journal says of each step, and what the
//! world shows, make a course; or a person must look.
//!
//! | last event | the world shows | going on | going back |
//! |---|---|---|---|
//! | none | | run | nothing |
//! | started, failed | after | found done (a failed one runs again) | undo |
//! | started, failed | before | run again | look again, then nothing or undo |
//! | started, failed | half | run again: steps converge | undo: so do undos |
//! | started, failed | something else | stop, change nothing | the same |
//! | succeeded | after | done; health is proved again before visitors move | undo |
//! | succeeded | anything else | stop: the plan was made for another world | undo, nothing if it is gone, or stop |
//! | undo started | | | undo again |
//! | undo failed | | | stop; `--abort` tries once more |
//!
//! Compared are the steps of the plan with what they name: templates, target groups, test rules, groups, routes. What `adstage.toml` says
//! by now plays no part, unless it leads to another account, load balancer or table.

use std::collections::BTreeSet;

use crate::model::{Direction, EnvironmentName, FleetKey, OperationKind, OperationRecord, Seconds, ServiceName, StepStatus, World};

use super::refusal::{Reasons, rollback};
use super::situation::said;
use super::stand::{Stand, stands};
use super::{Plan, Refusal, StageName, Step};

/// A plan older than this is not gone on with: what it was decided from is not the world any more.
pub const KEPT: Seconds = Seconds(24 * 3600);

/// What is done when a step that may have run shows no trace is looked at again after this long: reads lag behind writes.
pub const SECOND_LOOK: Seconds = Seconds(30);

/// An operation that stopped before its end, as the journal tells.
#[derive(Debug, Clone)]
pub struct Unfinished<'a> {
    /// Its row.
    pub record: &'a OperationRecord,
    /// Its plan.
    pub plan: &'a Plan,
    /// Where each step stands, stage by stage, as in the plan; none for one that was never begun.
    pub statuses: Vec<Vec<Option<StepStatus>>>,
    /// Which way it went.
    pub direction: Direction,
    /// How long ago it began.
    pub age: Seconds,
}

/// What the operator wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Bring it to its end, whichever way it went.
    GoOn,
    /// Undo everything it began.
    Abort,
}

/// What remains to be done, step by step as in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// Towards what was asked for.
    Forward(Vec<Vec<Onward>>),
    /// Towards what was before.
    Back(Vec<Vec<Backward>>),
}

/// What to do with a step on the way forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Onward {
    /// Run it, for the first time or again.
    Run,
    /// It was begun, and is found done: this is the evidence.
    Found(String),
    /// It is done.
    Done,
}

/// What to do with a step on the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backward {
    /// Undo it, for the first time or again.
    Undo,
    /// It was begun, and there is no trace of it: look again before that is believed.
    LookAgain,
    /// There is nothing to undo, and why.
    Nothing(String),
    /// It was never begun, or is undone.
    Done,
}

/// Why it is neither gone on with nor undone. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresumable {
    /// What was asked cannot be done; something else can.
    Refused(Refusal),
    /// A person must look.
    Stranded(Refusal),
}

impl Unresumable {
    /// The words of either.
    pub fn refusal(&self) -> &Refusal {
        match self {
            Self::Refused(refusal) | Self::Stranded(refusal) => refusal,
        }
    }
}

impl Course {
    /// Everything of a plan, from its first step.
    pub fn all(plan: &Plan) -> Self {
        Self::Forward(plan.stages.iter().map(|stage| vec![Onward::Run; stage.steps.len()]).collect())
    }
}

/// What remains to be done, or why it is not done.
pub fn resume(environment: &EnvironmentName, unfinished: &Unfinished<'_>, world: &World, ask: Ask) -> Result<Course, Unresumable> {
    let judge = Judge { environment, unfinished, world };
    if unfinished.direction == Direction::Back || ask == Ask::Abort {
        return judge.back(ask);
    }
    judge.forward()
}

/// What going back does with a stage that has just run.
pub fn undoing(name: StageName, steps: &[Step]) -> Vec<Backward> {
    steps.iter().map(|step| if undoes(name, step) { Backward::Undo } else { nothing() }).collect()
}

/// Something is there to be undone. What was cleared away was nobody's, and stays so.
fn undoes(stage: StageName, step: &Step) -> bool {
    !step.only_looks() && step.has_way_back() && stage != StageName::Clear
}

fn nothing() -> Backward {
    Backward::Nothing("nothing to undo".to_string())
}

struct Judge<'a> {
    environment: &'a EnvironmentName,
    unfinished: &'a Unfinished<'a>,
    world: &'a World,
}

impl Judge<'_> {
    fn stands(&self) -> Vec<Vec<Stand>> {
        let statuses = &self.unfinished.statuses;
        stands(self.unfinished.plan, self.world, |stage, place| {
            statuses
                .get(stage)
                .and_then(|stage| stage.get(place))
                .is_some_and(|status| status.is_some_and(|status| status != StepStatus::Undone))
        })
    }

    fn command(&self, rest: &str) -> String {
        format!("adstage resume {}{rest}", self.environment)
    }

    /// Applies a judgement to every step.
    fn each<T>(&self, mut judged: impl FnMut(StageName, &Step, Option<StepStatus>, Stand) -> T) -> Vec<Vec<T>> {
        let stages = self.unfinished.plan.stages.iter().zip(&self.unfinished.statuses).zip(self.stands());
        let stage = stages.map(|((stage, statuses), stands)| {
            let steps = stage.steps.iter().zip(statuses).zip(stands);
            steps.map(|((step, status), stand)| judged(stage.name, step, *status, stand)).collect()
        });
        stage.collect()
    }

    fn forward(&self) -> Result<Course, Unresumable> {
        let what = format!("cannot go on with {}", said(self.unfinished.record));
        if self.unfinished.age > KEPT {
            let mut old = Reasons::default();
            let why = format!(
                "it began {} ago: after {KEPT} it is only undone, because what it was planned for is not the world any more",
                self.unfinished.age
            );
            old.add(why, self.command(" --abort"));
            return Err(Unresumable::Refused(self.and_rollback(old).refusal(what)));
        }
        let (mut changed, mut foreign) = (Reasons::default(), false);
        let mut course = self.each(|_, step, status, stand| {
            use StepStatus::{Failed, Started, Succeeded};
            match (status, stand) {
                (None, _) => Onward::Run,
                (Some(Started), Stand::After) => Onward::Found("found done".to_string()),
                (Some(Succeeded), Stand::After | Stand::Unseen) => Onward::Done,
                (Some(Succeeded), stand) => {
                    changed.add(format!("{step}: it was done, and now {}", instead(&stand)), "");
                    Onward::Done
                }
                (Some(Started | Failed), Stand::Elsewhere(what)) => {
                    foreign = true;
                    changed.add(format!("{step}: {what}"), "");
                    Onward::Run
                }
                (Some(_), _) => Onward::Run,
            }
        });
        let changed = self.and_abort(changed);
        match (changed.verdict(what), foreign) {
            (Err(refusal), true) => return Err(Unresumable::Stranded(refusal)),
            (Err(refusal), false) => return Err(Unresumable::Refused(refusal)),
            (Ok(()), _) => {}
        }
        self.prove_again(&mut course);
        Ok(Course::Forward(course))
    }

    /// What was proved before the process died is proved again if visitors are still to be moved.
    fn prove_again(&self, course: &mut [Vec<Onward>]) {
        let plan = self.unfinished.plan;
        let Some(point) = plan.turning_point() else { return };
        // A worker alone is made active where others move visitors.
        let first = !plan.stages.iter().flat_map(|stage| &stage.steps).any(|step| matches!(step, Step::CutOverTraffic { .. }));
        // Without a cutover the point itself is where the old fleets begin to go.
        let moves = |step: &Step| matches!(step, Step::CutOverTraffic { .. }) || first && step.cuts_over();
        let all = || {
            plan.stages
                .iter()
                .zip(course.iter())
                .enumerate()
                .flat_map(|(at, (stage, acts))| stage.steps.iter().zip(acts).map(move |(step, act)| (at, step, act)))
        };
        let to_come = match all().any(|(_, step, _)| moves(step)) {
            true => all().any(|(_, step, act)| moves(step) && *act == Onward::Run),
            false => all().filter(|(at, ..)| *at >= point).all(|(.., act)| *act == Onward::Run),
        };
        if !to_come {
            return;
        }
        for (stage, acts) in plan.stages.iter().zip(course).take(point) {
            for (step, act) in stage.steps.iter().zip(acts) {
                if step.proves() {
                    *act = Onward::Run;
                }
            }
        }
    }

    fn back(&self, ask: Ask) -> Result<Course, Unresumable> {
        let what = format!("cannot undo {}", said(self.unfinished.record));
        if let Some(gone) = self.retired().filter(|_| self.unfinished.direction == Direction::Forward) {
            let mut reasons = Reasons::default();
            reasons.add(format!("{gone}: that has begun, and there is no way back from it"), rollback(self.environment));
            reasons.add("all visitors are on its release", self.command(""));
            return Err(Unresumable::Refused(reasons.refusal(what)));
        }
        if ask == Ask::Abort && self.unfinished.direction == Direction::Forward && self.puts_right() {
            let mut reasons = Reasons::default();
            let what_was =
                "before it, visitors got what no record names, from an operation that was cut short: undoing it leads back there";
            reasons.add(what_was, self.command(""));
            return Err(Unresumable::Refused(reasons.refusal(what)));
        }
        let mut reasons = Reasons::default();
        let course = self.each(|stage, step, status, stand| {
            use StepStatus::{Failed, Started, Succeeded, UndoFailed, Undoing, Undone};
            match (status, stand) {
                (None | Some(Undone), _) => Backward::Done,
                (Some(_), _) if !undoes(stage, step) => nothing(),
                (Some(UndoFailed), _) if ask == Ask::GoOn => {
                    reasons.add(format!("{step}: undoing it failed before"), self.command(" --abort"));
                    Backward::Undo
                }
                (Some(Undoing | UndoFailed), _) => Backward::Undo,
                (Some(Started | Failed | Succeeded), Stand::Elsewhere(what)) => {
                    reasons.add(format!("{step}: {what}"), "");
                    Backward::Undo
                }
                (Some(Succeeded), Stand::Before) => Backward::Nothing("it is gone already".to_string()),
                (Some(Started | Failed), Stand::Before) => Backward::LookAgain,
                (Some(Started | Failed | Succeeded), Stand::After | Stand::Half(_) | Stand::Unseen) => Backward::Undo,
            }
        });
        self.nobody_to_go_back_to(&course, &mut reasons);
        match self.and_rollback(reasons).verdict(what) {
            Err(refusal) => Err(Unresumable::Stranded(refusal)),
            Ok(()) => Ok(Course::Back(course)),
        }
    }

    /// It takes visitors from where an operation left them half way to what the records say they get.
    fn puts_right(&self) -> bool {
        let plan = self.unfinished.plan;
        let recorded = |service: &ServiceName| self.world.records.head.as_ref().and_then(|head| head.serving.get(service));
        let recorded_now = plan.serving.iter().all(|(service, meant)| recorded(service) == Some(meant));
        plan.kind == OperationKind::Rollback && recorded_now && plan.before != plan.serving
    }

    /// The first fleet whose removal has begun, other than what was cleared out of the way.
    fn retired(&self) -> Option<&Step> {
        let plan = self.unfinished.plan;
        let stages = plan.stages.iter().zip(&self.unfinished.statuses).filter(|(stage, _)| stage.name != StageName::Clear);
        let mut steps = stages.flat_map(|(stage, statuses)| stage.steps.iter().zip(statuses));
        steps.find(|(step, status)| status.is_some() && matches!(step, Step::RetireFleet { .. })).map(|(step, _)| step)
    }

    /// Visitors are only taken back to fleets that can serve them now.
    fn nobody_to_go_back_to(&self, course: &[Vec<Backward>], reasons: &mut Reasons) {
        let stages = self.unfinished.plan.stages.iter().zip(course);
        let steps = stages.flat_map(|(stage, acts)| stage.steps.iter().zip(acts));
        let mut sick = BTreeSet::new();
        for (step, _) in steps.filter(|(_, act)| **act == Backward::Undo) {
            let Step::CutOverTraffic { rule, before, .. } = step else { continue };
            let now = self.world.weights(rule).unwrap_or_default();
            let regains = before.0.iter().filter(|(release, weight)| **weight > 0 && now.0.get(release).is_none_or(|now| *now == 0));
            for (release, _) in regains {
                let healthy = self.world.fleet(&rule.service, *release).map_or(0, crate::model::Fleet::healthy);
                if healthy == 0 {
                    sick.insert(FleetKey { service: rule.service.clone(), release: *release });
                }
            }
        }
        for fleet in sick {
            reasons.add(format!("{fleet} has no healthy instance: no visitor is taken back to it"), "");
        }
    }

    fn and_abort(&self, mut reasons: Reasons) -> Reasons {
        if !reasons.is_empty() {
            reasons.offer(self.command(" --abort"));
        }
        self.and_rollback(reasons)
    }

    fn and_rollback(&self, mut reasons: Reasons) -> Reasons {
        let moves = matches!(self.unfinished.record.kind, OperationKind::Deploy | OperationKind::Rollback);
        if moves && !reasons.is_empty() {
            reasons.offer(rollback(self.environment));
        }
        reasons
    }
}

fn instead(stand: &Stand) -> String {
    match stand {
        Stand::Half(what) | Stand::Elsewhere(what) => what.clone(),
        Stand::Before | Stand::After | Stand::Unseen => "it is not there".to_string(),
    }
}
