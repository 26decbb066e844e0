//! The look after the last: a call that an earlier holder sent before it lost the lock may land minutes later, since AWS goes on accepting
//! its signature. As long as one may be under way (`HEAD.check_after`, written when the lock was taken from somebody who had not let go), an
//! operation looks at the weights once more before it ends, puts right what is not as meant, and writes down what it found.

use std::collections::BTreeMap;

use super::Executor;
use crate::journal;
use crate::lock::Lost;
use crate::model::{Activity, Event, Fleet, Mark, OperationKind, ReleaseNumber, RuleKey, ServiceName, Weights, World};
use crate::observe::{self, Wants};
use crate::plan::Step;
use crate::steps;

impl Executor<'_> {
    /// Looks, if there is reason to. `meant`: what each service is to serve. What cannot be looked at or put right now is left to the
    /// next command: the reason to look stays.
    pub(super) async fn last_look(&self, meant: &BTreeMap<ServiceName, ReleaseNumber>) -> Result<(), Lost> {
        if !matches!(self.plan.kind, OperationKind::Deploy | OperationKind::Rollback) {
            return Ok(());
        }
        let scope = self.record.scope();
        let due = match journal::head(&self.cx.aws.dynamodb, scope).await {
            Ok(head) => head.map(|head| head.check_after).unwrap_or_default(),
            Err(error) => return self.unseen(&error.to_string()),
        };
        if due.is_empty() {
            return Ok(());
        }
        let world = match observe::world(&self.cx.aws, &self.cx.environment, scope, Wants::default()).await {
            Ok(world) => world,
            Err(error) => return self.unseen(&error.to_string()),
        };
        let now = u64::try_from(self.cx.aws.dynamodb.now().as_second()).unwrap_or_default();
        let left: Vec<u64> = due.into_iter().filter(|time| *time > now).collect();
        let wrong = self.wrong(&world, meant);
        if wrong.is_empty() {
            return self.record.looked(Some("everything is as meant"), &left).await;
        }
        for step in wrong {
            let text = format!("a call of an earlier holder has landed late: {step}");
            (self.emit)(Event::Said { mark: Mark::Warning, text: text.clone() });
            self.record.landed_late(&text).await?;
            if let Err(error) = steps::run(&step, self.cx).await {
                return self.unseen(&error.what);
            }
        }
        self.record.looked(None, &left).await
    }

    /// A write per route that does not lead where it is meant to, and per fleet of a worker that works, or does not, against what is meant.
    fn wrong(&self, world: &World, meant: &BTreeMap<ServiceName, ReleaseNumber>) -> Vec<Step> {
        let routed = self.cx.environment.services.iter().filter_map(|service| {
            let rule = RuleKey { service: service.name.clone(), priority: service.route.as_ref()?.priority };
            Some((rule, *meant.get(&service.name)?))
        });
        let wrong = routed.filter_map(|(rule, meant)| {
            let before = world.weights(&rule).unwrap_or_default();
            let mut after: BTreeMap<ReleaseNumber, u16> = before.0.keys().map(|release| (*release, 0)).collect();
            after.insert(meant, 100);
            (before.sole() != Some(meant)).then_some(Step::CutOverTraffic { rule, before, after: Weights(after), origin: None })
        });
        wrong.chain(astray(world, meant)).collect()
    }

    /// The next command looks again.
    fn unseen(&self, why: &str) -> Result<(), Lost> {
        let text = format!("whether every route is as meant is left to the next look: {why}");
        (self.emit)(Event::Said { mark: Mark::Warning, text });
        Ok(())
    }
}

/// Those that are to work come first.
fn astray(world: &World, meant: &BTreeMap<ServiceName, ReleaseNumber>) -> Vec<Step> {
    let set = |fleet: &Fleet| {
        let (activity, key) = (fleet.activity()?, &fleet.key);
        let active = *meant.get(&key.service)? == key.release;
        let wanted = if active { Activity::Active } else { Activity::Held };
        (activity != wanted).then(|| Step::SetActive { fleet: key.clone(), active })
    };
    let mut wrong: Vec<Step> = world.fleets.iter().filter_map(set).collect();
    wrong.sort_by_key(|step| !step.cuts_over());
    wrong
}
