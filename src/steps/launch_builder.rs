//! The builder: one instance from the base image that provisions itself. It has a fuse and ends by itself if nobody comes back.

use std::collections::BTreeMap;

use super::bake_machine::{Launch, Machine};
use super::{Cx, Done, StepError, Undone};
use crate::aws::Tags;
use crate::model::Builder;
use crate::plan::builder_script;

pub(super) async fn run(cx: &Cx, bake: &str, builder: &Builder, commits: &BTreeMap<String, String>) -> Done {
    let told = |error: crate::model::UserDataError| StepError::new("the builder cannot be told what to do").because(error.to_string());
    let user_data = builder_script(builder, commits).map_err(told)?;
    let launch = Launch { image: &builder.base, instance_type: &builder.instance_type, user_data, tags: Tags::new() };
    let id = Machine::builder(bake).launch(cx, launch).await?;
    Ok(format!("builder {id}"))
}

pub(super) async fn undo(cx: &Cx, bake: &str) -> Undone {
    Machine::builder(bake).terminate(cx).await
}
