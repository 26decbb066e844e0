//! The live fleet's smallest size is raised to its size, so that losing its visitors does not shrink it: it is what a rollback goes back to.

use super::error::During;
use super::{Cx, Done, StepError, Undone};
use crate::aws::GroupInfo;
use crate::model::FleetKey;

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, size: u32) -> Done {
    let found = group(cx, fleet).await?.group;
    // It may have grown since the plan was made.
    let size = size.max(found.desired);
    let answer = cx.aws.autoscaling.set_bounds(&found.name, size, found.max.max(size)).await;
    answer.during(&format!("pin {fleet} at {size}"))?;
    Ok(format!("{fleet} pinned at {size}"))
}

pub(super) async fn undo(cx: &Cx, fleet: &FleetKey, min_before: u32) -> Undone {
    let name = cx.name(fleet);
    let found = cx.aws.autoscaling.group(&name).await.during(&format!("look for group {name}"))?;
    match found.filter(|found| cx.owns(fleet, &found.tags)) {
        Some(found) => {
            let answer = cx.aws.autoscaling.set_bounds(&name, min_before, found.group.max).await;
            answer.during(&format!("unpin {fleet}"))
        }
        None => Ok(()),
    }
}

/// The fleet's group, which must be there and ours.
pub(super) async fn group(cx: &Cx, fleet: &FleetKey) -> Result<GroupInfo, StepError> {
    let name = cx.name(fleet);
    let found = cx.aws.autoscaling.group(&name).await.during(&format!("look for group {name}"))?;
    let found = found.ok_or_else(|| StepError::new(format!("group {name} does not exist")))?;
    match cx.owns(fleet, &found.tags) {
        true => Ok(found),
        false => Err(StepError::foreign(&format!("group {name}"))),
    }
}
