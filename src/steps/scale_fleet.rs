//! A group of the fleet that serves gets another size. It is made smaller only while enough of the fleet stays healthy whichever of its
//! instances leave. Undo: the size as it was, by the same rule.

use super::error::During;
use super::pin_size::{group, groups};
use super::{Cx, Done, StepError, Undone};
use crate::model::{CapacityKind, FleetKey, Group, TargetState, instances};

/// How many instances must stay healthy when a group shrinks.
pub(super) struct Keep(pub u32);

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, size: u32, max: u32, keep: Keep) -> Done {
    let found = group(cx, fleet, kind).await?.group;
    resize(cx, fleet, kind, &found, size, max, keep).await?;
    Ok(format!("{} at {}", fleet.group(kind), instances(size)))
}

pub(super) async fn undo(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, size_before: u32, max: u32, keep: Keep) -> Undone {
    let name = cx.group_name(fleet, kind);
    let found = cx.aws.autoscaling.group(&name).await.during(&format!("look for group {name}"))?;
    match found.filter(|found| cx.owns(fleet, &found.tags) && !found.group.deleting) {
        Some(found) => resize(cx, fleet, kind, &found.group, size_before, max, keep).await,
        None => Ok(()),
    }
}

async fn resize(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, found: &Group, size: u32, max: u32, keep: Keep) -> Result<(), StepError> {
    let leaving = found.present().saturating_sub(size);
    if size < found.desired && leaving > 0 {
        stays_healthy(cx, fleet, leaving, keep).await?;
    }
    let answer = cx.aws.autoscaling.resize(&found.name, found.min.min(size), max.max(size), size).await;
    answer.during(&format!("bring {} to {}", fleet.group(kind), instances(size)))
}

/// Asked right before the call: if this many instances leave, the healthiest of them, are enough left?
async fn stays_healthy(cx: &Cx, fleet: &FleetKey, leaving: u32, keep: Keep) -> Result<(), StepError> {
    let name = cx.target_group_name(fleet);
    let doing = format!("ask for the health of {fleet}");
    let members: Vec<_> = groups(cx, fleet).await?.into_iter().flat_map(|found| found.group.instances).collect();
    let healthy = match cx.aws.elbv2.target_group(&name).await.during(&doing)? {
        Some(target_group) => cx.aws.elbv2.target_health(&target_group.arn).await.during(&doing)?,
        None => Vec::new(),
    };
    let sound = |id: &str| healthy.iter().any(|target| target.instance == id && target.state == TargetState::Healthy);
    let sound = members.iter().filter(|member| member.in_service() && sound(&member.id)).count();
    let left = u32::try_from(sound).unwrap_or(u32::MAX).saturating_sub(leaving);
    match left >= keep.0 {
        true => Ok(()),
        false => Err(StepError::new(format!("{fleet} serves with {sound} healthy instances: it is not made smaller by {leaving}"))
            .because(format!("at least {} must stay healthy", keep.0))),
    }
}
