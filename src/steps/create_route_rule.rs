//! A route's rule. Until something is released it answers 503 "nothing released yet". Nothing to undo: setup can be repeated.

use super::error::During;
use super::wait::tolerated;
use super::{Cx, Done, StepError, listener, route};
use crate::aws::{ErrorKind, Tags};
use crate::model::{Conditions, Route, ServiceName, tag};

pub(super) async fn run(cx: &Cx, service: &ServiceName, wanted: &Route) -> Done {
    let what = format!("rule {} for {service}", wanted.priority);
    let door = listener::door(cx).await?;
    let mut tags = cx.tags();
    tags.insert(tag::SERVICES.into(), service.to_string());
    let conditions = conditions(wanted);
    let existing = listener::rules(cx, &door).await?.into_iter().find(|rule| rule.priority == Some(wanted.priority));
    if existing.is_none() {
        let create = || async {
            let page = route::nothing_yet();
            match cx.aws.elbv2.create_page_rule(&door.listener, wanted.priority, &conditions, &page, &tags).await {
                // Taken a moment ago, maybe by our own call whose reply was lost: the tags tell.
                Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
                made => made.map(drop),
            }
        };
        tolerated(cx, &format!("create {what}"), |error| error.is_not_found(), create).await?;
    }
    let find = || async {
        let rules = cx.aws.elbv2.rules(&door.listener).await?;
        Ok(rules.into_iter().find(|rule| rule.priority == Some(wanted.priority)))
    };
    let rule = super::wait::appears(cx, &what, find).await?;
    let found = cx.aws.elbv2.tags_of(&rule.arn).await.during(&format!("read the tags of {what}"))?;
    match is_ours(cx, service, &found) {
        true => Ok(what),
        false => Err(StepError::foreign(&what)),
    }
}

fn is_ours(cx: &Cx, service: &ServiceName, tags: &Tags) -> bool {
    cx.owns_here(tags) && tags.get(tag::SERVICES).is_some_and(|found| found == service.as_str())
}

/// A rule must ask for something, so a route that takes everything asks for any path.
fn conditions(wanted: &Route) -> Conditions {
    let everything = wanted.hosts.is_empty() && wanted.paths.is_empty();
    let paths = if everything { vec!["/*".to_string()] } else { wanted.paths.clone() };
    Conditions { hosts: wanted.hosts.clone(), paths, header: None }
}
