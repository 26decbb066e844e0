//! Tags of the four kinds of resources.

use super::state::{Elbv2, Tags};
use super::{answer, no_listener, no_load_balancer, no_rule, no_target_group};
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::wire::{AwsError, Params, leaf, list};

/// `Tags` of a request, by AWS's rules.
pub(super) fn read(params: &Params) -> Result<Tags, AwsError> {
    let mut tags = Tags::new();
    for tag in params.list("Tags") {
        let (key, value) = (tag.required("Key")?, tag.get("Value").unwrap_or_default());
        let odd = |text: &str| text.chars().any(|char| !(char.is_alphanumeric() || " _.:/=+-@".contains(char)));
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 || odd(key) || odd(value) || key.starts_with("aws:") {
            return Err(AwsError::bad("ValidationError", format!("The tag '{key}' = '{value}' is not valid")));
        }
        if tags.insert(key.to_string(), value.to_string()).is_some() {
            return Err(AwsError::bad("DuplicateTagKeys", format!("Duplicate tag key '{key}'")));
        }
    }
    enough(&tags)?;
    Ok(tags)
}

fn enough(tags: &Tags) -> Result<(), AwsError> {
    if tags.len() > 50 {
        return Err(AwsError::bad("TooManyTags", "A resource can have at most 50 tags"));
    }
    Ok(())
}

fn of<'a>(elbv2: &'a mut Elbv2, arn: &str) -> Result<&'a mut Tags, AwsError> {
    let kind = arn.split(':').nth(5).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    match kind {
        "loadbalancer" => elbv2.load_balancers.get_mut(arn).map(|one| &mut one.tags).ok_or_else(|| no_load_balancer(arn)),
        "listener" => elbv2.listeners.get_mut(arn).map(|one| &mut one.tags).ok_or_else(|| no_listener(arn)),
        "listener-rule" => elbv2.rules.get_mut(arn).map(|one| &mut one.tags).ok_or_else(|| no_rule(arn)),
        "targetgroup" => elbv2.target_groups.get_mut(arn).map(|one| &mut one.tags).ok_or_else(|| no_target_group(arn)),
        _ => Err(AwsError::bad("ValidationError", format!("'{arn}' is not a valid ARN"))),
    }
}

fn arns(params: &Params) -> Result<Vec<&str>, AwsError> {
    let arns = params.texts("ResourceArns");
    match arns.len() {
        0 => Err(AwsError::bad("ValidationError", "A resource ARN must be specified")),
        1..=20 => Ok(arns),
        _ => Err(AwsError::bad("ValidationError", "At most 20 resources can be named in one call")),
    }
}

pub(super) fn add(call: &mut Call<'_>) -> Answer {
    let more = read(call.params)?;
    let arns = arns(call.params)?;
    for arn in &arns {
        let mut tags = of(&mut call.state.elbv2, arn)?.clone();
        tags.extend(more.clone());
        enough(&tags)?;
    }
    for arn in arns {
        of(&mut call.state.elbv2, arn)?.extend(more.clone());
    }
    answer([])
}

pub(super) fn remove(call: &mut Call<'_>) -> Answer {
    let keys = call.params.texts("TagKeys");
    for arn in arns(call.params)? {
        of(&mut call.state.elbv2, arn)?.retain(|key, _| !keys.contains(&key.as_str()));
    }
    answer([])
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let mut shown = Vec::new();
    for arn in arns(call.params)? {
        let tags = of(&mut call.state.elbv2, arn)?;
        let tags = list("Tags", "member", tags.iter().map(|(key, value)| vec![leaf("Key", key), leaf("Value", value)]));
        shown.push(vec![leaf("ResourceArn", arn), tags]);
    }
    answer([list("TagDescriptions", "member", shown)])
}
