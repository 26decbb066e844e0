//! `adstage image copy`: an image for another Region.

use super::shelf::Where;
use crate::cli::Global;
use crate::cli::operate::{Look, Preview, Work, operate};
use crate::failure::Failure;
use crate::model::{Scope, World};
use crate::plan;

/// Copy an image to another Region, under the same name, and wait until it is available there
///
///   adstage image copy shop-3f9c2d1a0b44 --to us-east-1
///
/// A copy that was begun before is waited for.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The image: a name, an id, or a beginning that only one image has
    image: String,
    /// The Region it goes to
    #[arg(long, value_name = "REGION")]
    to: String,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    preview: Preview,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let (access, image) = args.place.pick(global, &args.image).await?;
    let environment = access.environment.clone();
    let plan = |world: &World| plan::copy_image(&environment, &world.images, &image, &args.to);
    let command = format!("adstage image copy {} --to {}{}", image.name, args.to, args.place.typed());
    let (subject, scope) = (image.name.clone(), Scope::images(&environment.state_table, &environment.app));
    let work = Work::unseen("copy", subject, command, scope, Look::Images, &plan, args.preview);
    let done = operate(&work, &access, global).await?;
    if args.preview.plan {
        return Ok(());
    }
    done.say(global, format!("{} is in {} too, under the same name.", image.name, args.to))
}
