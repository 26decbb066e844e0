//! A review box becomes an image. AWS restarts it for that, so that its disk is still while it is captured; then it is awaited.

use std::collections::BTreeMap;

use super::capture_image::{self, Shot};
use super::error::During;
use super::{Cx, Done, StepError, Undone};
use crate::aws::InstanceState;
use crate::model::{BoxName, tag};
use crate::plan::Step;

pub(super) async fn run(cx: &Cx, step: &Step) -> Done {
    let Step::CaptureBox { bake, name, of, instance, tags, within } = step else {
        return Err(StepError::new("this step does not capture a box"));
    };
    let shot = Shot { bake, name, tags: told(cx, tags), within: *within };
    let done = capture_image::take(cx, &shot, || running(cx, of, instance)).await?;
    Ok(format!("{done} from box {of}"))
}

fn told(cx: &Cx, tags: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = cx.tags();
    all.extend(tags.clone());
    all
}

/// The box must still be the machine that was looked into.
async fn running(cx: &Cx, of: &BoxName, instance: &str) -> Result<String, StepError> {
    let found = cx.aws.ec2.instances_by_id(&[instance.to_string()]).await.during(&format!("look for box {of}"))?;
    let ours = |tags: &BTreeMap<String, String>| {
        tags.get(tag::BOX).is_some_and(|name| name == of.as_str())
            && tags.get(tag::APP).is_some_and(|app| app == cx.environment.app.as_str())
    };
    let living =
        found.into_iter().find(|found| matches!(found.state, InstanceState::Running | InstanceState::Stopped) && ours(&found.tags));
    living.map(|found| found.id).ok_or_else(|| StepError::new(format!("box {of} ({instance}) does not run any more")))
}

pub(super) async fn undo(cx: &Cx, bake: &str, name: &str) -> Undone {
    capture_image::undo(cx, bake, name).await
}
