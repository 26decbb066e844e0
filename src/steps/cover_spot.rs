//! Spot that a fleet without visitors does not get is made up for with on-demand instances: together they are as many as wanted.
//! Undo: the on-demand group as it was (what becomes of the spot group is its own step's).

use super::error::During;
use super::pin_size::group;
use super::{Cx, Done, Progress, Undone, resize_fleet};
use crate::model::{CapacityKind, FleetKey, Share, instances};

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, share: Share) -> Done {
    let total = share.total();
    let (found, own) = tokio::try_join!(group(cx, fleet, CapacityKind::Spot), group(cx, fleet, CapacityKind::OnDemand))?;
    let (found, own) = (found.group, own.group);
    let there = found.present().min(found.desired);
    // On-demand first: the fleet is never smaller than it was.
    let (wanted, name) = (total.saturating_sub(there).max(own.desired), fleet.group(CapacityKind::OnDemand));
    if wanted > own.desired {
        let answer = cx.aws.autoscaling.resize(&own.name, own.min, own.max.max(wanted), wanted).await;
        answer.during(&format!("bring {name} to {}", instances(wanted)))?;
    }
    if there < found.desired {
        let answer = cx.aws.autoscaling.resize(&found.name, found.min.min(there), found.max, there).await;
        answer.during(&format!("leave {} at what it has", fleet.group(CapacityKind::Spot)))?;
    }
    match total.saturating_sub(wanted) {
        _ if wanted == own.desired && there == found.desired => Ok(format!("{fleet}: nothing to cover")),
        spot => {
            let text = format!("{fleet}: {wanted} on-demand and {spot} spot, because there is no more spot to be had");
            (cx.progress)(Progress { text: text.clone(), details: Vec::new() });
            Ok(text)
        }
    }
}

pub(super) async fn undo(cx: &Cx, fleet: &FleetKey, share: Share) -> Undone {
    let name = cx.group_name(fleet, CapacityKind::OnDemand);
    let found = cx.aws.autoscaling.group(&name).await.during(&format!("look for group {name}"))?;
    match found.filter(|found| found.group.desired > share.on_demand) {
        Some(found) => resize_fleet::undo(cx, fleet, CapacityKind::OnDemand, share.on_demand, found.group.max).await,
        None => Ok(()),
    }
}
