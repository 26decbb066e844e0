//! The fleet's Auto Scaling group, at the size that is live now. Undo: to nothing, drained, deleted.

use std::time::Duration;

use super::error::During;
use super::traffic_guard::traffic_guard;
use super::wait::{appears, ended, failed, settled, tolerated};
use super::{Cx, Done, StepError, Undone};
use crate::aws::{ErrorKind, GroupInfo, NewGroup};
use crate::health::{Look, Waiting};
use crate::model::{CapacityKind, FleetKey, instances, tag};

/// Beyond the drain: terminating and deleting take minutes.
const SLACK: Duration = Duration::from_secs(900);

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, types: &[String], size: u32, max: u32, held: bool) -> Done {
    let name = cx.group_name(fleet, kind);
    let what = format!("group {name}");
    let existing = cx.aws.autoscaling.group(&name).await.during(&format!("look for {what}"))?;
    if existing.as_ref().is_some_and(|found| found.group.deleting) {
        gone(cx, fleet, kind, cx.environment.timing.drain.duration() + SLACK).await?;
    }
    if existing.is_none_or(|found| found.group.deleting) {
        create(cx, fleet, kind, types, size, max, held).await?;
    }
    let found = appears(cx, &what, || cx.aws.autoscaling.group(&name)).await?;
    if !cx.owns(fleet, &found.tags) {
        return Err(StepError::foreign(&what));
    }
    if found.group.desired < size {
        // An undo that was cut short had begun to shrink it.
        let answer = cx.aws.autoscaling.resize(&name, size, max.max(size), size).await;
        answer.during(&format!("bring {what} to {}", instances(size)))?;
    }
    Ok(format!("{what}, {}", instances(size)))
}

async fn create(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, types: &[String], size: u32, max: u32, held: bool) -> Result<(), StepError> {
    let (name, template) = (cx.group_name(fleet, kind), cx.name(fleet));
    let target_group = cx.target_group_name(fleet);
    let (template, target_group) = tokio::join!(
        appears(cx, "its launch template", || cx.aws.ec2.launch_template(&template)),
        appears(cx, "its target group", || cx.aws.elbv2.target_group(&target_group)),
    );
    let template = template?;
    let mut tags = cx.group_tags(fleet, kind);
    if held {
        tags.insert(tag::ACTIVE.to_string(), tag::NO.to_string());
    }
    let wanted = NewGroup {
        name: name.clone(),
        template: template.template.id,
        kind,
        types: types.to_vec(),
        version: template.version,
        subnets: cx.environment.subnets.clone(),
        target_group: target_group?.arn,
        min: size,
        max: max.max(size),
        desired: size,
        tags,
    };
    // Auto Scaling says ValidationError for whatever it does not see yet: template, target group, a new instance profile.
    let lagging = |error: &crate::aws::Error| error.code == "ValidationError" || error.is_not_found();
    let create = || async {
        match cx.aws.autoscaling.create_group(&wanted).await {
            Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
            answer => answer,
        }
    };
    tolerated(cx, &format!("create group {name}"), lagging, create).await
}

pub(super) async fn undo(cx: &Cx, fleet: &FleetKey, kind: CapacityKind) -> Undone {
    remove(cx, fleet, kind, cx.environment.timing.drain.duration()).await
}

/// To nothing, drained, deleted, and waited for: a target group must not go before the group that registers in it.
pub(super) async fn remove(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, drain: Duration) -> Result<(), StepError> {
    let name = cx.group_name(fleet, kind);
    let found = settled(cx, &format!("group {name}"), || cx.aws.autoscaling.group(&name)).await?;
    match found.filter(|found| cx.owns(fleet, &found.tags)) {
        Some(_) => gone(cx, fleet, kind, drain + SLACK).await,
        None => Ok(()),
    }
}

/// Each look does what is next: shrink, wait, delete, wait.
async fn gone(cx: &Cx, fleet: &FleetKey, kind: CapacityKind, within: Duration) -> Result<(), StepError> {
    let name = cx.group_name(fleet, kind);
    let look = || async {
        match cx.aws.autoscaling.group(&name).await {
            Ok(None) => Look::Done(()),
            Ok(Some(found)) => next(cx, fleet, found).await,
            Err(error) => failed(error, &format!("look for group {name}")),
        }
    };
    cx.wait(within, look).await.map_err(|stop| ended(stop, || format!("group {name} does not go away")))
}

async fn next(cx: &Cx, fleet: &FleetKey, found: GroupInfo) -> Look<(), StepError> {
    let group = found.group;
    let what = format!("delete group {}", group.name);
    let waiting = |text: String| Look::Waiting(Waiting::new(text));
    if group.deleting {
        return waiting(format!("{fleet}: group is being deleted"));
    }
    let answer = if group.desired > 0 || group.min > 0 {
        if let Err(refused) = traffic_guard(cx, fleet).await {
            return Look::Failed(refused);
        }
        cx.aws.autoscaling.resize(&group.name, 0, group.max, 0).await
    } else if !group.instances.is_empty() {
        return waiting(leaving(fleet, group.instances.len()));
    } else {
        cx.aws.autoscaling.delete_group(&group.name).await
    };
    match answer {
        // Not now (something is still going on in it), or gone meanwhile: the next look tells.
        Err(error) if error.kind != ErrorKind::InUse && error.code != "ValidationError" => failed(error, &what),
        _ => waiting(leaving(fleet, group.instances.len())),
    }
}

fn leaving(fleet: &FleetKey, left: usize) -> String {
    match u32::try_from(left).unwrap_or(u32::MAX) {
        0 => format!("{fleet}: no instance left, the group goes next"),
        left => format!("{fleet}: {} leaving", instances(left)),
    }
}
