//! The stopped builder becomes an image, and it is waited for. Its name is a hash of what it is made from, so a repeat adopts it.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use super::bake_machine::Machine;
use super::error::During;
use super::wait::{ended, failed, settled};
use super::{Cx, Done, StepError, Undone};
use crate::aws::{ErrorKind, Tags};
use crate::health::{Look, Waiting};
use crate::model::{Image, ImageState, Seconds, tag};

/// Reads are not monotonic: once `available` may be followed by `pending`. This many in a row are believed.
const SURE: u32 = 2;

pub(super) async fn run(cx: &Cx, bake: &str, name: &str, commits: &BTreeMap<String, String>, within: Seconds) -> Done {
    match image(cx, name).await? {
        Some((_, tags)) if !ours(cx, bake, &tags) => return Err(StepError::foreign(&format!("image {name}"))),
        Some(_) => {}
        None => create(cx, bake, name, commits).await?,
    }
    let seen = Mutex::new(0);
    let look = || async {
        let mut seen = seen.lock().await;
        let found = match cx.aws.ec2.image_named(name).await {
            Ok(found) => found,
            Err(error) => return failed(error, &format!("look for image {name}")),
        };
        match found {
            Some((_, tags)) if !ours(cx, bake, &tags) => Look::Failed(StepError::foreign(&format!("image {name}"))),
            Some((image, _)) if image.state == ImageState::Unusable => {
                Look::Failed(StepError::new(format!("image {name} ({}) could not be captured", image.id)))
            }
            Some((image, _)) if image.state == ImageState::Available => {
                *seen += 1;
                if *seen >= SURE { Look::Done(image.id) } else { Look::Waiting(Waiting::new(format!("image {name} looks available"))) }
            }
            _ => {
                *seen = 0;
                Look::Waiting(Waiting::new(format!("image {name} is being captured")))
            }
        }
    };
    let id = cx.wait(within.duration(), look).await;
    let id = id.map_err(|stop| ended(stop, || format!("image {name} was not available within {within}")))?;
    Ok(format!("image {name} ({id})"))
}

async fn create(cx: &Cx, bake: &str, name: &str, commits: &BTreeMap<String, String>) -> Result<(), StepError> {
    let builder = Machine::builder(bake).living(cx).await.during("look for the builder")?;
    let builder = builder.ok_or_else(|| StepError::new(format!("there is no builder {bake} to capture")))?;
    let mut tags = cx.tags();
    // An image belongs to the app; every environment may run it.
    tags.remove(tag::ENV);
    tags.insert(tag::BAKE.into(), bake.to_string());
    tags.insert(tag::FROM.into(), "base".into());
    tags.extend(commits.iter().map(|(repository, commit)| (format!("{}{repository}", tag::REF_PREFIX), commit.clone())));
    match cx.aws.ec2.create_image(&builder.id, name, &tags).await {
        // Our own call whose reply was lost, or somebody else's image: the next look tells.
        Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop).during(&format!("capture builder {} as {name}", builder.id)),
    }
}

/// Removes the image only if this operation made it: one that was there before may be what a release runs on.
pub(super) async fn undo(cx: &Cx, bake: &str, name: &str) -> Undone {
    let found = settled(cx, &format!("image {name}"), || cx.aws.ec2.image_named(name)).await?;
    let made_here = |tags: &Tags| ours(cx, bake, tags) && tags.get(tag::OPERATION) == Some(&cx.operation.0);
    match found.filter(|(_, tags)| made_here(tags)) {
        Some((image, _)) => cx.aws.ec2.deregister_image(&image.id).await.during(&format!("deregister image {name}")),
        None => Ok(()),
    }
}

/// This account's image of that name.
pub(super) async fn image(cx: &Cx, name: &str) -> Result<Option<(Image, Tags)>, StepError> {
    cx.aws.ec2.image_named(name).await.during(&format!("look for image {name}"))
}

fn ours(cx: &Cx, bake: &str, tags: &Tags) -> bool {
    let is = |key: &str, value: &str| tags.get(key).is_some_and(|found| found == value);
    is(tag::APP, cx.environment.app.as_str()) && is(tag::BAKE, bake)
}
