//! This account's own copy of an image that another account shares, with what is written on it over there. A repeat adopts what the first
//! one began.

use super::copy_image::{self, marks};
use super::tags::token;
use super::{Cx, Done, StepError, Undone};
use crate::aws::CopySpec;
use crate::plan::Step;

pub(super) async fn run(cx: &Cx, step: &Step) -> Done {
    let Step::FetchImage { image, owner, region, name, tags, within } = step else {
        return Err(StepError::new("this step does not copy another account's image"));
    };
    let token = token(&[&image.0, name, owner, &cx.operation.0]);
    let (image_tags, from) = (Some(tags.clone()), region.clone());
    let spec = CopySpec { image: image.clone(), region: from, name: name.clone(), image_tags, tags: marks(cx), token };
    copy_image::made(cx, &cx.aws, &cx.environment.region, spec, *within).await
}

/// As for any copy.
pub(super) async fn undo(cx: &Cx, name: &str) -> Undone {
    copy_image::undo(cx, name, &cx.environment.region).await
}
