//! The fleet is live: from now on its group replaces what the load balancer calls unhealthy, and may shrink and grow again.

use super::error::During;
use super::pin_size::group;
use super::{Cx, Done, Undone};
use crate::model::{CapacityKind, FleetKey};

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, min: u32, max: u32) -> Done {
    let found = group(cx, fleet, kind).await?.group;
    let fleet = fleet.group(kind);
    // A replacement must have the time a candidate had to become healthy, or it would be replaced in turn.
    let grace = u32::try_from(cx.environment.timing.healthy_within.0).unwrap_or(u32::MAX);
    let answer = cx.aws.autoscaling.set_health_type(&found.name, "EC2,ELB", grace).await;
    answer.during(&format!("let the load balancer's checks heal {fleet}"))?;
    // Never below what it has: AWS would shrink it to its largest size. Never above either: what one kind lacks, the other has.
    let min = min.min(found.desired);
    let answer = cx.aws.autoscaling.set_bounds(&found.name, min, max.max(found.desired)).await;
    answer.during(&format!("free the size of {fleet}"))?;
    Ok(format!("{fleet} is live, {min} to {max} instances"))
}

pub(super) async fn undo(cx: &Cx, fleet: &FleetKey, kind: CapacityKind) -> Undone {
    let name = cx.group_name(fleet, kind);
    let found = cx.aws.autoscaling.group(&name).await.during(&format!("look for group {name}"))?;
    let Some(found) = found.filter(|found| cx.owns(fleet, &found.tags) && !found.group.deleting) else { return Ok(()) };
    let (group, fleet) = (found.group, fleet.group(kind));
    cx.aws.autoscaling.set_health_type(&name, "EC2", 0).await.during(&format!("stop healing {fleet}"))?;
    cx.aws.autoscaling.set_bounds(&name, group.desired, group.max).await.during(&format!("pin {fleet}"))
}
