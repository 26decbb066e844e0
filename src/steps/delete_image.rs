//! An image and its snapshots are removed, if nothing refers to it.

use super::error::During;
use super::{Cx, Done, StepError};
use crate::model::ImageId;

pub(super) async fn run(cx: &Cx, id: &ImageId, name: &str) -> Done {
    let gone = || format!("image {name} ({id}) is gone");
    let Some((image, _)) = cx.aws.ec2.image_named(name).await.during(&format!("look for image {name}"))? else { return Ok(gone()) };
    if image.id != *id {
        return Ok(gone());
    }
    if image.app.as_deref() != Some(cx.environment.app.as_str()) {
        return Err(StepError::foreign(&format!("image {name}")));
    }
    // Looked at again at the last moment: whatever was launched from it since would not heal without it.
    let references = cx.aws.ec2.image_references(std::slice::from_ref(id)).await.during(&format!("look for what uses image {name}"))?;
    if let Some(arn) = references.get(id).and_then(|arns| arns.first()) {
        return Err(StepError::new(format!("image {name} ({id}) is in use and stays")).because(format!("{arn} refers to it")));
    }
    cx.aws.ec2.deregister_image(id).await.during(&format!("deregister image {name}"))?;
    let left = cx.aws.ec2.delete_snapshots(&image.origin.snapshots).await.during(&format!("delete the snapshots of image {name}"))?;
    Ok(format!("{}, with {left} snapshots", gone()))
}
