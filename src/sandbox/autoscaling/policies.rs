//! Scaling policies: target tracking, which acts ([`super::tracking`]). Other kinds are refused.

use super::{answer, group, invalid, page};
use crate::sandbox::engine::{Answer, Call, State};
use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf, list};

/// A target tracking policy of a group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Policy {
    pub follows: Follows,
    pub target: f64,
    /// Seconds.
    pub warmup: Option<i64>,
    pub enabled: bool,
    pub scale_in: bool,
    /// When it is next evaluated, and for how many evaluations in a row its metric was above the target, or well below it.
    pub next: std::time::Duration,
    pub above: u32,
    pub below: u32,
    /// The size it asked for last.
    pub wanted: u32,
}

/// The metric a policy follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Follows {
    Cpu,
    /// Requests of a target group, by its ARN; and the label as sent.
    Requests {
        target_group: String,
        label: String,
    },
}

pub(super) fn put(call: &mut Call<'_>) -> Answer {
    let params = call.params;
    let name = params.required("PolicyName")?.to_string();
    if params.get("PolicyType").unwrap_or("SimpleScaling") != "TargetTrackingScaling" {
        return Err(AwsError::unsupported("a scaling policy that does not track a target"));
    }
    let tracks = params.child("TargetTrackingConfiguration");
    tracks.only("a target", &["PredefinedMetricSpecification", "TargetValue", "DisableScaleIn"])?;
    let target = tracks.required("TargetValue")?.parse::<f64>().ok().filter(|target| *target > 0.0);
    let target = target.ok_or_else(|| invalid("TargetValue must be a number above 0"))?;
    let attached: Vec<String> = group(call)?.sources.keys().cloned().collect();
    let follows = follows(call.state, tracks.child("PredefinedMetricSpecification"), &attached)?;
    let policy = Policy {
        follows,
        target,
        warmup: params.number("EstimatedInstanceWarmup")?,
        enabled: params.flag("Enabled").unwrap_or(true),
        scale_in: !tracks.flag("DisableScaleIn").unwrap_or(false),
        next: call.now,
        above: 0,
        below: 0,
        wanted: 0,
    };
    let group = group(call)?;
    let arn = arn(&group.arn, &group.name, &name);
    group.policies.insert(name, policy);
    answer([leaf("PolicyARN", arn), list("Alarms", "member", [])])
}

fn follows(state: &State, metric: &Params, attached: &[String]) -> Result<Follows, AwsError> {
    match metric.required("PredefinedMetricType")? {
        "ASGAverageCPUUtilization" => Ok(Follows::Cpu),
        "ALBRequestCountPerTarget" => {
            let label = metric.required("ResourceLabel")?;
            let named = |arn: &&String| arn.rsplit_once(':').is_some_and(|(_, end)| label.ends_with(&format!("/{end}")));
            let balanced = |arn: &&String| {
                let balancers = state.elbv2.used_by(arn);
                balancers.iter().any(|arn| arn.split_once(":loadbalancer/").is_some_and(|(_, end)| label.starts_with(&format!("{end}/"))))
            };
            let wrong = || invalid(format!("The resource label {label} names no target group of the group behind a load balancer"));
            let target_group = attached.iter().find(|arn| named(arn) && balanced(arn)).ok_or_else(wrong)?.clone();
            Ok(Follows::Requests { target_group, label: label.to_string() })
        }
        other => Err(AwsError::unsupported(format!("the metric {other}"))),
    }
}

fn arn(group_arn: &str, group: &str, policy: &str) -> String {
    let id = group_arn.split(":autoScalingGroup:").nth(1).and_then(|rest| rest.split(':').next()).unwrap_or_default();
    let place = group_arn.split(":autoScalingGroup:").next().unwrap_or_default();
    format!("{place}:scalingPolicy:{id}:autoScalingGroupName/{group}:policyName/{policy}")
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let (of, names) = (call.params.get("AutoScalingGroupName"), call.params.texts("PolicyNames"));
    if of.is_some() {
        group(call)?;
    }
    let groups = call.state.autoscaling.groups.values().filter(|group| of.is_none_or(|name| name == group.name));
    let all = groups.flat_map(|group| group.policies.iter().map(move |(name, policy)| (group, name, policy)));
    let found = all.filter(|(_, name, _)| names.is_empty() || names.contains(&name.as_str()));
    let (found, next) = page(found.collect(), call.params)?;
    let shown = found.into_iter().map(|(group, name, policy)| {
        let mut nodes = vec![
            leaf("AutoScalingGroupName", &group.name),
            leaf("PolicyName", name),
            leaf("PolicyARN", arn(&group.arn, &group.name, name)),
            leaf("PolicyType", "TargetTrackingScaling"),
            tracks(policy),
            leaf("Enabled", policy.enabled),
            list("Alarms", "member", []),
        ];
        nodes.extend(policy.warmup.map(|seconds| leaf("EstimatedInstanceWarmup", seconds)));
        nodes
    });
    answer([list("ScalingPolicies", "member", shown)].into_iter().chain(next))
}

fn tracks(policy: &Policy) -> Node {
    let metric = match &policy.follows {
        Follows::Cpu => vec![leaf("PredefinedMetricType", "ASGAverageCPUUtilization")],
        Follows::Requests { label, .. } => vec![leaf("PredefinedMetricType", "ALBRequestCountPerTarget"), leaf("ResourceLabel", label)],
    };
    branch(
        "TargetTrackingConfiguration",
        [branch("PredefinedMetricSpecification", metric), leaf("TargetValue", policy.target), leaf("DisableScaleIn", !policy.scale_in)],
    )
}

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let name = call.params.required("PolicyName")?;
    match group(call)?.policies.remove(name) {
        Some(_) => answer([]),
        None => Err(invalid(format!("Cannot find the specified policy {name}"))),
    }
}
