//! The traffic guard: no fleet that any visitor can reach is ever made smaller, by whatever way (retiring, undoing, resizing, cleaning up).

use super::error::During;
use super::{Cx, StepError};
use crate::model::FleetKey;

/// Refuses if a rule of the environment's load balancer, on any listener and whoever made it, gives the fleet weight. Asked right before
/// the call that lowers capacity, from AWS itself, never from what was observed earlier. Test rules are no visitors.
pub(super) async fn traffic_guard(cx: &Cx, fleet: &FleetKey) -> Result<(), StepError> {
    let name = &cx.environment.load_balancer.name;
    let found = cx.aws.elbv2.load_balancer(name).await.during(&format!("look for load balancer {name}"))?;
    let Some(load_balancer) = found else {
        // Nobody can be served through a load balancer that does not exist.
        return Ok(());
    };
    let reachable = cx.aws.elbv2.reachable(&load_balancer.arn).await.during("read who gets visitors")?;
    match reachable.contains(&cx.target_group_name(fleet)) {
        false => Ok(()),
        true => {
            Err(StepError::new(format!("{fleet} has visitors: it is not made smaller"))
                .because("a rule of the load balancer gives it weight"))
        }
    }
}
