//! Images beyond one account and Region: copies, permissions, and who refers to an image.

use std::collections::BTreeMap;
use std::time::Duration;

use super::filters::page;
use super::images::{self, Image, check_name, not_found, taken};
use super::snapshots::{self, Snapshot};
use super::tags::{Tags, read_specifications};
use crate::sandbox::door::Request;
use crate::sandbox::engine::{Answer, Call, Place, State};
use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf, list};

/// The image a `CopyImage` copies, as it is where it comes from.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Abroad {
    image: Image,
    tags: Tags,
}

/// What a token of `CopyImage` stands for.
#[derive(Debug, Clone)]
pub(super) struct Copied {
    asked: Params,
    image: String,
}

/// The source of a copy, if this is one and the caller may use it: the account's own in another Region, or one shared with it.
pub(in crate::sandbox) fn abroad(places: &BTreeMap<Place, State>, request: &Request) -> Option<Abroad> {
    let (id, region) = (request.params.get("SourceImageId")?, request.params.get("SourceRegion")?);
    let account = &request.place.account;
    let there = places.iter().filter(|(place, _)| place.region == region);
    let mut found = there.filter_map(|(place, state)| Some((place, state, state.ec2.images.get(id)?)));
    let (place, state, image) = found.find(|(place, _, image)| place.account == *account || image.users.contains(account))?;
    // What another account wrote on its image is its own business (*Copy an Amazon EC2 AMI*).
    let tags = if place.account == *account { state.ec2.tags_of(id).clone() } else { Tags::default() };
    Some(Abroad { image: image.clone(), tags })
}

/// `CopyImage`, in the Region it is copied to.
pub(super) fn copy(call: &mut Call<'_>) -> Answer {
    let known = ["SourceImageId", "SourceRegion", "Name", "Description", "ClientToken", "CopyImageTags", "TagSpecification"];
    call.params.only("CopyImage", &known)?;
    let (name, source) = (call.params.required("Name")?.to_string(), call.params.required("SourceImageId")?.to_string());
    check_name(&name)?;
    let token = call.params.get("ClientToken").map(str::to_string);
    if let Some(made) = token.as_ref().and_then(|token| call.state.ec2.copies.get(token)) {
        if made.asked != *call.params {
            let message = "The client token was used before with other parameters";
            return Err(AwsError::bad("IdempotentParameterMismatch", message));
        }
        return Ok(branch("made", [leaf("imageId", &made.image)]));
    }
    let abroad = call.abroad.cloned().ok_or_else(|| not_found(&source))?;
    if !abroad.image.is_available() {
        return Err(AwsError::bad("InvalidAMIID.Unavailable", format!("The image '{source}' is not available")));
    }
    taken(&call.state.ec2, &name)?;
    let mut tags = read_specifications(call.params, &["image", "snapshot"])?;
    let mut own = tags.remove("image").unwrap_or_default();
    if call.params.flag("CopyImageTags") == Some(true) {
        for (key, value) in abroad.tags {
            own.entry(key).or_insert(value);
        }
    }
    let (id, snapshot_id) = (call.state.id("ami-"), call.state.id("snap-"));
    let due = call.now + call.latencies.image_copied;
    let visible_at = call.state.sometime(call.now, call.latencies.visible);
    call.host.copy_image(&source, &id);
    let description = format!("Copied for DestinationAmi {id} from SourceAmi {source}");
    let snapshot = Snapshot::new(&snapshot_id, description, call.wall, (call.now, due), visible_at);
    let (owner, snapshot_of) = (call.state.place.account.clone(), snapshot_id.clone());
    let description = call.params.get("Description").unwrap_or_default().to_string();
    let image = images::Copy { id: id.clone(), name, description, owner, snapshot: snapshot_of };
    let image = Image::copied(image, call.wall, due, visible_at);
    let ec2 = &mut call.state.ec2;
    ec2.tags.insert(id.clone(), own);
    ec2.tags.insert(snapshot_id.clone(), tags.remove("snapshot").unwrap_or_default());
    ec2.images.insert(id.clone(), image);
    ec2.snapshots.insert(snapshot_id, snapshot);
    if let Some(token) = token {
        ec2.copies.insert(token, Copied { asked: call.params.clone(), image: id.clone() });
    }
    Ok(branch("made", [leaf("imageId", id)]))
}

fn own<'a>(images: &'a mut BTreeMap<String, Image>, id: &str, now: Duration) -> Result<&'a mut Image, AwsError> {
    let image = images.get_mut(id).filter(|image| now >= image.visible_at).ok_or_else(|| not_found(id))?;
    match image.is_own() {
        true => Ok(image),
        false => Err(AwsError::with_status(403, "AuthFailure", format!("Not authorized for image:{id}"))),
    }
}

/// The accounts that a change of permissions names.
fn accounts(changes: &Params, which: &str) -> Result<Vec<String>, AwsError> {
    let account = |one: &&Params| one.required("UserId").map(str::to_string);
    let all: Vec<String> = changes.list(which).iter().map(account).collect::<Result<_, _>>()?;
    match all.iter().find(|account| account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(odd) => Err(AwsError::bad("InvalidUserID.Malformed", format!("Invalid user id: \"{odd}\""))),
        None => Ok(all),
    }
}

/// `ModifyImageAttribute`: who may launch it.
pub(super) fn modify_image(call: &mut Call<'_>) -> Answer {
    call.params.only("ModifyImageAttribute", &["ImageId", "LaunchPermission"])?;
    let changes = call.params.child("LaunchPermission");
    let (add, remove) = (accounts(changes, "Add")?, accounts(changes, "Remove")?);
    let image = own(&mut call.state.ec2.images, call.params.required("ImageId")?, call.now)?;
    image.users.extend(add);
    image.users.retain(|account| !remove.contains(account));
    Ok(super::done())
}

/// `DescribeImageAttribute`: who may launch it.
pub(super) fn describe_image(call: &mut Call<'_>) -> Answer {
    call.params.only("DescribeImageAttribute", &["ImageId", "Attribute"])?;
    let attribute = call.params.required("Attribute")?;
    if attribute != "launchPermission" {
        return Err(AwsError::unsupported(format!("the image attribute {attribute}")));
    }
    let id = call.params.required("ImageId")?.to_string();
    let image = own(&mut call.state.ec2.images, &id, call.now)?;
    let users = image.users.iter().map(|account| vec![leaf("userId", account)]);
    Ok(branch("attribute", [leaf("imageId", id), list("launchPermission", "item", users)]))
}

/// `ModifySnapshotAttribute`: who may make volumes of it.
pub(super) fn modify_snapshot(call: &mut Call<'_>) -> Answer {
    call.params.only("ModifySnapshotAttribute", &["SnapshotId", "Attribute", "CreateVolumePermission", "OperationType", "UserId"])?;
    let changes = call.params.child("CreateVolumePermission");
    let (add, remove) = (accounts(changes, "Add")?, accounts(changes, "Remove")?);
    let id = call.params.required("SnapshotId")?;
    let snapshot = call.state.ec2.snapshots.get_mut(id).ok_or_else(|| snapshots::not_found(id))?;
    snapshot.users.extend(add);
    snapshot.users.retain(|account| !remove.contains(account));
    Ok(super::done())
}

/// `DescribeImageReferences`: instances in any state, and launch templates by their newest versions.
pub(super) fn references(call: &mut Call<'_>) -> Answer {
    call.params.only("DescribeImageReferences", &["ImageId", "IncludeAllResourceTypes", "ResourceType", "MaxResults", "NextToken"])?;
    let kinds = call.params.list("ResourceType");
    let all = call.params.flag("IncludeAllResourceTypes") == Some(true);
    if kinds.is_empty() && !all {
        return Err(AwsError::bad("MissingParameter", "Either IncludeAllResourceTypes or ResourceTypes must be specified"));
    }
    let of = |kind: &str| kinds.iter().find(|asked| asked.get("ResourceType") == Some(kind)).copied();
    let depth = of("ec2:LaunchTemplate").and_then(|kind| kind.list("ResourceTypeOption").first().map(|option| option.texts("OptionValue")));
    let depth = depth.and_then(|values| values.first()?.parse().ok()).unwrap_or(10);
    let asked = call.params.texts("ImageId");
    let place = &call.state.place;
    let arn = |kind: &str, id: &str| format!("arn:aws:ec2:{}:{}:{kind}/{id}", place.region, place.account);
    let mut rows: Vec<(String, Vec<Node>)> = Vec::new();
    let mut add = |image: &str, kind: &str, arn: String| {
        let fields = vec![leaf("imageId", image), leaf("resourceType", kind), leaf("arn", &arn)];
        rows.push((format!("{image} {arn}"), fields));
    };
    if all || of("ec2:Instance").is_some() {
        let used = call.state.ec2.instances.values().filter(|instance| asked.contains(&instance.request.image.as_str()));
        used.for_each(|instance| add(&instance.request.image, "ec2:Instance", arn("instance", &instance.id)));
    }
    if all || of("ec2:LaunchTemplate").is_some() {
        for template in call.state.ec2.templates.values() {
            let images = template.images(depth);
            let used = asked.iter().filter(|image| images.contains(**image));
            used.for_each(|image| add(image, "ec2:LaunchTemplate", arn("launch-template", &template.id)));
        }
    }
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    let (page, next) = page(call.params, rows, 1, 1000)?;
    Ok(branch("found", std::iter::once(list("imageReferenceSet", "item", page)).chain(next)))
}
