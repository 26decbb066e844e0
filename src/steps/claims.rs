//! Whether the names a plan is about to give are free, or ours already: asked before anything is made, so that a stranger's thing in the way
//! costs nothing but the question, which is one per kind of thing, however many services there are. Each step still looks for itself.

use std::collections::BTreeMap;

use super::Cx;
use crate::aws::{Error, Tags};
use crate::model::{BoxName, FleetKey};
use crate::plan::{Plan, Step};

/// Names, and whose they are to be.
type Claims<'a> = BTreeMap<String, Claimant<'a>>;

enum Claimant<'a> {
    Fleet(&'a FleetKey),
    Box(&'a BoxName),
}

impl Claimant<'_> {
    fn owns(&self, cx: &Cx, tags: &Tags) -> bool {
        match self {
            Self::Fleet(fleet) => cx.owns(fleet, tags),
            Self::Box(name) => cx.owns_of_box(name, tags),
        }
    }
}

/// What has a name of this plan and is not ours, one line each.
pub async fn strangers(plan: &Plan, cx: &Cx) -> Result<Vec<String>, Error> {
    let (mut templates, mut target_groups, mut groups) = (Claims::new(), Claims::new(), Claims::new());
    for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
        match step {
            Step::CreateLaunchTemplate { fleet, .. } => _ = templates.insert(cx.name(fleet), Claimant::Fleet(fleet)),
            Step::CreateTargetGroup { fleet, .. } => _ = target_groups.insert(cx.target_group_name(fleet), Claimant::Fleet(fleet)),
            Step::LaunchFleet { fleet, kind, .. } => _ = groups.insert(cx.group_name(fleet, *kind), Claimant::Fleet(fleet)),
            Step::CreateBoxTargetGroups { name, groups } => {
                target_groups.extend(groups.iter().map(|group| (group.target_group.clone(), Claimant::Box(name))));
            }
            _ => {}
        }
    }
    let (templates, target_groups, groups) =
        tokio::join!(of_templates(cx, &templates), of_target_groups(cx, &target_groups), of_groups(cx, &groups));
    Ok([groups?, templates?, target_groups?].concat())
}

async fn of_templates(cx: &Cx, claims: &Claims<'_>) -> Result<Vec<String>, Error> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let found = cx.aws.ec2.launch_templates_named(&names(claims)).await?;
    Ok(foreign(cx, claims, "launch template", found.iter().map(|found| (found.template.name.as_str(), &found.tags))))
}

/// Every target group there is: asked for by name, AWS answers nothing if one of them is missing.
async fn of_target_groups(cx: &Cx, claims: &Claims<'_>) -> Result<Vec<String>, Error> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = cx.aws.elbv2.target_groups().await?;
    found.retain(|found| claims.contains_key(&found.name));
    let arns: Vec<String> = found.iter().map(|found| found.arn.clone()).collect();
    let (tags, untagged) = (cx.aws.elbv2.tags(&arns).await?, Tags::new());
    let found = found.iter().map(|found| (found.name.as_str(), tags.get(&found.arn).unwrap_or(&untagged)));
    Ok(foreign(cx, claims, "target group", found))
}

async fn of_groups(cx: &Cx, claims: &Claims<'_>) -> Result<Vec<String>, Error> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let found = cx.aws.autoscaling.groups_named(&names(claims)).await?;
    Ok(foreign(cx, claims, "group", found.iter().map(|found| (found.group.name.as_str(), &found.tags))))
}

fn names(claims: &Claims) -> Vec<String> {
    claims.keys().cloned().collect()
}

fn foreign<'a>(cx: &Cx, claims: &Claims, what: &str, found: impl Iterator<Item = (&'a str, &'a Tags)>) -> Vec<String> {
    let theirs = found.filter(|(name, tags)| claims.get(*name).is_some_and(|claimant| !claimant.owns(cx, tags)));
    theirs.map(|(name, _)| format!("{what} {name} is there and not adstage's")).collect()
}
