//! The fleet's launch template: image, type, user data, IMDSv2 only, tags readable from inside.

use super::error::During;
use super::tags::token;
use super::wait::{appears, settled};
use super::{Cx, Done, StepError, Undone};
use crate::aws::{Error, NewTemplate, TemplateInfo};
use crate::model::FleetKey;
use crate::plan::TemplateSpec;

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, spec: &TemplateSpec) -> Done {
    let name = cx.name(fleet);
    let environment = &cx.environment;
    let what = format!("launch template {name}");
    if find(cx, &name).await.during(&format!("look for {what}"))?.is_none() {
        let wanted = NewTemplate {
            name: name.clone(),
            spec: spec.clone(),
            security_groups: environment.security_groups.clone(),
            instance_profile: environment.instance_profile.clone(),
            tags: cx.fleet_tags(fleet),
            token: token(&[&cx.operation.0, "launch-template", &name]),
        };
        match cx.aws.ec2.create_launch_template(&wanted).await {
            Err(error) if error.kind == crate::aws::ErrorKind::AlreadyExists => {}
            answer => answer.during(&format!("create {what}"))?,
        }
    }
    let found = appears(cx, &what, || find(cx, &name)).await?;
    match cx.owns(fleet, &found.tags) {
        true => Ok(format!("{what}, version {}", found.version)),
        false => Err(StepError::foreign(&what)),
    }
}

pub(super) async fn undo(cx: &Cx, fleet: &FleetKey) -> Undone {
    let name = cx.name(fleet);
    let what = format!("launch template {name}");
    let found = settled(cx, &what, || find(cx, &name)).await?;
    match found.filter(|found| cx.owns(fleet, &found.tags)) {
        Some(_) => cx.aws.ec2.delete_launch_template(&name).await.during(&format!("delete {what}")),
        None => Ok(()),
    }
}

async fn find(cx: &Cx, name: &str) -> Result<Option<TemplateInfo>, Error> {
    cx.aws.ec2.launch_template(name).await
}
