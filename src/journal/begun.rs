//! An operation that stopped before its end, read back whole: its row, its plan, its events folded. What cannot be read whole is not guessed.

use super::entry::{Logged, StepKey};
use super::fold::{Illegal, OperationStatus, fold};
use super::read::operation;
use super::rows::Operation;
use crate::aws::dynamodb::Malformed;
use crate::aws::{Dynamodb, Error};
use crate::model::{OperationId, Scope, Seconds, World};
use crate::plan::{self, Ask, Course, Plan, Unfinished, Unresumable};

/// An operation as far as it got.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Its row.
    pub operation: Operation,
    /// What it was to do.
    pub plan: Plan,
    /// How far it got.
    pub status: OperationStatus,
    /// When its newest event was written, RFC 3339.
    pub last: String,
}

/// Why an operation cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// AWS did not answer, or with no.
    #[error("{0}")]
    Aws(#[from] Error),
    /// There is no such operation in this scope.
    #[error("the records do not hold operation {0}")]
    Missing(OperationId),
    /// Another version of adstage made its plan, in words this one does not know.
    #[error("it was made by adstage {made_by}, and this is {}: its plan cannot be read", env!("CARGO_PKG_VERSION"))]
    OtherVersion {
        /// The version that made it.
        made_by: String,
    },
    /// The events are no journal: one is missing, or follows where it must not.
    #[error("its journal is broken at {0}")]
    Broken(#[from] Illegal),
}

impl From<Malformed> for Unreadable {
    fn from(malformed: Malformed) -> Self {
        Self::Aws(malformed.into())
    }
}

/// Reads an operation back.
pub async fn begun(db: &Dynamodb, scope: &Scope, id: &OperationId) -> Result<Begun, Unreadable> {
    let Some((operation, events)) = operation(db, scope, id).await? else { return Err(Unreadable::Missing(id.clone())) };
    Begun::of(operation, &events)
}

impl Begun {
    fn of(operation: Operation, events: &[Logged]) -> Result<Self, Unreadable> {
        let status = fold(events)?;
        // The row counts the events: one that is missing at the end leaves no gap.
        if events.len() as u64 != operation.seq + 1 {
            let problem = format!("the operation counts {} events, and {} are there", operation.seq + 1, events.len());
            return Err(Illegal { seq: operation.seq, problem }.into());
        }
        let made_by = || Unreadable::OtherVersion { made_by: operation.cli.clone() };
        let plan = operation.plan().map_err(|_| made_by())?.filter(|plan| operation.holds(plan)).ok_or_else(made_by)?;
        let known = |key: &StepKey| {
            let stage = |stage: &&plan::Stage| stage.name.to_string() == key.stage;
            plan.stages.iter().filter(stage).any(|stage| stage.steps.iter().any(|step| step.to_string() == key.step))
        };
        // This version has other words for the same step.
        if status.steps.iter().any(|(key, _)| !known(key)) {
            return Err(made_by());
        }
        let last = events.last().map(|event| event.at.clone()).unwrap_or_default();
        Ok(Self { operation, plan, status, last })
    }

    /// What remains to be done in this world, or why it is not done. `age`: how long ago it began.
    pub fn course(
        &self,
        environment: &crate::model::EnvironmentName,
        world: &World,
        ask: Ask,
        age: Seconds,
    ) -> Result<Course, Unresumable> {
        let stages = self.plan.stages.iter();
        let statuses = stages.map(|stage| stage.steps.iter().map(|step| self.status.status(&StepKey::new(stage.name, step))).collect());
        let (record, direction) = (&self.operation.record, self.status.direction);
        let unfinished = Unfinished { record, plan: &self.plan, statuses: statuses.collect(), direction, age };
        plan::resume(environment, &unfinished, world, ask)
    }

    /// How long ago it began, by AWS's clock.
    pub fn age(&self, now: jiff::Timestamp) -> Seconds {
        let began = self.operation.record.at.parse::<jiff::Timestamp>().unwrap_or(now);
        Seconds(now.duration_since(began).as_secs().max(0).cast_unsigned())
    }
}
