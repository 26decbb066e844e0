//! The image is marked: every service came up on an instance booted from it. Undo: marked failed.

use super::capture_image::image;
use super::error::During;
use super::{Cx, Done, StepError, Undone};
use crate::aws::Tags;
use crate::model::{ImageId, tag};

pub(super) async fn run(cx: &Cx, name: &str) -> Done {
    let id = ours(cx, name).await?.ok_or_else(|| StepError::new(format!("there is no image {name} of this app")))?;
    mark(cx, &id, "true").await?;
    Ok(format!("image {name} ({id}) is verified"))
}

pub(super) async fn undo(cx: &Cx, name: &str) -> Undone {
    match ours(cx, name).await? {
        Some(id) => mark(cx, &id, "failed").await,
        None => Ok(()),
    }
}

async fn ours(cx: &Cx, name: &str) -> Result<Option<ImageId>, StepError> {
    let found = image(cx, name).await?;
    Ok(found.filter(|(image, _)| image.app.as_deref() == Some(cx.environment.app.as_str())).map(|(image, _)| image.id))
}

async fn mark(cx: &Cx, id: &ImageId, verdict: &str) -> Result<(), StepError> {
    let tags = Tags::from([(tag::VERIFIED.to_string(), verdict.to_string())]);
    cx.aws.ec2.create_tags(std::slice::from_ref(&id.0), &tags).await.during(&format!("mark image {id}"))
}
