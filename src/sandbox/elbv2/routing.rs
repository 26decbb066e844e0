//! Where a request goes: the same decision for real sockets and for simulated visitors.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;

use super::actions::{Action, Redirect, Weighted};
use super::conditions::Asked;
use super::spread;
use super::state::{Rule, TargetKey, Verdict};
use super::{attributes, targets};
use crate::sandbox::engine::State;

/// What a node of a load balancer does with a request.
pub(in crate::sandbox) enum Decision {
    Forward(Forwarded),
    Fixed {
        status: u16,
        content_type: Option<String>,
        body: Option<String>,
    },
    Redirect(Redirect),
    /// 503: the target group it fell to has nobody, or all weights are 0.
    Nobody,
    /// The listener is gone.
    Closed,
}

/// A target that was picked.
pub(in crate::sandbox) struct Forwarded {
    pub target_group: String,
    pub target_group_name: String,
    pub instance: String,
    pub address: IpAddr,
    pub port: u16,
    /// Fails when the target has left for good: the request is then cut.
    pub presence: watch::Receiver<()>,
    pub idle: Duration,
}

/// Decides for one request that reached this node of the listener's load balancer.
pub(in crate::sandbox) fn route(state: &mut State, listener: &str, node: usize, asked: Asked<'_>, now: Duration) -> Decision {
    let Some(load_balancer) = state.elbv2.listeners.get(listener).map(|listener| listener.load_balancer.clone()) else {
        return Decision::Closed;
    };
    let Some(balancer) = state.elbv2.load_balancers.get_mut(&load_balancer) else { return Decision::Closed };
    let idle = attributes::idle(&balancer.attributes);
    let believed = balancer.nodes.table(node, now);
    let matched = |rules: &[Rule]| {
        let fits = |rule: &&Rule| rule.conditions.iter().all(|condition| condition.matches(asked));
        rules.iter().find(fits).map(|rule| rule.action.clone())
    };
    let action = match believed.get(listener) {
        Some(rules) => matched(rules),
        // A node that has not heard of the listener yet could not have been reached: its first table is the true one.
        None => spread::truth(&state.elbv2, &load_balancer).get(listener).and_then(|rules| matched(rules)),
    };
    match action {
        None => Decision::Nobody,
        Some(Action::Fixed { status, content_type, body }) => Decision::Fixed { status, content_type, body },
        Some(Action::Redirect(to)) => Decision::Redirect(to),
        Some(Action::Forward(groups)) => forward(state, &groups, idle).map_or(Decision::Nobody, Decision::Forward),
    }
}

/// A target group by weight; weights do not fail over, so whoever is picked must do.
fn forward(state: &mut State, groups: &[Weighted], idle: Duration) -> Option<Forwarded> {
    let total: u32 = groups.iter().map(|group| u32::from(group.weight)).sum();
    if total == 0 {
        return None;
    }
    let mut left = state.rng.u32(..total);
    let picked = groups.iter().find(|group| {
        let weight = u32::from(group.weight);
        let mine = left < weight;
        left = left.saturating_sub(weight);
        mine
    })?;
    let arn = &picked.target_group;
    let ((instance, port), address) = turn(state, arn)?;
    let group = state.elbv2.target_groups.get(arn)?;
    let presence = group.targets.get(&(instance.clone(), port))?.presence.subscribe();
    Some(Forwarded { target_group: arn.clone(), target_group_name: group.name.clone(), instance, address, port, presence, idle })
}

/// The next healthy target, round robin; with none healthy, the next of all that are registered (fail-open).
fn turn(state: &mut State, arn: &str) -> Option<(TargetKey, IpAddr)> {
    let group = state.elbv2.target_groups.get(arn)?;
    let used = !state.elbv2.used_by(arn).is_empty();
    let here = |key: &TargetKey| state.ec2.instances.get(&key.0).map(|instance| (key.clone(), instance.address));
    let staying: Vec<(&TargetKey, bool)> = group
        .targets
        .iter()
        .filter(|(key, target)| target.draining_until.is_none() && (!used || targets::unused(state, group, &key.0).is_none()))
        .map(|(key, target)| (key, target.checks.verdict == Some(Verdict::Healthy)))
        .collect();
    let any_healthy = staying.iter().any(|(_, healthy)| *healthy);
    let able: Vec<(TargetKey, IpAddr)> =
        staying.into_iter().filter(|(_, healthy)| *healthy || !any_healthy).filter_map(|(key, _)| here(key)).collect();
    let group = state.elbv2.target_groups.get_mut(arn)?;
    let index = group.turn.checked_rem(able.len())?;
    group.turn = group.turn.wrapping_add(1);
    able.into_iter().nth(index)
}
