//! A review box lives until another moment: its agent reads the tag again and again.

use super::bake_machine::Machine;
use super::error::During;
use super::{Cx, Done, StepError, Undone};
use crate::aws::Tags;
use crate::model::{BoxName, tag};

pub(super) async fn run(cx: &Cx, name: &BoxName, until: &str) -> Done {
    write(cx, name, tag::EXPIRES, until).await?;
    Ok(format!("{name} lives until {until}"))
}

/// One tag of a living box.
pub(super) async fn write(cx: &Cx, name: &BoxName, key: &str, value: &str) -> Result<(), StepError> {
    let machine = Machine::review(name);
    let living = machine.living(cx).await.during(&format!("look for {}", machine.name()))?;
    let instance = living.ok_or_else(|| StepError::new(format!("there is no {} any more", machine.name())))?;
    let tags = Tags::from([(key.to_string(), value.to_string())]);
    cx.aws.ec2.create_tags(&[instance.id], &tags).await.during(&format!("tag {}", machine.name()))
}

pub(super) async fn undo(cx: &Cx, name: &BoxName, from: &str) -> Undone {
    write(cx, name, tag::EXPIRES, from).await
}
