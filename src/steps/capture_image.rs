//! A machine becomes an image, and it is waited for. The image's name is a hash of what it is made from, so a repeat adopts it.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use super::bake_machine::Machine;
use super::error::During;
use super::wait::{ended, failed, settled};
use super::{Cx, Done, StepError, Undone};
use crate::aws::{Ec2, ErrorKind, Tags};
use crate::health::{Look, Waiting};
use crate::model::{Image, ImageId, ImageState, Seconds, tag};

/// Reads are not monotonic: once `available` may be followed by `pending`. This many in a row are believed.
const SURE: u32 = 2;

/// An image to be captured.
pub(super) struct Shot<'a> {
    pub bake: &'a str,
    pub name: &'a str,
    pub tags: Tags,
    pub within: Seconds,
}

/// An image that is being made.
pub(super) struct Pictured<'a> {
    pub ec2: &'a Ec2,
    pub name: &'a str,
    /// What is done to it: `captured`.
    pub verb: &'a str,
    /// Whether these are the tags of what was asked for.
    pub ours: &'a (dyn Fn(&Tags) -> bool + Send + Sync),
}

pub(super) async fn run(cx: &Cx, bake: &str, name: &str, commits: &BTreeMap<String, String>, within: Seconds) -> Done {
    let mut tags = cx.tags();
    tags.insert(tag::FROM.into(), "base".into());
    tags.extend(commits.iter().map(|(repository, commit)| (format!("{}{repository}", tag::REF_PREFIX), commit.clone())));
    let builder = || async {
        let builder = Machine::builder(bake).living(cx).await.during("look for the builder")?;
        builder.map(|builder| builder.id).ok_or_else(|| StepError::new(format!("there is no builder {bake} to capture")))
    };
    take(cx, &Shot { bake, name, tags, within }, builder).await
}

/// Captures a machine, unless that was begun before, and waits for the image.
pub(super) async fn take<Found>(cx: &Cx, shot: &Shot<'_>, machine: impl Fn() -> Found) -> Done
where
    Found: Future<Output = Result<String, StepError>>,
{
    let Shot { bake, name, tags, within } = shot;
    match image(cx, name).await? {
        Some((_, found)) if !ours(cx, bake, &found) => return Err(StepError::foreign(&format!("image {name}"))),
        Some(_) => {}
        None => {
            let machine = machine().await?;
            let mut tags = tags.clone();
            // An image belongs to the app; every environment may run it.
            tags.remove(tag::ENV);
            tags.insert(tag::BAKE.into(), bake.to_string());
            match cx.aws.ec2.create_image(&machine, name, &tags).await {
                // Our own call whose reply was lost, or somebody else's image: the next look tells.
                Err(error) if error.kind == ErrorKind::AlreadyExists => {}
                made => drop(made.during(&format!("capture {machine} as {name}"))?),
            }
        }
    }
    let pictured = Pictured { ec2: &cx.aws.ec2, name, verb: "captured", ours: &|tags| ours(cx, bake, tags) };
    let id = available(cx, &pictured, *within).await?;
    Ok(format!("image {name} ({id})"))
}

/// Waits for an image that is being made, and tells how far its snapshots are.
pub(super) async fn available(cx: &Cx, pictured: &Pictured<'_>, within: Seconds) -> Result<ImageId, StepError> {
    let Pictured { ec2, name, verb, ours } = pictured;
    let seen = Mutex::new(0);
    let look = || async {
        let mut seen = seen.lock().await;
        let found = match ec2.image_named(name).await {
            Ok(found) => found,
            Err(error) => return failed(error, &format!("look for image {name}")),
        };
        match found {
            Some((_, tags)) if !ours(&tags) => Look::Failed(StepError::foreign(&format!("image {name}"))),
            Some((image, _)) if image.state == ImageState::Unusable => {
                Look::Failed(StepError::new(format!("image {name} ({}) could not be {verb}", image.id)))
            }
            Some((image, _)) if image.state == ImageState::Available => {
                *seen += 1;
                if *seen >= SURE { Look::Done(image.id) } else { Look::Waiting(Waiting::new(format!("image {name} looks available"))) }
            }
            found => {
                *seen = 0;
                let snapshots = found.map(|(image, _)| image.origin.snapshots).unwrap_or_default();
                Look::Waiting(Waiting::new(format!("image {name} is being {verb}{}", percent(ec2, &snapshots).await)))
            }
        }
    };
    let id = cx.wait(within.duration(), look).await;
    id.map_err(|stop| ended(stop, || format!("image {name} was not available within {within}")))
}

/// `, 43 %`; nothing if AWS does not say: it is only for people.
async fn percent(ec2: &Ec2, snapshots: &[String]) -> String {
    if snapshots.is_empty() {
        return String::new();
    }
    ec2.snapshot_progress(snapshots).await.ok().flatten().map(|percent| format!(", {percent} %")).unwrap_or_default()
}

/// Removes the image only if this operation made it: one that was there before may be what a release runs on.
pub(super) async fn undo(cx: &Cx, bake: &str, name: &str) -> Undone {
    let found = settled(cx, &format!("image {name}"), || cx.aws.ec2.image_named(name)).await?;
    // What failed its proof is kept for a day: somebody wants to know why.
    let told = |tags: &Tags| tags.contains_key(tag::FAILED);
    let made_here = |tags: &Tags| ours(cx, bake, tags) && tags.get(tag::OPERATION) == Some(&cx.operation.0) && !told(tags);
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
