//! Taking the lock for a plan, and what is said on the way: whom it waits for, whom it takes over, who or what keeps it out.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::{AtWork, Freeze, Operator};
use crate::cli::access::new_id;
use crate::cli::lock::freeze_end;
use crate::failure::{End, Failure};
use crate::journal::{self, Entry};
use crate::lock::{self, Blocked, Held, Intent, Watch, constants};
use crate::model::{Event, Mark, OperationId, OperationKind, OperationRecord, Outcome, Seconds, Serving, World, serving};
use crate::plan::Plan;
use crate::report::took;

impl Operator<'_> {
    /// What the blocked are shown: `deploying r42`.
    fn shown(&self, plan: &Plan) -> String {
        let release = plan.release.as_ref().map(|release| format!(" {}", release.number)).unwrap_or_default();
        match plan.kind {
            OperationKind::Deploy => format!("deploying{release}"),
            OperationKind::Rollback => format!("rolling back to{release}"),
            OperationKind::Scale => "scaling".into(),
            OperationKind::Setup => "setting up".into(),
            OperationKind::Bake => format!("baking {}", self.work.subject),
            OperationKind::Images => format!("at work on {}", self.work.subject),
            OperationKind::Review => format!("{} {}", self.work.verb, self.work.subject),
        }
    }

    fn intent(&self, plan: &Plan, operation: &OperationId, who: &lock::Identity, world: &World) -> Result<Intent, Failure> {
        let record = OperationRecord {
            id: operation.clone(),
            kind: plan.kind,
            release: plan.release.as_ref().map(|release| release.number),
            previous: plan.previous,
            by: who.who.clone(),
            at: self.global.clock.wall().to_string(),
            ended_at: None,
            ended: None,
            stage: "lock".into(),
            reason: None,
        };
        let body = journal::operation_body(&record, &self.work.command, &who.cli, Some(plan));
        let record = body.map_err(|malformed| Failure::new(End::Unexpected, "the plan cannot be written down").because(malformed))?;
        let freeze = self.passed(world).map(|passed| format!("; {passed}")).unwrap_or_default();
        let began = Entry::Began { text: format!("{}, on {} ({}){freeze}", self.doing(plan), who.host, who.via) }.item();
        Ok(Intent {
            operation: operation.clone(),
            doing: self.shown(plan),
            record,
            began,
            writes: Vec::new(),
            settles: true,
            passes_freeze: self.work.freeze != Freeze::Stops,
            secondaries: self.desk.secondaries(),
            hold: self.global.hold(),
            eta_s: usual(&world.records.operations, plan.kind).map(|usual| usual.0),
        })
    }

    /// A freeze stops this, or is passed, and that is said.
    pub(super) async fn meet_freeze(&self, world: &World) -> Result<(), Failure> {
        match &world.records.freeze {
            Some(freeze) if self.work.freeze == Freeze::Stops && !self.work.preview.plan => {
                let before = serving(&self.access.environment, world);
                return Err(self.desk.blocked(Blocked::Frozen(freeze.clone()), None, &before).await);
            }
            _ => {}
        }
        if let Some(passed) = self.passed(world) {
            self.global.report.emit(&Event::Said { mark: Mark::Warning, text: passed });
        }
        Ok(())
    }

    /// `maya's freeze until … ("year-end close") is overridden: the login is broken`.
    fn passed(&self, world: &World) -> Option<String> {
        let freeze = world.records.freeze.as_ref()?;
        let end = freeze_end(freeze, self.access.aws.dynamodb.now(), &TimeZone::system());
        let whose = format!("{}'s freeze {end} (\"{}\")", freeze.who, freeze.reason);
        match &self.work.freeze {
            Freeze::Stops => None,
            Freeze::Passed => Some(format!("{whose} does not stop a {}", self.work.verb)),
            Freeze::Overridden(why) => Some(format!("{whose} is overridden: {why}")),
        }
    }

    /// Takes it. Whoever halts others does not give up because one of them came back to life for a moment.
    pub(super) async fn lock(&self, plan: &Plan, watch: Watch, world: &World, before: &Serving) -> Result<(Held, OperationId), Failure> {
        let who = self.global.identity(&self.access.caller);
        let operation = OperationId(new_id(&self.global.clock));
        let intent = self.intent(plan, &operation, &who, world)?;
        let at_least = if self.work.at_work == AtWork::Halts { constants::LEASE + constants::GRACE * 2 } else { Duration::ZERO };
        let held = self.desk.lock(who, intent, Some(plan), watch, before, at_least).await?;
        Ok((held, operation))
    }
}

/// How many of the latest are asked how long they took.
const RECENT: usize = 5;

/// How long such an operation usually takes, by the latest that came to a good end: the middle one, so that one bad night does not count.
fn usual(operations: &[OperationRecord], kind: OperationKind) -> Option<Seconds> {
    let well = operations.iter().filter(|operation| operation.kind == kind && operation.ended == Some(Outcome::Deployed));
    let mut spans: Vec<Seconds> = well.filter_map(|operation| took(&operation.at, operation.ended_at.as_deref())).take(RECENT).collect();
    spans.sort();
    spans.get(spans.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(kind: OperationKind, ended: Outcome, minutes: u32) -> OperationRecord {
        OperationRecord {
            id: OperationId("01".into()),
            kind,
            release: None,
            previous: None,
            by: "ana".into(),
            at: "2026-11-22T11:00:00Z".into(),
            ended_at: Some(format!("2026-11-22T11:{minutes:02}:00Z")),
            ended: Some(ended),
            stage: String::new(),
            reason: None,
        }
    }

    #[test]
    fn the_usual_time_is_the_middle_one_of_the_latest_that_went_well() {
        use OperationKind::{Deploy, Rollback};
        let deploys = [12, 3, 50, 11, 13, 1].map(|minutes| operation(Deploy, Outcome::Deployed, minutes));
        let other = [operation(Deploy, Outcome::RolledBack, 1), operation(Rollback, Outcome::Deployed, 2)];
        let history: Vec<_> = other.into_iter().chain(deploys).collect();
        assert_eq!(usual(&history, Deploy), Some(Seconds(720)), "3, 11, 12, 13, 50");
        assert_eq!(usual(&history, Rollback), Some(Seconds(120)));
        assert_eq!(usual(&history[..2], Deploy), None);
    }
}
