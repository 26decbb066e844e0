//! `adstage image copy`: an image for another Region.

use super::shelf::{Where, find};
use crate::cli::Global;
use crate::cli::access::refused;
use crate::cli::operate::{AtWork, Freeze, Look, OnUnfinished, Preview, Work, operate};
use crate::failure::Failure;
use crate::model::{Confirm, Scope};
use crate::{observe, plan};

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
    let access = args.place.connect(global).await?;
    let environment = access.environment.clone();
    let images = observe::images(&access.aws, &environment).await.map_err(|error| refused(error, &environment))?;
    let image = find(&images, &args.image, &environment)?;
    let work = Work {
        verb: "copy",
        subject: image.name.clone(),
        command: format!("adstage image copy {} --to {}{}", image.name, args.to, args.place.typed()),
        scope: Scope::images(&environment.state_table, &environment.app),
        look: Look::Images,
        // As it is under the lock: somebody may have removed it.
        plan: &|world| plan::copy_image(&environment, world.images.iter().find(|other| other.id == image.id).unwrap_or(image), &args.to),
        confirm: Confirm::None,
        default: true,
        freeze: Freeze::Passed,
        at_work: AtWork::Waits,
        on_unfinished: OnUnfinished::Supersede,
        preview: args.preview,
    };
    let done = operate(&work, &access, global).await?;
    if args.preview.plan {
        return Ok(());
    }
    done.say(global, format!("{} is in {} too, under the same name.", image.name, args.to))
}
