//! Tags, on every kind of resource.

use std::collections::BTreeMap;

use super::Ec2;
use super::filters::Filters;
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf, list};

/// Key and value.
pub(in crate::sandbox) type Tags = BTreeMap<String, String>;

/// As many as one resource may have.
const LIMIT: usize = 50;

/// `Tag.1.Key=…&Tag.1.Value=…`, checked as a caller's (not AWS's own) tags are.
pub(super) fn read_tags(params: &Params) -> Result<Tags, AwsError> {
    let mut tags = Tags::new();
    for tag in params.list("Tag") {
        let (key, value) = (tag.required("Key")?, tag.get("Value").unwrap_or_default());
        let invalid = |message: String| Err(AwsError::bad("InvalidParameterValue", message));
        if key.is_empty() || key.chars().count() > 128 {
            return invalid(format!("Tag key {key:?} must have 1 to 128 characters."));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return invalid("Tag keys starting with 'aws:' are reserved for internal use".to_string());
        }
        if value.chars().count() > 256 {
            return invalid(format!("Tag value exceeds the maximum length of 256 characters (key {key:?})"));
        }
        if tags.insert(key.to_string(), value.to_string()).is_some() {
            return invalid(format!("Duplicate tag key '{key}' specified."));
        }
    }
    check_count(&tags)?;
    Ok(tags)
}

/// `TagSpecification.1.ResourceType=…`, by resource type.
pub(super) fn read_specifications(params: &Params, known: &[&str]) -> Result<BTreeMap<String, Tags>, AwsError> {
    let mut all = BTreeMap::new();
    for specification in params.list("TagSpecification") {
        let kind = specification.required("ResourceType")?;
        if !known.contains(&kind) {
            let message = format!("'{kind}' is not a valid taggable resource type for this operation.");
            return Err(AwsError::bad("InvalidParameterValue", message));
        }
        all.insert(kind.to_string(), read_tags(specification)?);
    }
    Ok(all)
}

fn check_count(tags: &Tags) -> Result<(), AwsError> {
    // AWS's own tags are not counted.
    let own = tags.keys().filter(|key| !key.starts_with("aws:")).count();
    if own > LIMIT { Err(AwsError::bad("TagLimitExceeded", format!("More than {LIMIT} tags specified"))) } else { Ok(()) }
}

/// With tags in the instance metadata, a key becomes a path there: other characters make the launch, or the tagging, fail.
pub(super) fn check_for_metadata(tags: &Tags) -> Result<(), AwsError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-=._:,@".contains(&byte);
    let reserved = |key: &str| matches!(key, "." | ".." | "_index");
    match tags.keys().find(|key| !key.bytes().all(allowed) || reserved(key)) {
        None => Ok(()),
        Some(key) => Err(AwsError::bad(
            "InvalidParameterValue",
            format!(
                "'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), and must not be a reserved name \
                 ('.', '..', '_index')"
            ),
        )),
    }
}

/// `<tagSet>`.
pub(super) fn tag_set(tags: &Tags) -> Node {
    list("tagSet", "item", tags.iter().map(|(key, value)| vec![leaf("key", key), leaf("value", value)]))
}

/// `CreateTags`.
pub(super) fn create(call: &mut Call<'_>) -> Answer {
    call.params.only("CreateTags", &["ResourceId", "Tag"])?;
    let tags = read_tags(call.params)?;
    let ids = resources(call)?;
    let ec2 = &mut call.state.ec2;
    for id in &ids {
        let mut after = ec2.tags_of(id).clone();
        after.extend(tags.clone());
        check_count(&after)?;
        if ec2.instances.get(id).is_some_and(|instance| instance.request.metadata.tags) {
            check_for_metadata(&tags)?;
        }
    }
    for id in ids {
        ec2.tags.entry(id.clone()).or_default().extend(tags.clone());
        call.host.tagged(&id, ec2.tags_of(&id), call.wall);
    }
    Ok(super::done())
}

/// `DeleteTags`: a value given must match; no tags at all means every tag of the caller's.
pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    call.params.only("DeleteTags", &["ResourceId", "Tag"])?;
    let ids = resources(call)?;
    let named: Vec<(&str, Option<&str>)> =
        call.params.list("Tag").into_iter().map(|tag| Ok((tag.required("Key")?, tag.get("Value")))).collect::<Result<_, AwsError>>()?;
    for id in ids {
        let tags = call.state.ec2.tags.entry(id).or_default();
        if named.is_empty() {
            tags.retain(|key, _| key.starts_with("aws:"));
        }
        for (key, value) in &named {
            if value.is_none_or(|value| tags.get(*key).is_some_and(|now| now == value)) {
                tags.remove(*key);
            }
        }
    }
    Ok(super::done())
}

/// The resources a call names; all must exist.
fn resources(call: &Call<'_>) -> Result<Vec<String>, AwsError> {
    let ids = call.params.texts("ResourceId");
    if ids.is_empty() {
        return Err(AwsError::bad("MissingParameter", "The request must contain the parameter resourceIdSet"));
    }
    for id in &ids {
        let (kind, code) = kind_of(id).ok_or_else(|| AwsError::bad("InvalidID", format!("The ID '{id}' is not valid")))?;
        if !exists(&call.state.ec2, id) {
            return Err(AwsError::bad(code, format!("The {kind} ID '{id}' does not exist")));
        }
    }
    Ok(ids.into_iter().map(str::to_string).collect())
}

/// Resource type and the code for "there is none".
fn kind_of(id: &str) -> Option<(&'static str, &'static str)> {
    Some(match id.split_once('-')?.0 {
        "i" => ("instance", "InvalidInstanceID.NotFound"),
        "ami" => ("image", "InvalidAMIID.NotFound"),
        "snap" => ("snapshot", "InvalidSnapshot.NotFound"),
        "lt" => ("launch-template", "InvalidLaunchTemplateId.NotFound"),
        "subnet" => ("subnet", "InvalidSubnetID.NotFound"),
        "sg" => ("security-group", "InvalidGroup.NotFound"),
        "vpc" => ("vpc", "InvalidVpcID.NotFound"),
        _ => return None,
    })
}

fn exists(ec2: &Ec2, id: &str) -> bool {
    ec2.instances.contains_key(id)
        || ec2.images.contains_key(id)
        || ec2.snapshots.contains_key(id)
        || ec2.templates.contains_key(id)
        || ec2.network.subnet(id).is_some()
        || ec2.network.vpc == id
        || ec2.network.security_groups.iter().any(|group| group == id)
}

/// `DescribeTags`.
pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    call.params.only("DescribeTags", &["Filter", "MaxResults", "NextToken"])?;
    let filters = Filters::read(call.params, &["resource-id", "resource-type", "key", "value"])?;
    let mut rows = Vec::new();
    for (id, tags) in &call.state.ec2.tags {
        let Some((kind, _)) = kind_of(id) else { continue };
        for (key, value) in tags {
            let facts = |name: &str| match name {
                "resource-id" => vec![id.clone()],
                "resource-type" => vec![kind.to_string()],
                "key" => vec![key.clone()],
                _ => vec![value.clone()],
            };
            if filters.admit(tags, facts) {
                let fields = vec![leaf("resourceId", id), leaf("resourceType", kind), leaf("key", key), leaf("value", value)];
                rows.push((format!("{id} {key}"), fields));
            }
        }
    }
    let (page, next) = super::filters::page(call.params, rows, 5, 1000)?;
    Ok(branch("tags", std::iter::once(list("tagSet", "item", page)).chain(next)))
}
