//! What is done with images that are there: those nobody needs are removed, one is copied to another Region or shared with another account.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Environment, Image, ImageId, ImageState, OperationKind, Provenance, Seconds, World};

use super::refusal::Reasons;
use super::{Plan, Refusal, Stage, StageName, Step};

/// Which images are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneRequest {
    /// How many verified ones stay, the newest first.
    pub keep: usize,
    /// A day ago, RFC 3339: what failed since then stays, so that its console can be read, and what was begun since then may be at work.
    pub day_ago: String,
}

/// A copy takes as long as it takes; AWS gives up after a day.
const COPIED_WITHIN: Seconds = Seconds(24 * 3_600);

/// The plan that removes every image nobody needs, those that failed first.
pub fn prune(world: &World, request: &PruneRequest) -> Plan {
    let newest: BTreeSet<&ImageId> = good(world).take(request.keep).map(|image| &image.id).collect();
    let mut notes = Vec::new();
    let mut doomed = Vec::new();
    for image in world.images.iter().rev() {
        match needed(world, request, image) {
            Some(why) => notes.push(format!("{} stays: {why}", image.name)),
            None if newest.contains(&image.id) => {}
            None => doomed.push(image),
        }
    }
    if !newest.is_empty() {
        notes.push(format!("the newest {} verified stay", newest.len()));
    }
    let (failed, old): (Vec<&Image>, Vec<&Image>) = doomed.into_iter().partition(|image| image.provenance != Provenance::Verified);
    let stage = |images: Vec<&Image>| {
        let delete = |image: &Image| Step::DeleteImage { image: image.id.clone(), name: image.name.clone() };
        let steps: Vec<Step> = images.into_iter().map(delete).collect();
        (!steps.is_empty()).then_some(Stage { name: StageName::Remove, steps })
    };
    plan(notes, stage(failed).into_iter().chain(stage(old)).collect())
}

/// Verified, and no release of it is bad; newest first.
fn good(world: &World) -> impl Iterator<Item = &Image> {
    let bad = |image: &Image| world.uses.iter().any(|used| used.image == image.id && used.bad().is_some());
    let fit = |image: &&Image| image.state == ImageState::Available && image.provenance == Provenance::Verified;
    world.images.iter().filter(fit).filter(move |image| !bad(image))
}

/// Why an image must stay, whatever its age.
fn needed(world: &World, request: &PruneRequest, image: &Image) -> Option<String> {
    let uses = || world.uses.iter().filter(|used| used.image == image.id);
    let place = |how: &str, used: &crate::model::ImageUse| format!("{how} {} ({})", used.environment, used.release);
    let live = uses().find(|used| used.live).map(|used| place("live in", used));
    let warm = || uses().find(|used| used.warm).map(|used| place("warm in", used));
    let last = || uses().find(|used| used.last_good).map(|used| place("the last good one of", used));
    let referred = || world.references.get(&image.id)?.first().map(|arn| format!("{arn} refers to it"));
    let young = || match (image.state, image.provenance) {
        (ImageState::Pending, _) => Some("it is being captured".to_string()),
        (_, Provenance::Failed) => {
            let failed = image.origin.failed.as_ref().map_or(&image.created, |failed| &failed.at);
            (*failed > request.day_ago).then(|| "it failed its proof less than a day ago".to_string())
        }
        (_, Provenance::Unproved) => (image.created > request.day_ago).then(|| "it is less than a day old and not proved".to_string()),
        _ => None,
    };
    live.or_else(warm).or_else(last).or_else(referred).or_else(young)
}

/// The plan that copies an image to another Region, or every reason why there must not be one.
pub fn copy_image(environment: &Environment, images: &[Image], wanted: &Image, region: &str) -> Result<Plan, Refusal> {
    let image = still(images, wanted).map_err(|gone| gone.refusal(format!("cannot copy {} to {region}", wanted.name)))?;
    let mut reasons = Reasons::default();
    fit(environment, image, &mut reasons);
    if region == environment.region {
        reasons.add(format!("it is in {region} already"), "");
    }
    reasons.verdict(format!("cannot copy {} to {region}", image.name))?;
    let (name, region) = (image.name.clone(), region.to_string());
    let copy = Step::CopyImage { image: image.id.clone(), name, region, within: COPIED_WITHIN };
    Ok(plan(unproved(image), vec![Stage { name: StageName::Share, steps: vec![copy] }]))
}

/// The plan that lets another account launch and copy an image, or every reason why there must not be one.
pub fn share_image(environment: &Environment, images: &[Image], wanted: &Image, account: &str) -> Result<Plan, Refusal> {
    let image = still(images, wanted).map_err(|gone| gone.refusal(format!("cannot share {} with {account}", wanted.name)))?;
    let mut reasons = Reasons::default();
    fit(environment, image, &mut reasons);
    if account == environment.account {
        reasons.add(format!("account {account} owns it"), "");
    }
    reasons.verdict(format!("cannot share {} with {account}", image.name))?;
    let share = Step::ShareImage { image: image.id.clone(), name: image.name.clone(), account: account.to_string() };
    Ok(plan(unproved(image), vec![Stage { name: StageName::Share, steps: vec![share] }]))
}

/// An image of the app in another account, which shares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The image over there.
    pub image: Image,
    /// The account.
    pub owner: String,
    /// The Region.
    pub region: String,
    /// What is written on it.
    pub tags: BTreeMap<String, String>,
}

/// The plan that makes this environment's account have its own copy, or every reason why there must not be one. `images`: those that are
/// here.
pub fn fetch_image(environment: &Environment, images: &[Image], shared: &Shared) -> Result<Plan, Refusal> {
    let (image, account) = (&shared.image, &environment.account);
    let mut reasons = Reasons::default();
    fit(environment, image, &mut reasons);
    let here = images.iter().find(|other| other.name == image.name);
    if let Some(other) = here.filter(|other| other.app.as_deref() != Some(environment.app.as_str())) {
        reasons.add(format!("{} is called so in account {account} already, and no image of {}", other.id, environment.app), "");
    }
    reasons.verdict(format!("cannot copy {} to account {account}", image.name))?;
    let mut notes = unproved(image);
    if here.is_some_and(|here| here.state == ImageState::Available) {
        notes.push(format!("account {account} has it already"));
        return Ok(plan(notes, Vec::new()));
    }
    notes.push(format!("account {} lets account {account} copy it", shared.owner));
    let Shared { image, owner, region, tags } = shared.clone();
    let fetch = Step::FetchImage { image: image.id, owner, region, name: image.name, tags, within: COPIED_WITHIN };
    Ok(plan(notes, vec![Stage { name: StageName::Share, steps: vec![fetch] }]))
}

/// The image as it is under the lock: somebody may have removed it since it was named.
fn still<'i>(images: &'i [Image], wanted: &Image) -> Result<&'i Image, Reasons> {
    let mut gone = Reasons::default();
    gone.add(format!("{} was removed meanwhile", wanted.id), "adstage image list");
    images.iter().find(|image| image.id == wanted.id).ok_or(gone)
}

fn fit(environment: &Environment, image: &Image, reasons: &mut Reasons) {
    if image.app.as_deref() != Some(environment.app.as_str()) {
        reasons.add(format!("it is no image of {}", environment.app), "adstage image list");
    }
    if image.state != ImageState::Available {
        reasons.add("it is not available", "adstage image list");
    }
}

fn unproved(image: &Image) -> Vec<String> {
    let note = || format!("{} is not verified: it cannot be deployed there either", image.name);
    (image.provenance != Provenance::Verified).then(note).into_iter().collect()
}

fn plan(notes: Vec<String>, stages: Vec<Stage>) -> Plan {
    let none = BTreeMap::new;
    let kind = OperationKind::Images;
    Plan { kind, release: None, previous: None, new_release: false, divided: false, before: none(), serving: none(), notes, stages }
}
