//! What groups and their instances look like from outside.

use super::state::{Group, Member};
use super::{answer, invalid, page, tags};
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf, list};

/// Names that do not exist are left out, not refused.
pub(super) fn groups(call: &mut Call<'_>) -> Answer {
    let params = call.params;
    let names = params.texts("AutoScalingGroupNames");
    if names.len() > 50 {
        return Err(invalid("At most 50 group names can be given in one call"));
    }
    let filters = filters(params)?;
    let with_instances = params.flag("IncludeInstances").unwrap_or(true);
    let groups = call.state.autoscaling.groups.values();
    let asked_for =
        |group: &&Group| (names.is_empty() || names.contains(&group.name.as_str())) && filters.iter().all(|one| one.admits(group));
    let (found, next) = page(groups.filter(asked_for).collect(), params)?;
    let shown = list("AutoScalingGroups", "member", found.into_iter().map(|group| show(group, with_instances)));
    answer([shown].into_iter().chain(next))
}

struct Filter {
    name: String,
    values: Vec<String>,
}

fn filters(params: &Params) -> Result<Vec<Filter>, AwsError> {
    let read = |one: &Params| {
        let name = one.required("Name")?.to_string();
        if !["tag-key", "tag-value"].contains(&name.as_str()) && !name.starts_with("tag:") {
            return Err(invalid(format!("Filter type {name} is not correct. Allowed Filter types are: tag-key tag-value tag:<key>")));
        }
        Ok(Filter { name, values: one.texts("Values").into_iter().map(str::to_string).collect() })
    };
    params.list("Filters").into_iter().map(read).collect()
}

impl Filter {
    fn admits(&self, group: &Group) -> bool {
        let among = |text: &String| self.values.contains(text);
        match self.name.strip_prefix("tag:") {
            Some(key) => group.tags.get(key).is_some_and(|(value, _)| among(value)),
            None if self.name == "tag-key" => group.tags.keys().any(among),
            None => group.tags.values().any(|(value, _)| among(value)),
        }
    }
}

fn show(group: &Group, with_instances: bool) -> Vec<Node> {
    let mut zones: Vec<&String> = group.subnets.iter().map(|(_, zone)| zone).collect();
    zones.sort();
    zones.dedup();
    let subnets: Vec<&str> = group.subnets.iter().map(|(subnet, _)| subnet.as_str()).collect();
    let members = group.members.iter().filter(|_| with_instances);
    let suspended = group.suspended.iter().map(|(name, why)| vec![leaf("ProcessName", name), leaf("SuspensionReason", why)]);
    let sources = group.sources.keys().map(|arn| vec![leaf("Identifier", arn), leaf("Type", "elbv2")]);
    let mut nodes = vec![
        leaf("AutoScalingGroupName", &group.name),
        leaf("AutoScalingGroupARN", &group.arn),
        launches(group),
        leaf("CapacityRebalance", group.rebalance),
        leaf("MinSize", group.min),
        leaf("MaxSize", group.max),
        leaf("DesiredCapacity", group.desired),
        leaf("DefaultCooldown", group.cooldown),
        branch("AvailabilityZones", zones.into_iter().map(|zone| leaf("member", zone))),
        list("LoadBalancerNames", "member", []),
        branch("TargetGroupARNs", group.sources.keys().map(|arn| leaf("member", arn))),
        leaf("HealthCheckType", &group.health_type),
        leaf("HealthCheckGracePeriod", group.grace),
        list("Instances", "member", members.map(instance)),
        leaf("CreatedTime", group.created),
        list("SuspendedProcesses", "member", suspended),
        leaf("VPCZoneIdentifier", subnets.join(",")),
        list("EnabledMetrics", "member", []),
        list("Tags", "member", group.tags.iter().map(|(key, value)| tags::show(&group.name, key, value))),
        branch("TerminationPolicies", [leaf("member", "Default")]),
        leaf("NewInstancesProtectedFromScaleIn", group.protect_new),
        list("TrafficSources", "member", sources),
        leaf("DeletionProtection", &group.deletion_protection),
    ];
    nodes.extend(group.warmup.map(|seconds| leaf("DefaultInstanceWarmup", seconds)));
    nodes.extend(group.deleting.map(|_| leaf("Status", "Delete in progress")));
    nodes
}

/// What it launches: a template, or a policy with one in it.
fn launches(group: &Group) -> Node {
    let named = || named(&group.template_id, &group.template_name, &group.template.version);
    match &group.mixed {
        None => branch("LaunchTemplate", named()),
        Some(mixed) => mixed.show(named().to_vec()),
    }
}

fn named(id: &str, name: &str, version: &str) -> [Node; 3] {
    [leaf("LaunchTemplateId", id), leaf("LaunchTemplateName", name), leaf("Version", version)]
}

fn template(id: &str, name: &str, version: &str) -> Node {
    branch("LaunchTemplate", named(id, name, version))
}

fn instance(member: &Member) -> Vec<Node> {
    vec![
        leaf("InstanceId", &member.id),
        leaf("InstanceType", &member.kind),
        leaf("AvailabilityZone", &member.zone),
        leaf("LifecycleState", member.phase.name()),
        leaf("HealthStatus", if member.healthy { "Healthy" } else { "Unhealthy" }),
        template(&member.template_id, &member.template_name, &member.template_version.to_string()),
        leaf("ImageId", &member.image),
        leaf("ProtectedFromScaleIn", member.protected),
    ]
}

/// Instances of any group; ids that belong to none are left out.
pub(super) fn instances(call: &mut Call<'_>) -> Answer {
    let ids = call.params.texts("InstanceIds");
    let all = call.state.autoscaling.groups.values().flat_map(|group| group.members.iter().map(move |member| (group, member)));
    let found = all.filter(|(_, member)| ids.is_empty() || ids.contains(&member.id.as_str()));
    let (found, next) = page(found.collect(), call.params)?;
    let shown = found.into_iter().map(|(group, member)| {
        let health = if member.healthy { "HEALTHY" } else { "UNHEALTHY" };
        let mut nodes = instance(member);
        nodes[4] = leaf("HealthStatus", health);
        nodes.push(leaf("AutoScalingGroupName", &group.name));
        nodes
    });
    answer([list("AutoScalingInstances", "member", shown)].into_iter().chain(next))
}

/// How many groups there are, and how many there may be.
pub(super) fn limits(call: &mut Call<'_>) -> Answer {
    answer([
        leaf("MaxNumberOfAutoScalingGroups", call.state.quotas.groups()),
        leaf("MaxNumberOfLaunchConfigurations", 200),
        leaf("NumberOfAutoScalingGroups", call.state.autoscaling.groups.len()),
        leaf("NumberOfLaunchConfigurations", 0),
    ])
}
