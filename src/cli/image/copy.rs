//! `adstage image copy`: an image for another Region, or for the account of another environment.

use super::shelf::Where;
use crate::cli::Global;
use crate::cli::access::{Access, refused};
use crate::cli::operate::{Done, Look, Preview, Work, operate};
use crate::failure::Failure;
use crate::model::{Confirm, Environment, Image, Scope, World};
use crate::observe;
use crate::plan::{self, Shared};

/// Copy an image to another Region, or to where another environment is, under the same name, and wait until it is available there
///
///   adstage image copy shop-3f9c2d1a0b44 --to us-east-1
///   adstage image copy shop-3f9c2d1a0b44 --to production
///
/// An environment in another account gets a copy of its own: the image is shared with that account first. A copy that was begun before is
/// waited for.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The image: a name, an id, or a beginning that only one image has
    image: String,
    /// The Region it goes to, or the environment whose account and Region those are
    #[arg(long, value_name = "REGION|ENV")]
    to: String,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    preview: Preview,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let (access, image) = args.place.pick(global, &args.image).await?;
    let target = global.config()?.environments.values().find(|environment| environment.name.as_str() == args.to);
    let done = match target {
        Some(target) if target.account != access.environment.account => abroad(&args, &access, &image, target, global).await?,
        Some(target) => copied(&args, &access, &image, &target.region, global).await?,
        None => copied(&args, &access, &image, &args.to, global).await?,
    };
    if args.preview.plan {
        return Ok(());
    }
    done.say(global, format!("{} is in {} too, under the same name.", image.name, args.to))
}

fn command(args: &Args, image: &Image) -> String {
    format!("adstage image copy {} --to {}{}", image.name, args.to, args.place.typed())
}

/// To another Region of the same account.
async fn copied(args: &Args, access: &Access, image: &Image, region: &str, global: &Global) -> Result<Done, Failure> {
    let environment = &access.environment;
    let plan = |world: &World| plan::copy_image(environment, &world.images, image, region);
    let (subject, scope) = (image.name.clone(), Scope::images(&environment.state_table, &environment.app));
    let work = Work::unseen("copy", subject, command(args, image), scope, Look::Images, &plan, args.preview);
    operate(&work, access, global).await
}

/// To another account: shared by the one, copied by the other. Each has its own lock and its own journal.
async fn abroad(args: &Args, access: &Access, image: &Image, target: &Environment, global: &Global) -> Result<Done, Failure> {
    let (here, there) = (&access.environment, global.connect(target).await?);
    let found = access.aws.ec2.image_named(&image.name).await.map_err(|error| refused(error, here))?;
    let mut tags = found.map(|(_, tags)| tags).unwrap_or_default();
    tags.retain(|key, _| key.starts_with("adstage:"));
    let shared = Shared { image: image.clone(), owner: here.account.clone(), region: here.region.clone(), tags };
    let fetch = |world: &World| plan::fetch_image(target, &world.images, &shared);
    let has = observe::images(&there.aws, target).await.map_err(|error| refused(error, target))?;
    if !args.preview.plan && !has.iter().any(|other| other.name == image.name) {
        let plan = |world: &World| plan::share_image(here, &world.images, image, &target.account);
        let (subject, scope) = (image.name.clone(), Scope::images(&here.state_table, &here.app));
        let share = Work::unseen("share", subject, command(args, image), scope, Look::Images, &plan, args.preview);
        operate(&Work { confirm: Confirm::Yes, ..share }, access, global).await?;
    }
    let (subject, scope) = (image.name.clone(), Scope::images(&target.state_table, &target.app));
    let work = Work::unseen("copy", subject, command(args, image), scope, Look::Images, &fetch, args.preview);
    operate(&work, &there, global).await
}
