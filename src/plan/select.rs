//! Which image a deploy takes, and what must be true of it.
//!
//! An environment that asks for its name takes no image unseen: unless one is named, the newest proved image must have served in some
//! other environment of the app first.

use crate::model::{Confirm, Environment, EnvironmentName, Found, Image, ImageState, ImageUse, Provenance, World};

use super::DeployRequest;
use super::refusal::Reasons;

const BAKE: &str = "adstage image bake --from-base";
const LIST: &str = "adstage image list";

/// What the app's other environments know about images.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Elsewhere {
    /// The other environments.
    pub environments: Vec<Neighbour>,
    /// What they have done with images, by their records.
    pub uses: Vec<ImageUse>,
}

/// Another environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Name.
    pub name: EnvironmentName,
    /// Its account.
    pub account: String,
    /// Its Region.
    pub region: String,
    /// Why its records could not be read, if so.
    pub silent: Option<String>,
}

/// The image named by id or name, or the newest that is proved. `None`: the reasons have been given.
pub(super) fn image<'a>(environment: &Environment, world: &'a World, request: &DeployRequest, reasons: &mut Reasons) -> Option<&'a Image> {
    let Some(word) = request.image.as_deref() else { return newest(environment, world, request, reasons) };
    let image = match Image::named(&world.images, word) {
        Found::One(image) => image,
        Found::Several(several) => {
            let names: Vec<_> = several.iter().map(|image| image.name.as_str()).collect();
            reasons.add(format!("`{word}` may be any of {}", names.join(", ")), LIST);
            return None;
        }
        Found::None => {
            missing(environment, word, &request.elsewhere, reasons);
            return None;
        }
    };
    match flaw(environment, image, &request.elsewhere) {
        Some(flaw) if request.force && flaw.forced => {}
        Some(flaw) => {
            reasons.add(flaw.what, flaw.next);
            if flaw.forced {
                reasons.offer(format!("adstage deploy {} --image {word} --force", environment.name));
            }
        }
        None => {}
    }
    Some(image)
}

/// The same for a review box: nothing gets over what speaks against an image.
pub(super) fn for_box<'a>(environment: &Environment, world: &'a World, named: Option<&str>, reasons: &mut Reasons) -> Option<&'a Image> {
    let request = DeployRequest { image: named.map(str::to_string), force: true, ..DeployRequest::default() };
    let image = image(environment, world, &request, reasons)?;
    if let Some(flaw) = flaw(environment, image, &request.elsewhere).filter(|flaw| flaw.forced) {
        reasons.add(flaw.what, flaw.next);
    }
    Some(image)
}

/// What is wrong with an image that is taken all the same.
pub(super) fn warning(environment: &Environment, image: &Image, elsewhere: &Elsewhere) -> Option<String> {
    flaw(environment, image, elsewhere).map(|flaw| format!("{}: forced", flaw.what))
}

/// The newest image nothing speaks against.
fn newest<'a>(environment: &Environment, world: &'a World, request: &DeployRequest, reasons: &mut Reasons) -> Option<&'a Image> {
    let elsewhere = &request.elsewhere;
    let Some(image) = world.images.iter().find(|image| flaw(environment, image, elsewhere).is_none()) else {
        let other = world.images.iter().find_map(|image| flaw(environment, image, elsewhere));
        match other {
            Some(Flaw { what, next, .. }) => reasons.add(what, next),
            None => nothing(environment, elsewhere, reasons),
        }
        return None;
    };
    if environment.confirm == Confirm::Name && !elsewhere.environments.is_empty() && !has_served(world, image, elsewhere) {
        unseen(environment, image, elsewhere, reasons);
    }
    Some(image)
}

/// Visitors of this environment, or of another one, depended on it. A copy in another Region has another id, but the same name.
fn has_served(world: &World, image: &Image, elsewhere: &Elsewhere) -> bool {
    let serving = world.records.head.iter().flat_map(|head| head.serving.values());
    let live = serving.filter_map(|release| world.records.release(*release)).any(|record| record.release.image == image.id);
    live || elsewhere.uses.iter().any(|used| used.name == image.name && used.served())
}

/// Nobody has seen it at work yet.
fn unseen(environment: &Environment, image: &Image, elsewhere: &Elsewhere, reasons: &mut Reasons) {
    let names: Vec<&str> = elsewhere.environments.iter().map(|other| other.name.as_str()).collect();
    let (name, id) = (&image.name, &image.id);
    let what = format!("the newest image, {name} ({id}), has not served in any other environment yet ({})", names.join(", "));
    let near = elsewhere.environments.iter().find(|other| other.account == environment.account && other.region == environment.region);
    match near.or(elsewhere.environments.first()) {
        Some(first) => reasons.add(what, format!("adstage deploy {} --image {name}", first.name)),
        None => reasons.add(what, ""),
    }
    for other in &elsewhere.environments {
        if let Some(silent) = &other.silent {
            reasons.add(format!("the records of {} could not be read: {silent}", other.name), "");
        }
    }
    reasons.offer(format!("adstage deploy {} --image {name}", environment.name));
}

/// There is none here. What serves in another account or Region can be copied.
fn nothing(environment: &Environment, elsewhere: &Elsewhere, reasons: &mut Reasons) {
    let Environment { app, account, region, .. } = environment;
    match elsewhere.uses.iter().find(|used| used.live) {
        Some(used) => {
            reasons.add(format!("there is no image of {app} in account {account}, {region} yet"), "");
            missing(environment, &used.name, elsewhere, reasons);
        }
        None => reasons.add(format!("there is no image of {app} yet"), BAKE),
    }
}

/// It is not here. It may be somewhere else.
fn missing(environment: &Environment, word: &str, elsewhere: &Elsewhere, reasons: &mut Reasons) {
    let Environment { account, region, .. } = environment;
    reasons.add(format!("there is no image `{word}` in account {account}, {region}"), "");
    let known = |other: &&Neighbour| {
        elsewhere.uses.iter().any(|used| used.environment == other.name && (used.image.0 == word || used.name == word))
    };
    let away = |other: &&Neighbour| other.account != *account || other.region != *region;
    if let Some(other) = elsewhere.environments.iter().filter(away).find(known) {
        let Neighbour { name, account: its, region: there, .. } = other;
        reasons.add(format!("{name} has it, in account {its}, {there}"), "");
        reasons.offer(match its == account {
            true => format!("adstage image copy {word} --env {name} --to {region}"),
            false => format!("adstage image copy {word} --env {name} --to {}", environment.name),
        });
    }
    reasons.offer(LIST.to_string());
}

/// Why an image must not be deployed.
struct Flaw {
    what: String,
    next: String,
    /// `--force` gets over it.
    forced: bool,
}

fn flaw(environment: &Environment, image: &Image, elsewhere: &Elsewhere) -> Option<Flaw> {
    let name = format!("{} ({})", image.name, image.id);
    let flaw = |what: String, next: &str| Some(Flaw { what, next: next.to_string(), forced: false });
    let again = rebake(image);
    match (&image.app, image.state, image.provenance) {
        (None, ..) => flaw(format!("image {name} was not baked by adstage"), BAKE),
        (Some(other), ..) if other != environment.app.as_str() => {
            flaw(format!("image {name} belongs to app `{other}`, not `{}`", environment.app), LIST)
        }
        (_, ImageState::Pending, _) => flaw(format!("image {name} is still being captured"), LIST),
        (_, ImageState::Unusable, _) => {
            flaw(format!("image {name} can never be launched: its capture failed, or it was removed"), "adstage image prune")
        }
        (_, _, Provenance::Failed) => {
            let why = image.origin.failed.as_ref().map(|failed| format!(", {}: {}", failed.at, failed.why));
            let why = why.unwrap_or_else(|| ": not every service came up on it".into());
            Some(Flaw { what: format!("image {name} failed its proof{why}"), next: again, forced: true })
        }
        (_, _, Provenance::Unproved) => flaw(format!("image {name} was never proved: its bake did not end"), &again),
        (_, ImageState::Available, Provenance::Verified) => {
            let bad = elsewhere.uses.iter().find_map(|used| Some((used, used.bad().filter(|_| used.name == image.name)?)));
            let (used, reason) = bad?;
            let what = format!("image {name} is marked bad as {} of {}: {reason}", used.release, used.environment);
            Some(Flaw { what, next: LIST.into(), forced: true })
        }
    }
}

/// The command that made it.
fn rebake(image: &Image) -> String {
    match image.origin.from.as_deref().and_then(|from| from.strip_prefix("box ")) {
        Some(name) => format!("adstage image bake --from {name}"),
        None => BAKE.to_string(),
    }
}
