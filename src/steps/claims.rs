//! Whether the names a plan is about to give are free, or ours already: asked before anything is made, so that a stranger's thing in the way
//! costs nothing but the question. Each step still looks for itself.

use std::collections::BTreeSet;

use super::Cx;
use crate::aws::{Error, gather};
use crate::model::{BoxName, CapacityKind, FleetKey};
use crate::plan::{Plan, Step};

/// What has a name of this plan and is not ours, one line each.
pub async fn strangers(plan: &Plan, cx: &Cx) -> Result<Vec<String>, Error> {
    let (mut templates, mut target_groups, mut groups) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut boxes = Vec::new();
    for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
        match step {
            Step::CreateLaunchTemplate { fleet, .. } => _ = templates.insert(fleet),
            Step::CreateTargetGroup { fleet, .. } => _ = target_groups.insert(fleet),
            Step::LaunchFleet { fleet, kind, .. } => _ = groups.insert((fleet, *kind)),
            Step::CreateBoxTargetGroups { name, groups } => boxes.extend(groups.iter().map(|group| (name, group.target_group.as_str()))),
            _ => {}
        }
    }
    let templates = gather(templates.into_iter().map(|fleet| template(cx, fleet)));
    let target_groups = gather(target_groups.into_iter().map(|fleet| target_group(cx, fleet)));
    let boxes = box_groups(cx, &boxes);
    let (templates, target_groups, boxes, groups) = tokio::join!(templates, target_groups, boxes, group_names(cx, &groups));
    let mut found = groups?;
    found.extend(boxes?);
    for stranger in templates.into_iter().chain(target_groups) {
        found.extend(stranger?);
    }
    Ok(found)
}

async fn template(cx: &Cx, fleet: &FleetKey) -> Result<Option<String>, Error> {
    let name = cx.name(fleet);
    let stranger = cx.aws.ec2.launch_template(&name).await?.filter(|found| !cx.owns(fleet, &found.tags));
    Ok(stranger.map(|_| format!("launch template {name} is there and not adstage's")))
}

async fn target_group(cx: &Cx, fleet: &FleetKey) -> Result<Option<String>, Error> {
    let name = cx.target_group_name(fleet);
    let Some(found) = cx.aws.elbv2.target_group(&name).await? else { return Ok(None) };
    let ours = cx.owns(fleet, &cx.aws.elbv2.tags_of(&found.arn).await?);
    Ok((!ours).then(|| format!("target group {name} is there and not adstage's")))
}

/// All at once: many boxes may be made at a time.
async fn box_groups(cx: &Cx, wanted: &[(&BoxName, &str)]) -> Result<Vec<String>, Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let all = cx.aws.elbv2.target_groups().await?;
    let there: Vec<_> = wanted.iter().filter_map(|(name, group)| Some((name, all.iter().find(|found| found.name == **group)?))).collect();
    let arns: Vec<String> = there.iter().map(|(_, found)| found.arn.clone()).collect();
    let tags = cx.aws.elbv2.tags(&arns).await?;
    let strangers = there.iter().filter(|(name, found)| !tags.get(&found.arn).is_some_and(|tags| cx.owns_of_box(name, tags)));
    Ok(strangers.map(|(_, found)| format!("target group {} is there and not adstage's", found.name)).collect())
}

async fn group_names(cx: &Cx, fleets: &BTreeSet<(&FleetKey, CapacityKind)>) -> Result<Vec<String>, Error> {
    if fleets.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = fleets.iter().map(|(fleet, kind)| cx.group_name(fleet, *kind)).collect();
    let found = cx.aws.autoscaling.groups_named(&names).await?;
    let ours = |name: &str, tags| fleets.iter().any(|(fleet, kind)| cx.group_name(fleet, *kind) == name && cx.owns(fleet, tags));
    let strangers = found.iter().filter(|found| !ours(&found.group.name, &found.tags));
    Ok(strangers.map(|found| format!("group {} is there and not adstage's", found.group.name)).collect())
}
