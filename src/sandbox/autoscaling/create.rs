//! Creating groups, and reading what create and update have in common.

use std::collections::BTreeMap;
use std::time::Duration;

use super::state::{Group, Source};
use super::{answer, invalid, mixed, sources, tags};
use crate::sandbox::ec2::{self, TemplateRef};
use crate::sandbox::engine::{Answer, Call, State};
use crate::sandbox::wire::{AwsError, Params};

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let params = call.params;
    let name = params.required("AutoScalingGroupName")?.to_string();
    if name.is_empty() || name.len() > 255 || name.contains(':') {
        return Err(invalid(format!("'{name}' is not a valid group name: 1 to 255 characters, no colon")));
    }
    if let Some(known) = call.state.autoscaling.groups.get(&name) {
        let deleting = if known.deleting.is_some() { " and is pending delete" } else { "" };
        let message = format!("AutoScalingGroup by this name already exists - A group with the name {name} already exists{deleting}");
        return Err(AwsError::bad("AlreadyExists", message));
    }
    let most = call.state.quotas.groups();
    if call.state.autoscaling.groups.len() >= most {
        return Err(AwsError::bad("LimitExceeded", format!("You have already reached the limit of {most} groups")));
    }
    let (min, max) = (size(params, "MinSize")?, size(params, "MaxSize")?);
    let missing = |what: &str| invalid(format!("The parameter {what} is required"));
    let (min, max) = (min.ok_or_else(|| missing("MinSize"))?, max.ok_or_else(|| missing("MaxSize"))?);
    let desired = size(params, "DesiredCapacity")?.unwrap_or(min);
    check_sizes(min, max, desired)?;
    let subnets = subnets(call.state, params.get("VPCZoneIdentifier").unwrap_or_default())?;
    let template = template(call.state, params, &subnets)?;
    let sources = sources::asked(call.state, params)?.into_iter().map(|arn| (arn, Source::InService)).collect();
    let id = format!("{:08x}-{:04x}-4000-8000-{:012x}", call.state.rng.u32(..), call.state.rng.u16(..), call.state.rng.u64(..) >> 16);
    let place = &call.state.place;
    let group = Group {
        arn: format!("arn:aws:autoscaling:{}:{}:autoScalingGroup:{id}:autoScalingGroupName/{name}", place.region, place.account),
        name: name.clone(),
        template: template.0,
        template_id: template.1,
        template_name: template.2,
        mixed: mixed::read(params)?,
        rebalance: params.flag("CapacityRebalance").unwrap_or(false),
        min,
        max,
        desired,
        cooldown: params.number("DefaultCooldown")?.unwrap_or(300),
        warmup: params.number("DefaultInstanceWarmup")?.filter(|seconds| *seconds >= 0),
        subnets,
        sources,
        health_type: health_type(params)?.unwrap_or_else(|| "EC2".into()),
        grace: grace(params)?.unwrap_or(0),
        protect_new: params.flag("NewInstancesProtectedFromScaleIn").unwrap_or(false),
        deletion_protection: deletion_protection(params)?.unwrap_or_else(|| "none".into()),
        created: call.wall,
        tags: tags::read(params, Some(&name))?.into_iter().map(|(_, key, value)| (key, value)).collect(),
        suspended: BTreeMap::new(),
        policies: BTreeMap::new(),
        members: Vec::new(),
        cause: format!("At {} a user request created an AutoScalingGroup changing the desired capacity from 0 to {desired}.", call.wall),
        next_look: call.now + call.latencies.group_notices,
        next_health: call.now,
        failures: 0,
        no_launch_before: Duration::ZERO,
        deleting: None,
    };
    call.state.autoscaling.groups.insert(name, group);
    answer([])
}

pub(super) fn size(params: &Params, name: &str) -> Result<Option<u32>, AwsError> {
    let bad = |_| invalid(format!("{name} must be 0 or more"));
    params.number(name)?.map(u32::try_from).transpose().map_err(bad)
}

pub(super) fn check_sizes(min: u32, max: u32, desired: u32) -> Result<(), AwsError> {
    if max < min {
        return Err(invalid(format!("Max bound, {max}, must be greater than or equal to min bound, {min}")));
    }
    if !(min..=max).contains(&desired) {
        let message = format!("Desired capacity:{desired} must be between the specified min size:{min} and max size:{max}");
        return Err(invalid(message));
    }
    Ok(())
}

/// `subnet-a,subnet-b` as (subnet, zone).
pub(super) fn subnets(state: &State, text: &str) -> Result<Vec<(String, String)>, AwsError> {
    let ids: Vec<&str> = text.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
    if ids.is_empty() {
        return Err(invalid("At least one Availability Zone or VPC Subnet is required."));
    }
    let find = |id: &&str| {
        let subnet = state.ec2.network.subnet(id);
        subnet.map(|subnet| (subnet.id.clone(), subnet.zone.clone())).ok_or_else(|| invalid(format!("The subnet ID '{id}' does not exist")))
    };
    ids.iter().map(find).collect()
}

/// The template as named, its id and its name. AWS tries it out with a dry run: what cannot be launched now is refused at once.
pub(super) fn template(state: &State, params: &Params, subnets: &[(String, String)]) -> Result<(TemplateRef, String, String), AwsError> {
    let sent = mixed::template(params);
    if sent.is_absent() {
        return Err(invalid(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.",
        ));
    }
    sent.only("LaunchTemplate", &["LaunchTemplateId", "LaunchTemplateName", "Version"])?;
    let mut named = TemplateRef::read(sent);
    if named.version.is_empty() {
        named.version = "$Default".into();
    }
    let refuse = |error: AwsError| invalid(format!("You must use a valid fully-formed launch template. {}", error.message));
    let found = ec2::template(state, &named).map_err(refuse)?;
    let mut request = ec2::from_template(state, &named).map_err(refuse)?;
    request.subnet = subnets.first().map(|(subnet, _)| subnet.clone()).unwrap_or_default();
    ec2::check(state, &request).map_err(refuse)?;
    Ok((named, found.id.clone(), found.name.clone()))
}

/// `EC2`, `ELB` or both.
pub(super) fn health_type(params: &Params) -> Result<Option<String>, AwsError> {
    let Some(text) = params.get("HealthCheckType") else { return Ok(None) };
    for kind in text.split(',').map(str::trim) {
        match kind {
            "EC2" | "ELB" => {}
            "EBS" | "VPC_LATTICE" => return Err(AwsError::unsupported(format!("the health check type {kind}"))),
            _ => return Err(invalid(format!("'{text}' is not a valid health check type"))),
        }
    }
    Ok(Some(text.to_string()))
}

pub(super) fn grace(params: &Params) -> Result<Option<u32>, AwsError> {
    let bad = |_| invalid("HealthCheckGracePeriod must be 0 or more");
    params.number("HealthCheckGracePeriod")?.map(u32::try_from).transpose().map_err(bad)
}

pub(super) fn deletion_protection(params: &Params) -> Result<Option<String>, AwsError> {
    match params.get("DeletionProtection") {
        None => Ok(None),
        Some(kind @ ("none" | "prevent-force-deletion" | "prevent-all-deletion")) => Ok(Some(kind.to_string())),
        Some(other) => Err(invalid(format!("'{other}' is not a valid deletion protection"))),
    }
}
