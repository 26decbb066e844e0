//! Everything there is to know about the app's images before one of them goes.

use super::{image_world, uses};
use crate::aws::{Aws, Error};
use crate::model::{Environment, ImageId, Scope, World};

/// A world in which images matter, what they are used for, and who refers to them.
pub async fn shelf_world(aws: &Aws, environment: &Environment, scope: &Scope, environments: &[&Environment]) -> Result<World, Error> {
    let (world, uses) = tokio::try_join!(image_world(aws, environment, scope), uses(aws, environments))?;
    let ids: Vec<ImageId> = world.images.iter().map(|image| image.id.clone()).collect();
    let references = aws.ec2.image_references(&ids).await?;
    Ok(World { uses, references, ..world })
}
