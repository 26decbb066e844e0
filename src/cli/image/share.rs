//! `adstage image share`: an image for another account.

use super::shelf::Where;
use crate::cli::Global;
use crate::cli::operate::{Look, Preview, Work, operate};
use crate::failure::Failure;
use crate::model::{Confirm, Scope, World};
use crate::plan;

/// Let another account launch an image, and copy it
///
///   adstage image share shop-3f9c2d1a0b44 --with 444455556666
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The image: a name, an id, or a beginning that only one image has
    image: String,
    /// The account, 12 digits
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    with: String,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    preview: Preview,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let (access, image) = args.place.pick(global, &args.image).await?;
    let environment = access.environment.clone();
    let plan = |world: &World| plan::share_image(&environment, &world.images, &image, &args.with);
    let command = format!("adstage image share {} --with {}{}", image.name, args.with, args.place.typed());
    let (subject, scope) = (image.name.clone(), Scope::images(&environment.state_table, &environment.app));
    let work = Work { confirm: Confirm::Yes, ..Work::unseen("share", subject, command, scope, Look::Images, &plan, args.preview) };
    let done = operate(&work, &access, global).await?;
    if args.preview.plan {
        return Ok(());
    }
    done.say(global, format!("Account {} may launch and copy {} ({}).", args.with, image.name, image.id))
}

fn account(text: &str) -> Result<String, String> {
    match text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(text.to_string()),
        false => Err("is no account: accounts are 12 digits".to_string()),
    }
}
