//! Tags of groups. A change reaches instances launched from then on, never those already running.

use super::state::Autoscaling;
use super::{answer, invalid, page};
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::wire::{AwsError, Node, Params, leaf, list};

/// Group, key, and (value, whether instances get it).
type Tagged = (String, String, (String, bool));

/// `Tags` of a request; a group being created need not be named in them.
pub(super) fn read(params: &Params, group: Option<&str>) -> Result<Vec<Tagged>, AwsError> {
    let one = |tag: &Params| {
        let name = match (tag.get("ResourceId"), group) {
            (Some(name), Some(group)) if name != group => return Err(invalid(format!("The tag names another group: {name}"))),
            (Some(name), _) | (None, Some(name)) => name.to_string(),
            (None, None) => return Err(invalid("A tag must name its group in ResourceId")),
        };
        if let Some(kind) = tag.get("ResourceType").filter(|kind| *kind != "auto-scaling-group") {
            return Err(invalid(format!("'{kind}' is not a valid resource type")));
        }
        let (key, value) = (tag.required("Key")?, tag.get("Value").unwrap_or_default());
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 || key.starts_with("aws:") {
            return Err(invalid(format!("The tag '{key}' = '{value}' is not valid")));
        }
        Ok((name, key.to_string(), (value.to_string(), tag.flag("PropagateAtLaunch").unwrap_or(false))))
    };
    let tags: Vec<Tagged> = params.list("Tags").into_iter().map(one).collect::<Result<_, _>>()?;
    if group.is_some() && tags.len() > 50 {
        return Err(AwsError::bad("LimitExceeded", "A group can have at most 50 tags"));
    }
    Ok(tags)
}

/// As children of a list member.
pub(super) fn show(group: &str, key: &str, (value, propagate): &(String, bool)) -> Vec<Node> {
    vec![
        leaf("ResourceId", group),
        leaf("ResourceType", "auto-scaling-group"),
        leaf("Key", key),
        leaf("Value", value),
        leaf("PropagateAtLaunch", propagate),
    ]
}

fn check_groups(autoscaling: &Autoscaling, tags: &[Tagged]) -> Result<(), AwsError> {
    match tags.iter().find(|(group, _, _)| !autoscaling.groups.contains_key(group)) {
        Some((missing, _, _)) => Err(invalid(format!("Auto Scaling group '{missing}' not found"))),
        None => Ok(()),
    }
}

pub(super) fn create_or_update(call: &mut Call<'_>) -> Answer {
    let tags = read(call.params, None)?;
    let autoscaling = &mut call.state.autoscaling;
    check_groups(autoscaling, &tags)?;
    for (group, key, value) in tags {
        if let Some(group) = autoscaling.groups.get_mut(&group) {
            if group.tags.len() >= 50 && !group.tags.contains_key(&key) {
                return Err(AwsError::bad("LimitExceeded", "A group can have at most 50 tags"));
            }
            group.tags.insert(key, value);
        }
    }
    answer([])
}

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let tags = read(call.params, None)?;
    check_groups(&call.state.autoscaling, &tags)?;
    for (group, key, _) in tags {
        if let Some(group) = call.state.autoscaling.groups.get_mut(&group) {
            group.tags.remove(&key);
        }
    }
    answer([])
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let mut found = Vec::new();
    let filters: Vec<(&str, Vec<&str>)> = call
        .params
        .list("Filters")
        .into_iter()
        .map(|one| Ok((one.required("Name")?, one.texts("Values"))))
        .collect::<Result<_, AwsError>>()?;
    for (name, _) in &filters {
        if !["auto-scaling-group", "key", "value", "propagate-at-launch"].contains(name) {
            return Err(invalid(format!("Filter type {name} is not correct")));
        }
    }
    for group in call.state.autoscaling.groups.values() {
        for (key, value) in &group.tags {
            let propagate = value.1.to_string();
            let passes = filters.iter().all(|(name, values)| {
                let fact = match *name {
                    "auto-scaling-group" => &group.name,
                    "key" => key,
                    "value" => &value.0,
                    _ => &propagate,
                };
                values.contains(&fact.as_str())
            });
            if passes {
                found.push(show(&group.name, key, value));
            }
        }
    }
    let (found, next) = page(found, call.params)?;
    answer([list("Tags", "member", found)].into_iter().chain(next))
}
