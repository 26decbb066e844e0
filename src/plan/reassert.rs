//! Back to what the records say serves, where a call of somebody who had lost the lock landed after everybody had looked away. Only while
//! such a call may be the reason ([`Head::check_after`]); any other difference is a person's doing, and theirs to explain.

use crate::model::{Environment, Head, World};

use super::Plan;
use super::refusal::{Reasons, Refusal, rollback as rollback_command};
use super::rollback::{order, recorded, returns};
use super::shift::between;
use super::situation::{Cut, Situation, Standing};

/// The plan that makes every route serve what the records name; empty if every one does, or if nothing can have landed late.
pub fn reassert(environment: &Environment, world: &World) -> Result<Plan, Refusal> {
    let situation = Situation::of(environment, world);
    let mut reasons = Reasons::default();
    if let Cut::Between(operation) = situation.cut {
        reasons.add(between(&situation, operation), rollback_command(&environment.name));
    }
    let late = landed_late(&situation);
    let mut targets = recorded(&situation);
    targets.retain(|service, _| late.iter().any(|standing| standing.service.name == *service));
    let returns = returns(&situation, &targets, &mut reasons);
    reasons.verdict(format!("cannot put {} back to what its records say", environment.name))?;
    let mut plan = order(&situation, &targets, &returns);
    let says = |standing: &&Standing| format!("a call of an earlier holder has landed late: {}", standing.service.name);
    plan.notes.extend(late.iter().map(says));
    Ok(plan)
}

/// Routes that do not lead where the records say, and workers that do not work as they say, while a late call may be the reason.
pub(super) fn landed_late<'a, 'w>(situation: &'a Situation<'w>) -> Vec<&'a Standing<'w>> {
    let pending = |head: &Head| !head.check_after.is_empty();
    if situation.cut != Cut::None || !situation.world.records.head.as_ref().is_some_and(pending) {
        return Vec::new();
    }
    let elsewhere = |standing: &&Standing| match standing.recorded() {
        None => false,
        Some(recorded) if standing.rule.is_some() => standing.live != Some(recorded),
        Some(recorded) => !standing.works_alone(recorded),
    };
    situation.standings.iter().filter(elsewhere).collect()
}
