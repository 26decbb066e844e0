//! The image is marked: every service came up on an instance booted from it. Undo: marked failed.

use super::capture_image::image;
use super::error::During;
use super::{Cx, Done, StepError, Undone};
use crate::aws::Tags;
use crate::model::{ImageId, tag};

/// Characters in the value of a tag.
const LONGEST: usize = 256;

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

/// The proof went wrong, so.
pub(super) async fn failed(cx: &Cx, name: &str, why: &StepError) -> Result<(), StepError> {
    let Some(id) = ours(cx, name).await? else { return Ok(()) };
    let console = why.evidence.iter().map(|line| line.trim_start_matches("| ")).collect::<Vec<_>>().join(" | ");
    let told = [
        (tag::VERIFIED, "failed".to_string()),
        (tag::FAILED, cx.clock.wall().to_string()),
        (tag::FAILURE, why.what.chars().take(LONGEST).collect()),
        (tag::CONSOLE, end_of(&console)),
    ];
    let tags: Tags = told.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    cx.aws.ec2.create_tags(std::slice::from_ref(&id.0), &tags).await.during(&format!("mark image {id} failed"))
}

/// As much of the end of a text as a tag takes.
fn end_of(text: &str) -> String {
    text.chars().skip(text.chars().count().saturating_sub(LONGEST)).collect()
}

async fn mark(cx: &Cx, id: &ImageId, verdict: &str) -> Result<(), StepError> {
    let tags = Tags::from([(tag::VERIFIED.to_string(), verdict.to_string())]);
    cx.aws.ec2.create_tags(std::slice::from_ref(&id.0), &tags).await.during(&format!("mark image {id}"))
}
