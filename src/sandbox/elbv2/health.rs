//! Health checks: who is due, and what an answer changes.
//!
//! A new target is healthy after one passed check, whatever the threshold; the thresholds count for every later change of mind.

use std::time::Duration;

use super::state::{Checks, HealthCheck, TargetKey, Verdict};
use super::targets;
use crate::sandbox::engine::{Context, State};
use crate::sandbox::host::ProbeError;

/// Checks come no faster than this, however much time is compressed: real machines must be able to answer.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(200);
/// The same for the patience of one check.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);

fn interval(check: &HealthCheck, context: Context<'_>) -> Duration {
    let span = Duration::from_secs(check.interval.into());
    (span / context.latencies.compression.max(1)).max(SHORTEST_INTERVAL)
}

fn timeout(check: &HealthCheck, context: Context<'_>) -> Duration {
    let span = Duration::from_secs(check.timeout.into());
    (span / context.latencies.compression.max(1)).max(SHORTEST_TIMEOUT).min(span)
}

/// One check to be sent.
struct Due {
    target_group: String,
    key: TargetKey,
    port: u16,
    path: String,
    timeout: Duration,
    epoch: u64,
}

/// Sends the checks that are due. Targets that are not checked at all forget what was known of them.
pub(super) fn tick(state: &mut State, context: Context<'_>) {
    let mut due = Vec::new();
    for arn in state.elbv2.target_groups.keys().cloned().collect::<Vec<_>>() {
        let Some(group) = state.elbv2.target_groups.get(&arn) else { continue };
        let unchecked: Vec<TargetKey> =
            group.targets.keys().filter(|(id, _)| targets::unused(state, group, id).is_some()).cloned().collect();
        let epoch = state.elbv2.next_epoch();
        let Some(group) = state.elbv2.target_groups.get_mut(&arn) else { continue };
        let (check, name) = (&group.check, &group.arn);
        for (key, target) in group.targets.iter_mut().filter(|(_, target)| target.draining_until.is_none()) {
            let checks = &mut target.checks;
            if unchecked.contains(key) {
                *checks = Checks { epoch, unsent: true, ..Checks::default() };
                continue;
            }
            let next = *checks.next_at.get_or_insert(context.now + context.latencies.registration);
            if context.now >= next && !checks.under_way {
                checks.under_way = true;
                checks.unsent = false;
                checks.next_at = Some(context.now + interval(check, context));
                let (port, path) = (check.port.unwrap_or(key.1), check.path.clone());
                let timeout = timeout(check, context);
                due.push(Due { target_group: name.clone(), key: key.clone(), port, path, timeout, epoch: checks.epoch });
            }
        }
    }
    for one in due {
        let probe = context.host.probe(&one.key.0, one.port, &one.path, one.timeout);
        let place = state.place.clone();
        context.engine.later(&place, probe, move |state, _, result| answered(state, &one, result));
    }
}

fn answered(state: &mut State, due: &Due, result: Result<u16, ProbeError>) {
    let Some(group) = state.elbv2.target_groups.get_mut(&due.target_group) else { return };
    let Some(target) = group.targets.get_mut(&due.key).filter(|target| target.checks.epoch == due.epoch) else { return };
    let failure = match result {
        Ok(status) if group.check.accepts(status) => None,
        Ok(status) => Some(("Target.ResponseCodeMismatch", format!("Health checks failed with these codes: [{status}]"))),
        Err(ProbeError::Timeout) => Some(("Target.Timeout", "Request timed out".to_string())),
        Err(ProbeError::Refused) => Some(("Target.FailedHealthChecks", "Health checks failed".to_string())),
    };
    target.checks.under_way = false;
    target.checks.learn(failure, &group.check);
}

impl Checks {
    fn learn(&mut self, failure: Option<(&'static str, String)>, check: &HealthCheck) {
        match failure {
            None => {
                self.failed = 0;
                self.passed += 1;
                if self.verdict.is_none() || self.passed >= check.healthy {
                    self.verdict = Some(Verdict::Healthy);
                }
            }
            Some((reason, description)) => {
                self.passed = 0;
                self.failed += 1;
                if self.failed >= check.unhealthy {
                    self.verdict = Some(Verdict::Unhealthy { reason, description });
                }
            }
        }
    }
}
