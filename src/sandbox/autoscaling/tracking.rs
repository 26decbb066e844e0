//! Target tracking at work: a group grows when one of its policies' metrics was above its target for three evaluations in a row, and shrinks
//! when each was a tenth or more below for fifteen, never so far that a target would be exceeded. A metric without numbers changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::policies::{Follows, Policy};
use super::state::{Group, Phase};
use crate::sandbox::cloudwatch;
use crate::sandbox::elbv2;
use crate::sandbox::engine::{Context, State};

/// What a metric of a load balancer is evaluated over.
const PERIOD: Duration = Duration::from_secs(60);
const OUT: u32 = 3;
const IN: u32 = 15;
/// A group shrinks only if its metric is this share of the target or less.
const WELL_BELOW: f64 = 0.9;

pub(super) fn advance(group: &mut Group, state: &State, context: Context<'_>) {
    if group.suspends("AlarmNotification") || group.deleting.is_some() {
        return;
    }
    let mut policies = std::mem::take(&mut group.policies);
    let mut evaluated = false;
    for policy in policies.values_mut().filter(|policy| policy.enabled && context.now >= policy.next) {
        let period = period(policy, context);
        (policy.next, evaluated) = (context.now + period, true);
        let Some((value, of)) = value(group, policy, period, state, context) else {
            (policy.above, policy.below) = (0, 0);
            continue;
        };
        policy.above = if value > policy.target { policy.above + 1 } else { 0 };
        policy.below = if value <= policy.target * WELL_BELOW { policy.below + 1 } else { 0 };
        policy.wanted = (f64::from(of) * value / policy.target).ceil() as u32;
    }
    if evaluated {
        decide(group, &policies, context);
    }
    group.policies = policies;
}

fn decide(group: &mut Group, policies: &BTreeMap<String, Policy>, context: Context<'_>) {
    let on = || policies.iter().filter(|(_, policy)| policy.enabled);
    let most = |(_, policy): &(&String, &Policy)| policy.wanted;
    let out = on().filter(|(_, policy)| policy.above >= OUT).max_by_key(most);
    let agree = on().all(|(_, policy)| policy.below >= IN && policy.scale_in);
    let (name, alarm, desired) = match (out, on().max_by_key(most)) {
        (Some((name, policy)), _) => (name, "AlarmHigh", policy.wanted.clamp(group.desired, group.max.max(group.desired))),
        (None, Some((name, policy))) if agree => (name, "AlarmLow", policy.wanted.max(group.min).min(group.desired)),
        _ => return,
    };
    if desired != group.desired {
        let (was, wall) = (group.desired, context.wall);
        let cause = format!(
            "At {wall} a monitor alarm TargetTracking-{}-{alarm} in state ALARM triggered policy {name} changing the desired capacity from \
             {was} to {desired}.",
            group.name
        );
        group.desired = desired;
        group.notice(context.now, context.latencies.group_notices, cause);
    }
}

/// A metric is evaluated as often as it has a new number.
fn period(policy: &Policy, context: Context<'_>) -> Duration {
    let requests = PERIOD / context.latencies.compression.max(1);
    match policy.follows {
        Follows::Cpu => context.latencies.cpu_every.max(requests),
        Follows::Requests { .. } => requests,
    }
}

/// The metric over the last period that is known whole, and how many instances of the group it speaks for.
fn value(group: &Group, policy: &Policy, period: Duration, state: &State, context: Context<'_>) -> Option<(f64, u32)> {
    let warmup = Duration::from_secs(u64::try_from(policy.warmup.unwrap_or(group.cooldown)).unwrap_or_default());
    let warm = |since: Duration| context.now.saturating_sub(since) >= warmup / context.latencies.compression.max(1);
    let in_service = group.members.iter().filter(|member| member.phase == Phase::InService);
    let late = context.latencies.metrics_late.max(context.latencies.metrics_every);
    let known = context.wall.as_second() - seconds(late);
    let window = known - seconds(period)..known;
    match &policy.follows {
        Follows::Cpu => {
            let warmed: Vec<&str> = in_service.filter(|member| warm(member.in_service_since)).map(|member| member.id.as_str()).collect();
            cloudwatch::mean_cpu(state, &group.name, &warmed, window)
        }
        Follows::Requests { target_group, .. } => {
            let (requests, targets) = elbv2::requests_per_target(state, target_group, window)?;
            let per_minute = requests * 60.0 / period.as_secs_f64().max(1.0) / f64::from(targets);
            Some((per_minute, u32::try_from(in_service.count()).unwrap_or(u32::MAX)))
        }
    }
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or_default()
}
