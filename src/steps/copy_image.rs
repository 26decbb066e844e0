//! An image is copied to another Region, under the same name, and the copy is waited for. A repeat adopts what the first one began.

use super::capture_image::{Pictured, available};
use super::error::During;
use super::tags::token;
use super::wait::settled;
use super::{Cx, Done, StepError, Undone};
use crate::aws::{Aws, CopySpec, ErrorKind, Tags};
use crate::model::{ImageId, Seconds, tag};

pub(super) async fn run(cx: &Cx, image: &ImageId, name: &str, region: &str, within: Seconds) -> Done {
    let token = token(&[&image.0, name, region, &cx.operation.0]);
    let (from, tags) = (cx.environment.region.clone(), marks(cx));
    let spec = CopySpec { image: image.clone(), region: from, name: name.to_string(), image_tags: None, tags, token };
    made(cx, &cx.aws.in_region(region), region, spec, within).await
}

/// A copy in the Region that `there` is connected to.
pub(super) async fn made(cx: &Cx, there: &Aws, region: &str, spec: CopySpec, within: Seconds) -> Done {
    let name = &spec.name;
    let what = format!("image {name} in {region}");
    match there.ec2.image_named(name).await.during(&format!("look for {what}"))? {
        Some((_, tags)) if !ours(cx, &tags) => return Err(StepError::foreign(&what)),
        Some(_) => {}
        None => match there.ec2.copy_image(&spec).await {
            // Our own call whose reply was lost, or somebody else's image: the next look tells.
            Err(error) if error.kind == ErrorKind::AlreadyExists => {}
            made => drop(made.during(&format!("copy image {name} to {region}"))?),
        },
    }
    let pictured = Pictured { ec2: &there.ec2, name, verb: "copied", ours: &|tags| ours(cx, tags) };
    let id = available(cx, &pictured, within).await?;
    Ok(format!("{what} ({id})"))
}

/// Removes a copy that is not through: one that is, is what was asked for.
pub(super) async fn undo(cx: &Cx, name: &str, region: &str) -> Undone {
    let there = cx.aws.in_region(region);
    let found = settled(cx, &format!("image {name} in {region}"), || there.ec2.image_named(name)).await?;
    let unfinished = found.filter(|(image, tags)| ours(cx, tags) && image.state == crate::model::ImageState::Pending);
    match unfinished {
        Some((image, _)) => there.ec2.deregister_image(&image.id).await.during(&format!("remove the copy of {name} in {region}")),
        None => Ok(()),
    }
}

/// What belongs to the app is told by one tag.
pub(super) fn marks(cx: &Cx) -> Tags {
    let mut tags = cx.tags();
    tags.remove(tag::ENV);
    tags
}

fn ours(cx: &Cx, tags: &Tags) -> bool {
    tags.get(tag::APP).is_some_and(|app| app == cx.environment.app.as_str())
}
