//! A review box's one instance. It ends by itself when its time is up, and its tags say everything of it.

use super::bake_machine::{Launch, Machine};
use super::tags::plain;
use super::{Cx, Done, Undone};
use crate::aws::Tags;
use crate::model::{BoxName, ServiceName, tag};
use crate::plan::BoxLaunch;

pub(super) async fn run(cx: &Cx, name: &BoxName, launch: &BoxLaunch) -> Done {
    let services: Vec<&str> = launch.services.iter().map(ServiceName::as_str).collect();
    let mut tags = Tags::from([(tag::SERVICES.to_string(), services.join(" ")), (tag::EXPIRES.to_string(), launch.expires.clone())]);
    tags.extend(launch.commits.iter().map(|(name, commit)| (format!("{}{name}", tag::REF_PREFIX), commit.clone())));
    tags.extend(launch.asked.iter().map(|(name, asked)| (format!("{}{name}", tag::ASKED_PREFIX), plain(asked))));
    let machine = Launch { image: &launch.image.0, instance_type: &launch.instance_type, user_data: launch.user_data.clone(), tags };
    let id = Machine::review(name).launch(cx, machine).await?;
    Ok(format!("box {name} is {id}"))
}

pub(super) async fn undo(cx: &Cx, name: &BoxName) -> Undone {
    Machine::review(name).terminate(cx).await
}
