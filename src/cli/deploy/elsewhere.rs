//! What the app's other environments know about images: those in the same account and Region always, the others when it may matter.

use crate::cli::Global;
use crate::cli::access::{Access, refused};
use crate::failure::Failure;
use crate::model::{Confirm, Environment, Found, Image, ImageUse};
use crate::observe;
use crate::plan::{Elsewhere, Neighbour};

/// Looks. Whoever cannot be asked is said to be silent: that is a reason only for who insists on an answer.
pub(super) async fn look(access: &Access, named: Option<&str>, global: &Global) -> Result<Elsewhere, Failure> {
    let here = &access.environment;
    let near = |other: &&Environment| other.account == here.account && other.region == here.region;
    let others = || global.config().map(|config| config.environments.values().filter(|other| other.name != here.name));
    let neighbours: Vec<&Environment> = others()?.filter(near).collect();
    let mut found = Elsewhere { environments: neighbours.iter().map(|other| neighbour(other, None)).collect(), uses: Vec::new() };
    found.uses = observe::uses(&access.aws, &neighbours).await.map_err(|error| refused(error, here))?;
    let far: Vec<&Environment> = others()?.filter(|other| !near(other)).collect();
    if !far.is_empty() && matters(access, named).await? {
        for other in far {
            match ask(other, global).await {
                Ok(uses) => found.uses.extend(uses),
                Err(failure) => found.environments.push(neighbour(other, Some(failure.what))),
            }
            if !found.environments.iter().any(|known| known.name == other.name) {
                found.environments.push(neighbour(other, None));
            }
        }
    }
    Ok(found)
}

/// It takes another login, so it is done only where the answer is needed: to let an image pass unnamed, or to say where a missing one is.
async fn matters(access: &Access, named: Option<&str>) -> Result<bool, Failure> {
    let here = &access.environment;
    let Some(word) = named else { return Ok(here.confirm == Confirm::Name) };
    let images = observe::images(&access.aws, here).await.map_err(|error| refused(error, here))?;
    Ok(Image::named(&images, word) == Found::None)
}

async fn ask(other: &Environment, global: &Global) -> Result<Vec<ImageUse>, Failure> {
    let access = global.connect(other).await?;
    observe::uses(&access.aws, &[other]).await.map_err(|error| refused(error, other))
}

fn neighbour(other: &Environment, silent: Option<String>) -> Neighbour {
    Neighbour { name: other.name.clone(), account: other.account.clone(), region: other.region.clone(), silent }
}
