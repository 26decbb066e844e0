//! `adstage image share`: an image for another account.

use super::shelf::{Where, find};
use crate::cli::Global;
use crate::cli::access::refused;
use crate::cli::operate::{AtWork, Freeze, Look, OnUnfinished, Preview, Work, operate};
use crate::failure::Failure;
use crate::model::{Confirm, Scope};
use crate::{observe, plan};

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
    let access = args.place.connect(global).await?;
    let environment = access.environment.clone();
    let images = observe::images(&access.aws, &environment).await.map_err(|error| refused(error, &environment))?;
    let image = find(&images, &args.image, &environment)?;
    let work = Work {
        verb: "share",
        subject: image.name.clone(),
        command: format!("adstage image share {} --with {}{}", image.name, args.with, args.place.typed()),
        scope: Scope::images(&environment.state_table, &environment.app),
        look: Look::Images,
        // As it is under the lock: somebody may have removed it.
        plan: &|world| plan::share_image(&environment, world.images.iter().find(|other| other.id == image.id).unwrap_or(image), &args.with),
        confirm: Confirm::Yes,
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
    done.say(global, format!("Account {} may launch and copy {} ({}).", args.with, image.name, image.id))
}

fn account(text: &str) -> Result<String, String> {
    match text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(text.to_string()),
        false => Err("is no account: accounts are 12 digits".to_string()),
    }
}
