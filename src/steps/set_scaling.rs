//! A group's scaling policies: exactly those asked for, of adstage's own (known by their names, which are the same on every group, so that
//! putting one again is the same policy). What others put on the group is theirs, and `status` names it.

use super::error::During;
use super::{Cx, Done, StepError, Undone, listener};
use crate::model::{CapacityKind, FleetKey, GroupPolicy, ScalingMetric, ScalingPolicy};

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, policies: &[ScalingPolicy]) -> Done {
    let (name, shown) = (cx.group_name(fleet, kind), fleet.group(kind));
    let found = cx.aws.autoscaling.group(&name).await.during(&format!("look for group {name}"))?;
    match found.filter(|found| !found.group.deleting) {
        // What is gone follows nothing.
        None if policies.is_empty() => {}
        None => return Err(StepError::new(format!("group {name} does not exist"))),
        Some(found) if !cx.owns(fleet, &found.tags) => return Err(StepError::foreign(&format!("group {name}"))),
        Some(_) => set(cx, fleet, &name, policies).await?,
    }
    let said: Vec<String> = policies.iter().map(ToString::to_string).collect();
    Ok(if said.is_empty() { format!("{shown} follows nothing") } else { format!("{shown} follows {}", said.join(" and ")) })
}

pub(super) async fn undo(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, before: &[ScalingPolicy]) -> Undone {
    let name = cx.group_name(fleet, kind);
    let found = cx.aws.autoscaling.group(&name).await.during(&format!("look for group {name}"))?;
    match found.filter(|found| cx.owns(fleet, &found.tags) && !found.group.deleting) {
        Some(_) => set(cx, fleet, &name, before).await,
        None => Ok(()),
    }
}

/// New ones first: a group is never without for a moment it need not be.
async fn set(cx: &Cx, fleet: &FleetKey, name: &str, policies: &[ScalingPolicy]) -> Result<(), StepError> {
    let there = policies_of(cx, name).await?;
    for policy in policies.iter().filter(|policy| !there.iter().any(|found| found.policy.as_ref() == Some(policy))) {
        let label = match policy.metric {
            ScalingMetric::Requests => Some(label(cx, fleet).await?),
            ScalingMetric::Cpu => None,
        };
        let answer = cx.aws.autoscaling.put_policy(name, policy, label.as_deref()).await;
        answer.during(&format!("let group {name} follow {policy}"))?;
    }
    let wanted = |found: &GroupPolicy| policies.iter().any(|policy| policy.metric.policy_name() == found.name);
    for found in there.iter().filter(|found| found.is_ours() && !wanted(found)) {
        match cx.aws.autoscaling.delete_policy(name, &found.name).await {
            // An earlier attempt may have taken it off, and its answer was lost.
            Err(error) if policies_of(cx, name).await?.iter().any(|other| other.name == found.name) => {
                return Err(error).during(&format!("take policy {} off group {name}", found.name));
            }
            _ => {}
        }
    }
    Ok(())
}

async fn policies_of(cx: &Cx, name: &str) -> Result<Vec<GroupPolicy>, StepError> {
    cx.aws.autoscaling.policies_of(name).await.during(&format!("look for the policies of group {name}"))
}

/// How Auto Scaling wants a target group named: the ends of two ARNs, `app/NAME/ID/targetgroup/NAME/ID` (*Amazon EC2 Auto Scaling API
/// Reference*, PredefinedMetricSpecification).
async fn label(cx: &Cx, fleet: &FleetKey) -> Result<String, StepError> {
    let name = cx.target_group_name(fleet);
    let missing = || StepError::new(format!("target group {name} does not exist"));
    let group = cx.aws.elbv2.target_group(&name).await.during(&format!("look for target group {name}"))?.ok_or_else(missing)?;
    let listener = listener::door(cx).await?.listener;
    let balancer = listener.split_once(":listener/").and_then(|(_, end)| end.rsplit_once('/')).map(|(name, _)| name);
    match (balancer, group.arn.rsplit_once(':')) {
        (Some(balancer), Some((_, group))) => Ok(format!("{balancer}/{group}")),
        _ => Err(StepError::new(format!("the ARNs of listener {listener} and target group {} are not understood", group.arn))),
    }
}
