//! What is left of boxes whose instance is gone (their time was up, or somebody ended it) is removed by whoever comes by: each under its
//! own lock, and only if nobody else is at work on it.

use super::boxes::Boxes;
use crate::cli::operate::{Preview, operate};
use crate::lock;
use crate::model::{BoxName, LockState, ReviewBox, World};
use crate::observe;
use crate::plan;

/// The same for all boxes but this one. That it fails is no failure of what was asked for.
pub async fn others(boxes: &Boxes<'_>, but: &BoxName) {
    match observe::leftovers(&boxes.access.aws, &boxes.access.environment).await {
        Ok(found) => drop(leftovers(boxes, &found.into_iter().filter(|found| found.name != *but).collect::<Vec<_>>()).await),
        Err(error) => tracing::debug!(%error, "leftovers of boxes are not looked for"),
    }
}

/// Removes what is left, and answers whose.
pub async fn leftovers(boxes: &Boxes<'_>, all: &[ReviewBox]) -> Vec<BoxName> {
    let mut swept = Vec::new();
    for left in all.iter().filter(|found| found.instance.is_none()) {
        let (global, name) = (boxes.global, &left.name);
        match lock::read(&boxes.access.aws.dynamodb, &boxes.scope(name)).await.map(|view| view.lock) {
            Ok(Some(lock)) if lock.state == LockState::Held => {
                global.report.say(format!("{name}: {} is at work on it ({})", lock.who, lock.doing));
                continue;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, %name, "its lock cannot be read");
                continue;
            }
        }
        global.report.say(format!("{name}: its instance is gone; what is left of it is removed"));
        let plan = |world: &World| Ok(plan::sweep_box(name, world));
        let preview = Preview { plan: false, exit_code: false };
        let work = boxes.work("sweep", name, format!("adstage review delete {name}"), &plan, preview);
        match operate(&work, &boxes.access, global).await {
            Ok(_) => swept.push(name.clone()),
            Err(failure) => global.report.say(format!("{name}: {}; the next one tries again", failure.what)),
        }
    }
    swept
}
