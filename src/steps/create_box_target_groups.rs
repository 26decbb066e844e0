//! A review box's target groups: one per service with a port, and its agent's. Nobody is led there any more when they are deleted, so they
//! need no drain. Many boxes may be made at a time, so nothing is asked here that the answers of creation tell.

use super::error::During;
use super::wait::appears;
use super::{Cx, Done, StepError, Undone, delete_box_target_groups};
use crate::aws::{ErrorKind, gather};
use crate::model::{BoxName, tag};
use crate::plan::BoxGroup;

pub(super) async fn run(cx: &Cx, name: &BoxName, groups: &[BoxGroup]) -> Done {
    let subnets = cx.aws.ec2.subnets(&cx.environment.subnets).await.during("look up the subnets of review boxes")?;
    let vpc = subnets.into_iter().next().map(|subnet| subnet.vpc);
    let vpc = vpc.ok_or_else(|| StepError::new("the subnets of review boxes do not exist"))?;
    let arns = gather(groups.iter().map(|group| create(cx, name, group, &vpc))).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    // One that was there with the same settings is answered as if it was made: the tags tell whose it is.
    let tags = appears(cx, &format!("the target groups of {name}"), || async { cx.aws.elbv2.tags(&arns).await.map(Some) }).await?;
    for (group, arn) in groups.iter().zip(&arns) {
        if !tags.get(arn).is_some_and(|tags| cx.owns_of_box(name, tags)) {
            return Err(StepError::foreign(&format!("target group {}", group.target_group)));
        }
    }
    Ok(format!("{} target groups of {name}", groups.len()))
}

async fn create(cx: &Cx, name: &BoxName, group: &BoxGroup, vpc: &str) -> Result<String, StepError> {
    let mut tags = cx.box_tags(name);
    if let Some(service) = &group.service {
        tags.insert(tag::SERVICES.into(), service.to_string());
    }
    let called = &group.target_group;
    match cx.aws.elbv2.create_target_group(called, vpc, &group.spec, &tags).await {
        // With other settings: somebody else's, or ours from another day.
        Err(error) if error.kind == ErrorKind::AlreadyExists => {
            Ok(appears(cx, &format!("target group {called}"), || cx.aws.elbv2.target_group(called)).await?.arn)
        }
        made => made.during(&format!("create target group {called}")),
    }
}

pub(super) async fn undo(cx: &Cx, name: &BoxName, groups: &[BoxGroup]) -> Undone {
    let groups: Vec<String> = groups.iter().map(|group| group.target_group.clone()).collect();
    delete_box_target_groups::run(cx, name, &groups).await.map(drop)
}
