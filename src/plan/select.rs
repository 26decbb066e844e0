//! Which image a deploy takes, and what must be true of it.

use crate::model::{AppName, Image, ImageState, Provenance, World};

use super::refusal::Reasons;

const BAKE: &str = "adstage image bake --from-base";
const LIST: &str = "adstage image list";

/// The image named by id or name, or the newest that is proved. `None`: the reasons have been given.
pub(super) fn image<'a>(app: &AppName, world: &'a World, named: Option<&str>, reasons: &mut Reasons) -> Option<&'a Image> {
    let Some(named) = named else {
        let newest = world.images.iter().find(|image| flaw(app, image).is_none());
        if newest.is_none() {
            let others = world.images.iter().filter_map(|image| flaw(app, image)).next();
            reasons.add(others.unwrap_or_else(|| format!("there is no image of {app} yet")), BAKE);
        }
        return newest;
    };
    let Some(image) = world.images.iter().find(|image| image.id.0 == named || image.name == named) else {
        reasons.add(format!("there is no image `{named}` in this account and Region"), LIST);
        return None;
    };
    if let Some(flaw) = flaw(app, image) {
        reasons.add(flaw, if image.state == ImageState::Pending { LIST } else { BAKE });
    }
    Some(image)
}

/// Why an image must not be deployed.
fn flaw(app: &AppName, image: &Image) -> Option<String> {
    let name = format!("{} ({})", image.name, image.id);
    match (&image.app, image.state, image.provenance) {
        (None, ..) => Some(format!("image {name} was not baked by adstage")),
        (Some(other), ..) if other != app.as_str() => Some(format!("image {name} belongs to app `{other}`, not `{app}`")),
        (_, ImageState::Pending, _) => Some(format!("image {name} is still being captured")),
        (_, ImageState::Unusable, _) => Some(format!("image {name} can never be launched: its capture failed, or it was removed")),
        (_, _, Provenance::Failed) => Some(format!("image {name} failed its proof: not every service came up on it")),
        (_, _, Provenance::Unproved) => Some(format!("image {name} was never proved: its bake did not end")),
        (_, ImageState::Available, Provenance::Verified) => None,
    }
}
