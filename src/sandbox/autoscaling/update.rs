//! Changing a group's settings and size, and deleting it.

use super::create::{check_sizes, deletion_protection, grace, health_type, size, subnets, template};
use super::state::Phase;
use super::{answer, group, invalid};
use crate::sandbox::ec2;
use crate::sandbox::elbv2;
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::wire::AwsError;

/// What is not sent stays. Launch settings count for future instances only.
pub(super) fn update(call: &mut Call<'_>) -> Answer {
    let (params, now, wall, after) = (call.params, call.now, call.wall, call.latencies.group_notices);
    let mut changed = group(call)?.clone();
    changed.min = size(params, "MinSize")?.unwrap_or(changed.min);
    changed.max = size(params, "MaxSize")?.unwrap_or(changed.max);
    // Without a word on the desired size, it is moved just far enough to lie between the new bounds.
    let moved = changed.desired.max(changed.min).min(changed.max.max(changed.min));
    let desired = size(params, "DesiredCapacity")?.unwrap_or(moved);
    check_sizes(changed.min, changed.max, desired)?;
    if let Some(text) = params.get("VPCZoneIdentifier") {
        changed.subnets = subnets(call.state, text)?;
    }
    if !params.child("LaunchTemplate").is_absent() {
        (changed.template, changed.template_id, changed.template_name) = template(call.state, params, &changed.subnets)?;
    }
    changed.health_type = health_type(params)?.unwrap_or(changed.health_type);
    changed.grace = grace(params)?.unwrap_or(changed.grace);
    changed.cooldown = params.number("DefaultCooldown")?.unwrap_or(changed.cooldown);
    changed.warmup = params.number("DefaultInstanceWarmup")?.or(changed.warmup).filter(|seconds| *seconds >= 0);
    changed.protect_new = params.flag("NewInstancesProtectedFromScaleIn").unwrap_or(changed.protect_new);
    changed.deletion_protection = deletion_protection(params)?.unwrap_or(changed.deletion_protection);
    let (min, max, was) = (changed.min, changed.max, changed.desired);
    let cause = format!(
        "At {wall} a user request update of AutoScalingGroup constraints to min: {min}, max: {max}, desired: {desired} \
         changing the desired capacity from {was} to {desired}."
    );
    changed.desired = desired;
    changed.notice(now, after, cause);
    *group(call)? = changed;
    answer([])
}

pub(super) fn set_desired(call: &mut Call<'_>) -> Answer {
    let (params, now, wall, after) = (call.params, call.now, call.wall, call.latencies.group_notices);
    let desired = size(params, "DesiredCapacity")?.ok_or_else(|| invalid("DesiredCapacity is required"))?;
    let group = group(call)?;
    if desired > group.max {
        let message = format!("New SetDesiredCapacity value {desired} is above max value {} for the AutoScalingGroup.", group.max);
        return Err(invalid(message));
    }
    if desired < group.min {
        let message = format!("New SetDesiredCapacity value {desired} is below min value {} for the AutoScalingGroup.", group.min);
        return Err(invalid(message));
    }
    let was = group.desired;
    let cause =
        format!("At {wall} a user request explicitly set group desired capacity changing the desired capacity from {was} to {desired}.");
    group.desired = desired;
    group.notice(now, after, cause);
    answer([])
}

/// Without force only an empty group goes; with force its instances are ended at once, without draining.
pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let force = call.params.flag("ForceDelete").unwrap_or(false);
    let (now, span, context) = (call.now, call.latencies.group_deleted, call.context());
    let found = group(call)?;
    let protection = found.deletion_protection.as_str();
    if protection == "prevent-all-deletion" || (force && protection == "prevent-force-deletion") {
        let message = format!("The group {} cannot be deleted: its deletion protection is {protection}", found.name);
        return Err(invalid(message));
    }
    if !force && !found.members.is_empty() {
        let counting = found.members.iter().any(|member| member.phase.counts());
        return Err(match counting {
            true => AwsError::bad(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.",
            ),
            false => AwsError::bad(
                "ScalingActivityInProgress",
                "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.",
            ),
        });
    }
    found.deleting = Some(now + span);
    found.desired = 0;
    found.min = 0;
    let (sources, members) = (found.sources.clone(), found.members.clone());
    for member in &mut found.members {
        member.phase = Phase::Ending;
    }
    for member in members {
        for target_group in sources.keys() {
            elbv2::deregister(call.state, target_group, &member.id, context);
        }
        ec2::terminate(call.state, &member.id, context);
    }
    answer([])
}
