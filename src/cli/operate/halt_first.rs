//! Somebody is at work, and this does not wait for them (a rollback): they are named in the plan, asked to stop once it is confirmed, and
//! taken over if they do not answer.

use std::time::Duration;

use super::Operator;
use crate::cli::access::refused;
use crate::cli::lock::Every;
use crate::cli::lock::halt::{Answer, Request, ask, waiting};
use crate::failure::{End, Failure};
use crate::lock::{Watch, constants};
use crate::model::{Event, LockRecord, OperationId, Outcome, Seconds, Serving, World, drift};
use crate::plan::{self, Plan};

/// The stage's name for everybody who watches.
const STAGE: &str = "halt";

impl Operator<'_> {
    /// Shows the plan for the world as it is, asks, halts whoever is at work, and comes back with what was agreed to.
    pub(super) async fn halt_first(&self, world: &World, before: &Serving) -> Result<(Option<Plan>, Watch), Failure> {
        let ended = |failure, plan| self.desk.ended(Outcome::Refused, plan, before, failure);
        let plan = self.planned(world).map_err(|failure| ended(failure, None))?;
        let at_work = world.records.holder();
        let Some((lock, operation)) = at_work.and_then(|lock| Some((lock, lock.operation.as_ref()?))) else {
            return Ok((None, Watch::new(&self.global.clock)));
        };
        let lines = named(world).into_iter().chain(plan::render(&plan)).collect();
        self.global.report.emit(&Event::Plan { lines });
        self.confirmed(&plan).map_err(|failure| ended(failure, Some(&plan)))?;
        let watch = self.halt(lock, operation).await.map_err(|failure| ended(failure, Some(&plan)))?;
        Ok((Some(plan), watch))
    }

    /// Whoever was at work has undone it meanwhile, so what was agreed to is so already.
    pub(super) fn already(&self, agreed: &Plan, world: &World) -> bool {
        let records = &world.records;
        let meant = records.head.as_ref().is_some_and(|head| head.serving == agreed.serving);
        let settled = records.lock.as_ref().is_none_or(|lock| lock.open.is_none());
        meant && settled && drift(&self.access.environment, world).is_empty()
    }

    /// What was agreed to while somebody was still at work must lead to the same now that they are not. What there is to clear up may differ.
    pub(super) fn still(&self, agreed: &Plan, plan: &Plan, before: &Serving) -> Result<(), Failure> {
        if agreed.serving == plan.serving {
            return Ok(());
        }
        Err(self.desk.ended(Outcome::Refused, Some(plan), before, self.difference(agreed, plan)))
    }

    async fn halt(&self, lock: &LockRecord, operation: &OperationId) -> Result<Watch, Failure> {
        let (report, clock) = (&self.global.report, &self.global.clock);
        let who = self.global.who(&self.access.caller);
        let request = Request { operation, who: &who, why: self.work.verb, patience: constants::HOLD };
        let started = clock.moment();
        report.emit(&Event::StageStarted { stage: STAGE.into(), steps: vec![at(lock)] });
        let every = Every::new(clock, Duration::from_secs(5));
        let tell = |lock: &LockRecord, quiet: Duration| {
            every.now_and_then(|| {
                report.emit(&Event::StageProgress { stage: STAGE.into(), text: waiting(lock, quiet), details: Vec::new() });
            });
        };
        let answer = ask(&self.access.aws.dynamodb, clock, &self.work.scope, &request, &tell).await;
        let took = Seconds::from(clock.since(started));
        let finished = |text: String| report.emit(&Event::StageFinished { stage: STAGE.into(), text, took });
        let watch = Watch::new(clock);
        match answer.map_err(|error| refused(error, &self.access.environment))? {
            Answer::HandedOver(row) => finished(format!("{} stopped at {} and handed over", lock.who, stage(&row))),
            Answer::Ended => finished(format!("{} has come to an end", lock.who)),
            Answer::PassedOn(row) => finished(format!("{} has ended, and {} is {} now", lock.who, row.who, row.doing)),
            Answer::Gone(seen) => {
                finished(format!("no sign of {}: taking over", lock.who));
                return Ok(seen);
            }
            Answer::GoesOn(row) => {
                let text = format!("{} is still at {}", row.who, stage(&row));
                report.emit(&Event::StageFailed { stage: STAGE.into(), text, took });
                let name = &self.access.environment.name;
                let failure = Failure::new(End::Locked, format!("{} is alive, and has not stopped {} in {took}", row.who, row.doing));
                return Err(failure
                    .because(format!("at {}", stage(&row)))
                    .next(self.work.command.clone())
                    .next(format!("adstage lock break {name} {operation} --reason \"…\"")));
            }
        }
        Ok(watch)
    }
}

/// Who is at work, for the head of the plan.
pub(super) fn named(world: &World) -> Option<String> {
    let at_work = world.records.holder();
    at_work.map(|lock| format!("{}: will be halted first", at(lock)))
}

/// `joe is deploying r413 (await)`.
fn at(lock: &LockRecord) -> String {
    format!("{} is {} ({})", lock.who, lock.doing, stage(lock))
}

fn stage(lock: &LockRecord) -> &str {
    if lock.stage.is_empty() { "the start" } else { &lock.stage }
}
