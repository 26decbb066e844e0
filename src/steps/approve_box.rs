//! Somebody found a review box good: who, when, and at which commits is written on it.

use super::tags::plain;
use super::{Cx, Done, extend_box};
use crate::model::{Approval, BoxName, tag};

pub(super) async fn run(cx: &Cx, name: &BoxName, approval: &Approval) -> Done {
    extend_box::write(cx, name, tag::APPROVED, &plain(&approval.tag())).await?;
    Ok(format!("{name} is approved by {}", approval.who))
}
