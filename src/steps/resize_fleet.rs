//! A warm fleet is brought to another size and pinned there. Never shrinks one that has visitors.

use super::error::During;
use super::pin_size::group;
use super::traffic_guard::traffic_guard;
use super::{Cx, Done, StepError, Undone};
use crate::model::{CapacityKind, FleetKey, Group, instances};

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, size_before: u32, size: u32, max: u32) -> Done {
    let found = group(cx, fleet, kind).await?.group;
    // Growing: it may be bigger than planned by now, and then it stays so.
    let wanted = if size >= size_before { size.max(found.desired) } else { size };
    resize(cx, fleet, &found, wanted, max).await?;
    Ok(format!("{} at {}", fleet.group(kind), instances(wanted)))
}

pub(super) async fn undo(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, size_before: u32, max: u32) -> Undone {
    let name = cx.group_name(fleet, kind);
    let found = cx.aws.autoscaling.group(&name).await.during(&format!("look for group {name}"))?;
    match found.filter(|found| cx.owns(fleet, &found.tags) && !found.group.deleting) {
        Some(found) => resize(cx, fleet, &found.group, size_before, max).await,
        None => Ok(()),
    }
}

async fn resize(cx: &Cx, fleet: &FleetKey, found: &Group, size: u32, max: u32) -> Result<(), StepError> {
    if size < found.desired {
        traffic_guard(cx, fleet).await?;
    }
    let answer = cx.aws.autoscaling.resize(&found.name, size, max.max(size), size).await;
    answer.during(&format!("bring {fleet} to {}", instances(size)))
}
