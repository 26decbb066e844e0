//! Auto Scaling: groups that keep as many instances as they should have.
//!
//! Calls change what is wanted; [`reconcile`] makes it so, tick by tick, through the same doors the real one uses: EC2 launches and
//! terminates, ELBv2 registers and deregisters.

mod activities;
mod create;
mod describe;
mod launch;
mod members;
mod mixed;
mod policies;
mod processes;
mod reconcile;
mod sources;
mod state;
mod tags;
#[cfg(test)]
mod tests;
mod tracking;
mod update;

use std::collections::BTreeMap;

use super::engine::{Answer, Call, State};
use super::inventory::GroupFacts;
use super::wire::{AwsError, Node, Params, branch, leaf};

pub(super) use reconcile::tick;
pub(super) use state::Autoscaling;
use state::Group;

type Handler = fn(&mut Call<'_>) -> Answer;

/// Every action: its name, the parameters it takes, its handler.
#[rustfmt::skip]
const ACTIONS: [(&str, &[&str], Handler); 25] = [
    ("CreateAutoScalingGroup", &[
        "AutoScalingGroupName", "LaunchTemplate", "MinSize", "MaxSize", "DesiredCapacity", "DefaultCooldown", "TargetGroupARNs", "TrafficSources",
        "HealthCheckType", "HealthCheckGracePeriod", "VPCZoneIdentifier", "NewInstancesProtectedFromScaleIn", "Tags", "DefaultInstanceWarmup",
        "DeletionProtection", "MixedInstancesPolicy", "CapacityRebalance",
    ], create::create),
    ("UpdateAutoScalingGroup", &[
        "AutoScalingGroupName", "LaunchTemplate", "MinSize", "MaxSize", "DesiredCapacity", "DefaultCooldown", "HealthCheckType",
        "HealthCheckGracePeriod", "VPCZoneIdentifier", "NewInstancesProtectedFromScaleIn", "DefaultInstanceWarmup", "DeletionProtection",
    ], update::update),
    ("SetDesiredCapacity", &["AutoScalingGroupName", "DesiredCapacity", "HonorCooldown"], update::set_desired),
    ("DeleteAutoScalingGroup", &["AutoScalingGroupName", "ForceDelete"], update::delete),
    ("DescribeAccountLimits", &[], describe::limits),
    ("DescribeAutoScalingGroups", &["AutoScalingGroupNames", "IncludeInstances", "NextToken", "MaxRecords", "Filters"], describe::groups),
    ("DescribeAutoScalingInstances", &["InstanceIds", "NextToken", "MaxRecords"], describe::instances),
    ("DescribeScalingActivities", &[
        "ActivityIds", "AutoScalingGroupName", "IncludeDeletedGroups", "MaxRecords", "NextToken",
    ], activities::describe),
    ("CreateOrUpdateTags", &["Tags"], tags::create_or_update),
    ("DeleteTags", &["Tags"], tags::delete),
    ("DescribeTags", &["Filters", "NextToken", "MaxRecords"], tags::describe),
    ("SuspendProcesses", &["AutoScalingGroupName", "ScalingProcesses"], processes::suspend),
    ("ResumeProcesses", &["AutoScalingGroupName", "ScalingProcesses"], processes::resume),
    ("PutScalingPolicy", &[
        "AutoScalingGroupName", "PolicyName", "PolicyType", "TargetTrackingConfiguration", "EstimatedInstanceWarmup", "Enabled",
    ], policies::put),
    ("DescribePolicies", &["AutoScalingGroupName", "PolicyNames", "PolicyTypes", "NextToken", "MaxRecords"], policies::describe),
    ("DeletePolicy", &["AutoScalingGroupName", "PolicyName"], policies::delete),
    ("AttachLoadBalancerTargetGroups", &["AutoScalingGroupName", "TargetGroupARNs"], sources::attach_target_groups),
    ("DetachLoadBalancerTargetGroups", &["AutoScalingGroupName", "TargetGroupARNs"], sources::detach_target_groups),
    ("DescribeLoadBalancerTargetGroups", &["AutoScalingGroupName", "NextToken", "MaxRecords"], sources::describe_target_groups),
    ("AttachTrafficSources", &["AutoScalingGroupName", "TrafficSources"], sources::attach),
    ("DetachTrafficSources", &["AutoScalingGroupName", "TrafficSources"], sources::detach),
    ("DescribeTrafficSources", &["AutoScalingGroupName", "TrafficSourceType", "NextToken", "MaxRecords"], sources::describe),
    ("TerminateInstanceInAutoScalingGroup", &["InstanceId", "ShouldDecrementDesiredCapacity"], members::terminate),
    ("SetInstanceHealth", &["InstanceId", "HealthStatus", "ShouldRespectGracePeriod"], members::set_health),
    ("SetInstanceProtection", &["InstanceIds", "AutoScalingGroupName", "ProtectedFromScaleIn"], members::set_protection),
];

/// Dispatch.
pub(super) fn call(call: &mut Call<'_>, action: &str) -> Answer {
    let unknown = || AwsError::unsupported(format!("the Auto Scaling action {action}"));
    let (_, parameters, handler) = ACTIONS.iter().find(|(name, _, _)| *name == action).ok_or_else(unknown)?;
    call.params.without(&["Action", "Version"]).only(action, parameters)?;
    handler(call)
}

fn invalid(message: impl std::fmt::Display) -> AwsError {
    AwsError::bad("ValidationError", message)
}

/// An answer with these fields.
fn answer(fields: impl IntoIterator<Item = Node>) -> Answer {
    Ok(branch("Result", fields))
}

/// The group a call names. One that is being deleted cannot be changed any more.
fn group<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Group, AwsError> {
    let name = call.params.required("AutoScalingGroupName")?;
    let missing = || invalid(format!("AutoScalingGroup name not found - AutoScalingGroup '{name}' not found"));
    let group = call.state.autoscaling.groups.get_mut(name).ok_or_else(missing)?;
    if group.deleting.is_some() {
        return Err(invalid(format!("AutoScalingGroup name not found - AutoScalingGroup '{name}' is pending delete")));
    }
    Ok(group)
}

/// One page of a list: `MaxRecords` (50 unless said, at most 100) items after `NextToken`, which here is an index.
fn page<T>(items: Vec<T>, params: &Params) -> Result<(Vec<T>, Option<Node>), AwsError> {
    let size = params.number("MaxRecords")?.unwrap_or(50);
    let size = usize::try_from(size).ok().filter(|size| (1..=100).contains(size));
    let size = size.ok_or_else(|| invalid("MaxRecords must be between 1 and 100"))?;
    let from: usize = match params.get("NextToken").filter(|token| !token.is_empty()) {
        Some(token) => token.parse().map_err(|_| AwsError::bad("InvalidNextToken", format!("The token '{token}' is not valid")))?,
        None => 0,
    };
    let next = (from + size < items.len()).then(|| leaf("NextToken", from + size));
    Ok((items.into_iter().skip(from).take(size).collect(), next))
}

/// Instances in service: their group, id and type.
pub(super) fn serving(state: &State) -> Vec<(String, String, String)> {
    let of = |group: &Group| {
        let serving = group.members.iter().filter(|member| member.phase == state::Phase::InService);
        serving.map(|member| (group.name.clone(), member.id.clone(), member.kind.clone())).collect::<Vec<_>>()
    };
    state.autoscaling.groups.values().flat_map(of).collect()
}

/// Every group.
pub(super) fn inventory(state: &State) -> BTreeMap<String, GroupFacts> {
    const ACTIVE: &str = "adstage:active";
    let tags = |id: &String| state.ec2.tags.get(id).and_then(|tags| tags.get(ACTIVE)).cloned().unwrap_or_default();
    let there = |group: &Group| group.members.iter().map(|member| tags(&member.id)).collect();
    let facts = |group: &Group| GroupFacts {
        active: group.tags.get(ACTIVE).map(|(value, _)| (value.clone(), there(group))),
        min: group.min,
        max: group.max,
        desired: group.desired,
        suspended: group.suspended.keys().cloned().collect(),
        policies: group.policies.iter().filter(|(_, policy)| policy.enabled).map(|(name, _)| name.clone()).collect(),
        deleting: group.deleting.is_some(),
        in_service: group.members.iter().filter(|member| member.phase == state::Phase::InService).count(),
    };
    state.autoscaling.groups.values().map(|group| (group.name.clone(), facts(group))).collect()
}
