//! The live fleet's smallest size is raised to its size, so that losing its visitors does not shrink it: it is what a rollback goes back to.

use super::error::During;
use super::{Cx, Done, StepError, Undone};
use crate::aws::GroupInfo;
use crate::model::{CapacityKind, FleetKey};

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, size: u32) -> Done {
    let found = group(cx, fleet, kind).await?.group;
    // It may have grown since the plan was made.
    let size = size.max(found.desired);
    let answer = cx.aws.autoscaling.set_bounds(&found.name, size, found.max.max(size)).await;
    let fleet = fleet.group(kind);
    answer.during(&format!("pin {fleet} at {size}"))?;
    Ok(format!("{fleet} pinned at {size}"))
}

pub(super) async fn undo(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, min_before: u32) -> Undone {
    let name = cx.group_name(fleet, kind);
    let found = cx.aws.autoscaling.group(&name).await.during(&format!("look for group {name}"))?;
    match found.filter(|found| cx.owns(fleet, &found.tags)) {
        Some(found) => {
            let answer = cx.aws.autoscaling.set_bounds(&name, min_before, found.group.max).await;
            answer.during(&format!("unpin {}", fleet.group(kind)))
        }
        None => Ok(()),
    }
}

/// The fleet's group of one kind, which must be there and ours.
pub(super) async fn group(cx: &Cx, fleet: &FleetKey, kind: CapacityKind) -> Result<GroupInfo, StepError> {
    let name = cx.group_name(fleet, kind);
    let found = cx.aws.autoscaling.group(&name).await.during(&format!("look for group {name}"))?;
    let found = found.ok_or_else(|| StepError::new(format!("group {name} does not exist")))?;
    match cx.owns(fleet, &found.tags) {
        true => Ok(found),
        false => Err(StepError::foreign(&format!("group {name}"))),
    }
}

/// All groups the fleet has, of whichever kind; at least one.
pub(super) async fn groups(cx: &Cx, fleet: &FleetKey) -> Result<Vec<GroupInfo>, StepError> {
    let names = CapacityKind::ALL.map(|kind| cx.group_name(fleet, kind));
    let found = cx.aws.autoscaling.groups_named(&names).await.during(&format!("look for the groups of {fleet}"))?;
    if let Some(stranger) = found.iter().find(|found| !cx.owns(fleet, &found.tags)) {
        return Err(StepError::foreign(&format!("group {}", stranger.group.name)));
    }
    match found.is_empty() {
        false => Ok(found),
        true => Err(StepError::new(format!("group {} does not exist", cx.name(fleet)))),
    }
}
