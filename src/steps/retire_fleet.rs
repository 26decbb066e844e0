//! A fleet is removed wholly: groups, test rule, target group, launch template, in this order. No way back.

use super::traffic_guard::traffic_guard;
use super::{Cx, Done, create_launch_template, create_target_group, create_test_rule, launch_fleet};
use crate::model::{CapacityKind, FleetKey, Seconds};

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, drain: Seconds) -> Done {
    // Asked even if there is no group left to shrink: nothing of a fleet with visitors is touched.
    traffic_guard(cx, fleet).await?;
    let [on_demand, spot] = CapacityKind::ALL.map(|kind| launch_fleet::remove(cx, fleet, kind, drain.duration()));
    tokio::try_join!(on_demand, spot)?;
    create_test_rule::undo(cx, fleet).await?;
    create_target_group::undo(cx, fleet).await?;
    create_launch_template::undo(cx, fleet).await?;
    Ok(format!("{fleet} is gone"))
}
