//! The fleet's target group: how the load balancer checks it, and how long its connections may take to end.

use std::time::Duration;

use super::error::During;
use super::wait::{appears, ended, failed, settled};
use super::{Cx, Done, StepError, Undone};
use crate::aws::{ErrorKind, TargetGroupInfo};
use crate::health::{Look, Waiting};
use crate::model::FleetKey;
use crate::plan::TargetGroupSpec;

/// How long a rule that is gone may still keep the group in use.
const RELEASED: Duration = Duration::from_secs(180);

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, spec: &TargetGroupSpec) -> Done {
    let name = cx.target_group_name(fleet);
    let what = format!("target group {name}");
    let existing = cx.aws.elbv2.target_group(&name).await.during(&format!("look for {what}"))?;
    let arn = match existing {
        Some(found) => found.arn,
        None => create(cx, fleet, spec, &name).await?,
    };
    let tags = appears(cx, &what, || async { cx.aws.elbv2.tags_of(&arn).await.map(Some) }).await?;
    if !cx.owns(fleet, &tags) {
        return Err(StepError::foreign(&what));
    }
    // Also on one that was there: the run that made it may have ended right after.
    cx.aws.elbv2.set_drain(&arn, spec.drain).await.during(&format!("set the deregistration delay of {what}"))?;
    Ok(format!("{what}, port {}", spec.port))
}

async fn create(cx: &Cx, fleet: &FleetKey, spec: &TargetGroupSpec, name: &str) -> Result<String, StepError> {
    let subnets = cx.aws.ec2.subnets(&cx.environment.subnets).await.during("look up the environment's subnets")?;
    let vpc = subnets.into_iter().next().map(|subnet| subnet.vpc);
    let vpc = vpc.ok_or_else(|| StepError::new("the environment's subnets do not exist"))?;
    match cx.aws.elbv2.create_target_group(name, &vpc, spec, &cx.fleet_tags(fleet)).await {
        // With other settings: somebody else's, or ours from a reply that was lost. The tags tell.
        Err(error) if error.kind == ErrorKind::AlreadyExists => {
            Ok(appears(cx, &format!("target group {name}"), || cx.aws.elbv2.target_group(name)).await?.arn)
        }
        made => made.during(&format!("create target group {name}")),
    }
}

pub(super) async fn undo(cx: &Cx, fleet: &FleetKey) -> Undone {
    let name = cx.target_group_name(fleet);
    let found = settled(cx, &format!("target group {name}"), || ours(cx, fleet, &name)).await?;
    let Some(group) = found else { return Ok(()) };
    let look = || async {
        match cx.aws.elbv2.delete_target_group(&group.arn).await {
            Ok(()) => Look::Done(()),
            Err(error) if error.kind == ErrorKind::InUse => {
                Look::Waiting(Waiting::new(format!("{fleet}: its target group is still named by a rule")))
            }
            Err(error) => failed(error, &format!("delete target group {name}")),
        }
    };
    cx.wait(RELEASED, look).await.map_err(|stop| ended(stop, || format!("target group {name} cannot be deleted")))
}

/// The fleet's target group, if it is there and ours.
pub(super) async fn ours(cx: &Cx, fleet: &FleetKey, name: &str) -> Result<Option<TargetGroupInfo>, crate::aws::Error> {
    let Some(found) = cx.aws.elbv2.target_group(name).await? else { return Ok(None) };
    match cx.aws.elbv2.tags_of(&found.arn).await {
        Ok(tags) => Ok(Some(found).filter(|_| cx.owns(fleet, &tags))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
