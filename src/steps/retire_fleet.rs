//! A fleet is removed wholly: group, test rule, target group, launch template, in this order. No way back.

use super::traffic_guard::traffic_guard;
use super::{Cx, Done, create_launch_template, create_target_group, create_test_rule, launch_fleet};
use crate::model::{FleetKey, Seconds};

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, drain: Seconds) -> Done {
    // Asked even if there is no group left to shrink: nothing of a fleet with visitors is touched.
    traffic_guard(cx, fleet).await?;
    launch_fleet::remove(cx, fleet, drain.duration()).await?;
    create_test_rule::undo(cx, fleet).await?;
    create_target_group::undo(cx, fleet).await?;
    create_launch_template::undo(cx, fleet).await?;
    Ok(format!("{fleet} is gone"))
}
