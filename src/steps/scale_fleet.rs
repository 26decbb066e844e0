//! A group of the fleet that serves gets another size. It is made smaller only while enough of the fleet stays healthy whichever of its
//! instances leave; those that are not healthy leave first. Undo: the size as it was, by the same rule.

use std::collections::BTreeSet;

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
        let sound = sound(cx, fleet).await?;
        let ill: Vec<&str> = found.instances.iter().filter(|member| !member.leaves()).map(|member| member.id.as_str()).collect();
        let ill: Vec<&str> = ill.into_iter().filter(|id| !sound.contains(*id)).take(leaving as usize).collect();
        stays_healthy(fleet, sound.len(), leaving.saturating_sub(u32::try_from(ill.len()).unwrap_or(leaving)), keep)?;
        end(cx, fleet, kind, found, &ill).await?;
    }
    let answer = cx.aws.autoscaling.resize(&found.name, found.min.min(size), max.max(size), size).await;
    answer.during(&format!("bring {} to {}", fleet.group(kind), instances(size)))
}

/// Ids of the fleet's instances that are in service, and healthy at the load balancer.
async fn sound(cx: &Cx, fleet: &FleetKey) -> Result<BTreeSet<String>, StepError> {
    let name = cx.target_group_name(fleet);
    let doing = format!("ask for the health of {fleet}");
    let members: Vec<_> = groups(cx, fleet).await?.into_iter().flat_map(|found| found.group.instances).collect();
    let targets = match cx.aws.elbv2.target_group(&name).await.during(&doing)? {
        Some(target_group) => cx.aws.elbv2.target_health(&target_group.arn).await.during(&doing)?,
        None => Vec::new(),
    };
    let sound = |id: &str| targets.iter().any(|target| target.instance == id && target.state == TargetState::Healthy);
    Ok(members.into_iter().filter(|member| member.in_service() && sound(&member.id)).map(|member| member.id).collect())
}

/// Asked right before the call: if this many more instances leave, each a healthy one, are enough left?
fn stays_healthy(fleet: &FleetKey, sound: usize, leaving: u32, keep: Keep) -> Result<(), StepError> {
    match leaving == 0 || u32::try_from(sound).unwrap_or(u32::MAX).saturating_sub(leaving) >= keep.0 {
        true => Ok(()),
        false => Err(StepError::new(format!("{fleet} serves with {sound} healthy instances: it is not made smaller by {leaving}"))
            .because(format!("at least {} must stay healthy", keep.0))),
    }
}

/// The unhealthy leave first, each by its id: Auto Scaling asks for zones and ages, not for the load balancer's verdict.
async fn end(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, found: &Group, ill: &[&str]) -> Result<(), StepError> {
    let what = format!("make room below {} in {}", found.min, fleet.group(kind));
    let least = found.desired.saturating_sub(u32::try_from(ill.len()).unwrap_or(found.desired));
    if least < found.min {
        cx.aws.autoscaling.set_bounds(&found.name, least, found.max).await.during(&what)?;
    }
    for id in ill {
        cx.aws.autoscaling.end_instance(id).await.during(&format!("end {id} of {}", fleet.group(kind)))?;
    }
    Ok(())
}
