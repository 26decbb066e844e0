//! Targets: registered, leaving, and what `DescribeTargetHealth` says of each.

use super::state::{Elbv2, Target, TargetGroup, TargetKey, Verdict};
use super::{answer, attributes, no_target_group};
use crate::sandbox::ec2::{Instance, InstanceState};
use crate::sandbox::engine::{Answer, Call, Context, State};
use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf, list};

/// A target as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Standing {
    pub state: &'static str,
    pub reason: Option<&'static str>,
    pub description: Option<String>,
}

fn plain(state: &'static str, reason: &'static str, description: &str) -> Standing {
    Standing { state, reason: Some(reason), description: Some(description.to_string()) }
}

/// Why a registered target is not checked, if it is not: `unused` and the reason.
pub(super) fn unused(state: &State, group: &TargetGroup, instance: &str) -> Option<Standing> {
    let Some(balancer) = state.elbv2.used_by(&group.arn).into_iter().next() else {
        return Some(plain("unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"));
    };
    let found = state.ec2.instances.get(instance);
    if found.is_none_or(|found| matches!(found.state, InstanceState::Stopped | InstanceState::Terminated)) {
        return Some(plain("unused", "Target.InvalidState", "Target is in the stopped or terminated state"));
    }
    let zones = state.elbv2.load_balancers.get(balancer).map(|balancer| balancer.zones.as_slice()).unwrap_or_default();
    if !zones.iter().any(|(zone, _)| found.is_some_and(|found| found.zone == *zone)) {
        let why = "Target is in an Availability Zone that is not enabled for the load balancer";
        return Some(plain("unused", "Target.NotInUse", why));
    }
    None
}

/// What the API says of an instance in a target group; None if the group does not exist. With several ports, the best one counts.
pub(in crate::sandbox) fn standing(state: &State, target_group: &str, instance: &str) -> Option<Standing> {
    let group = state.elbv2.target_groups.get(target_group)?;
    let of_instance = group.targets.iter().filter(|((id, _), _)| id == instance);
    let mut all: Vec<Standing> = of_instance.map(|((id, _), target)| of_target(state, group, id, target)).collect();
    all.sort_by_key(|standing| standing.state != "healthy");
    Some(all.into_iter().next().unwrap_or_else(not_registered))
}

fn not_registered() -> Standing {
    plain("unused", "Target.NotRegistered", "Target is not registered to the target group")
}

fn of_target(state: &State, group: &TargetGroup, instance: &str, target: &Target) -> Standing {
    if target.draining_until.is_some() {
        return plain("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress");
    }
    if let Some(unused) = unused(state, group, instance) {
        return unused;
    }
    match &target.checks.verdict {
        Some(Verdict::Healthy) => Standing { state: "healthy", reason: None, description: None },
        Some(Verdict::Unhealthy { reason, description }) => plain("unhealthy", reason, description),
        None if target.checks.unsent => plain("initial", "Elb.RegistrationInProgress", "Target registration is in progress"),
        None => plain("initial", "Elb.InitialHealthChecking", "Initial health checks in progress"),
    }
}

/// The targets a call names, at the group's port if it names none.
fn named(params: &Params, group: &TargetGroup) -> Result<Vec<TargetKey>, AwsError> {
    let key = |one: &&Params| {
        let port = match one.number("Port")? {
            None => group.port,
            Some(port) => u16::try_from(port)
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| AwsError::bad("ValidationError", format!("Target port '{port}' must be between 1 and 65535")))?,
        };
        Ok((one.required("Id")?.to_string(), port))
    };
    params.list("Targets").iter().map(key).collect()
}

fn group<'a>(elbv2: &'a Elbv2, arn: &str) -> Result<&'a TargetGroup, AwsError> {
    elbv2.target_groups.get(arn).ok_or_else(|| no_target_group(arn))
}

pub(super) fn register_all(call: &mut Call<'_>) -> Answer {
    let arn = call.params.required("TargetGroupArn")?;
    let keys = named(call.params, group(&call.state.elbv2, arn)?)?;
    if keys.is_empty() {
        return Err(AwsError::bad("ValidationError", "A target must be specified"));
    }
    let idle = |key: &&TargetKey| call.state.ec2.instances.get(&key.0).is_none_or(|found: &Instance| found.state != InstanceState::Running);
    let invalid: Vec<&str> = keys.iter().filter(idle).map(|(id, _)| id.as_str()).collect();
    if !invalid.is_empty() {
        let names = invalid.join("', '");
        let message = format!("The following targets are not in a running state and cannot be registered: '{names}'");
        return Err(AwsError::bad("InvalidTarget", message));
    }
    add(call.state, arn, keys)?;
    answer([])
}

/// Registers a running instance at the group's own port; one that is registered already stays as it is.
pub(in crate::sandbox) fn register(state: &mut State, target_group: &str, instance: &str) -> Result<(), AwsError> {
    let port = group(&state.elbv2, target_group)?.port;
    add(state, target_group, vec![(instance.to_string(), port)])
}

fn add(state: &mut State, arn: &str, keys: Vec<TargetKey>) -> Result<(), AwsError> {
    let most = state.quotas.limit("targets-per-target-group");
    let epoch = state.elbv2.next_epoch();
    let group = state.elbv2.target_groups.get_mut(arn).ok_or_else(|| no_target_group(arn))?;
    let new = keys.iter().filter(|key| !group.targets.contains_key(*key)).count();
    if group.targets.len() + new > most {
        return Err(AwsError::bad("TooManyTargets", format!("A target group can have at most {most} targets")));
    }
    for key in keys {
        let staying = group.targets.get(&key).is_some_and(|target| target.draining_until.is_none());
        if !staying {
            // One that was leaving begins anew; what is under way on it goes on.
            let presence = group.targets.remove(&key).map(|leaving| leaving.presence);
            let mut target = Target::new(epoch);
            target.presence = presence.unwrap_or(target.presence);
            group.targets.insert(key, target);
        }
    }
    Ok(())
}

pub(super) fn deregister_all(call: &mut Call<'_>) -> Answer {
    let arn = call.params.required("TargetGroupArn")?;
    let keys = named(call.params, group(&call.state.elbv2, arn)?)?;
    for (id, port) in keys {
        leave(call.state, arn, |key| *key == (id.clone(), port), call.context());
    }
    answer([])
}

/// Lets an instance leave a target group: no new requests from now on, the ones under way have the deregistration delay to end.
pub(in crate::sandbox) fn deregister(state: &mut State, target_group: &str, instance: &str, context: Context<'_>) {
    leave(state, target_group, |(id, _)| id == instance, context);
}

fn leave(state: &mut State, arn: &str, leaving: impl Fn(&TargetKey) -> bool, context: Context<'_>) {
    let Some(group) = state.elbv2.target_groups.get(arn) else { return };
    let keys: Vec<TargetKey> = group.targets.keys().filter(|key| leaving(key)).cloned().collect();
    let delay = attributes::delay(group, context.latencies);
    for key in keys {
        let group = state.elbv2.target_groups.get(arn);
        let at_once = delay.is_zero() || group.is_none_or(|group| unused(state, group, &key.0).is_some());
        let Some(group) = state.elbv2.target_groups.get_mut(arn) else { return };
        if at_once {
            group.targets.remove(&key);
        } else if let Some(target) = group.targets.get_mut(&key) {
            target.draining_until.get_or_insert(context.now + delay);
        }
    }
}

/// True when the instance is no longer in the target group in any way, or the group itself is gone.
pub(in crate::sandbox) fn drained(state: &State, target_group: &str, instance: &str) -> bool {
    state.elbv2.target_groups.get(target_group).is_none_or(|group| !group.targets.keys().any(|(id, _)| id == instance))
}

/// Removes targets whose delay is over, and those whose instance EC2 has forgotten.
pub(super) fn let_go(state: &mut State, context: Context<'_>) {
    let instances = &state.ec2.instances;
    for group in state.elbv2.target_groups.values_mut() {
        group.targets.retain(|(id, _), target| target.draining_until.is_none_or(|until| context.now < until) && instances.contains_key(id));
    }
}

pub(super) fn describe_health(call: &mut Call<'_>) -> Answer {
    let (params, state) = (call.params, &*call.state);
    let arn = params.required("TargetGroupArn")?;
    let group = group(&state.elbv2, arn)?;
    let asked = named(params, group)?;
    if let Some((unknown, _)) = asked.iter().find(|(id, _)| !state.ec2.instances.contains_key(id)) {
        return Err(AwsError::bad("InvalidTarget", format!("The following targets do not exist: '{unknown}'")));
    }
    let keys: Vec<&TargetKey> = if asked.is_empty() { group.targets.keys().collect() } else { asked.iter().collect() };
    let shown = keys.into_iter().map(|key| {
        let standing = group.targets.get(key).map_or_else(not_registered, |target| of_target(state, group, &key.0, target));
        show(group, key, standing)
    });
    answer([list("TargetHealthDescriptions", "member", shown)])
}

fn show(group: &TargetGroup, (id, port): &TargetKey, standing: Standing) -> Vec<Node> {
    let mut health = vec![leaf("State", standing.state)];
    health.extend(standing.reason.map(|reason| leaf("Reason", reason)));
    health.extend(standing.description.map(|text| leaf("Description", text)));
    vec![
        branch("Target", [leaf("Id", id), leaf("Port", port)]),
        leaf("HealthCheckPort", group.check.port.unwrap_or(*port)),
        branch("TargetHealth", health),
    ]
}
