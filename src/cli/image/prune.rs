//! `adstage image prune`: images nobody needs are removed with their snapshots.

use jiff::SignedDuration;

use super::shelf::Where;
use crate::cli::Global;
use crate::cli::operate::{Look, Preview, Work, operate};
use crate::failure::Failure;
use crate::model::{Confirm, Scope, World};
use crate::plan::{self, PruneRequest, Step};

/// Remove images nobody needs, and their snapshots
///
///   adstage image prune --plan
///   adstage image prune --keep 5
///
/// What is live or warm anywhere, the last good image of each environment, and whatever an instance or a launch template
/// refers to is never removed. An image that failed its proof stays for a day.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// How many verified images stay, the newest first
    #[arg(long, value_name = "N", default_value_t = 10)]
    keep: usize,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    preview: Preview,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let access = args.place.connect(global).await?;
    let environment = access.environment.clone();
    let day_ago = (global.clock.wall() - SignedDuration::from_hours(24)).to_string();
    let request = PruneRequest { keep: args.keep, day_ago };
    let plan = |world: &World| Ok(plan::prune(world, &request));
    let command = format!("adstage image prune --keep {}{}", args.keep, args.place.typed());
    let (subject, scope) = (format!("the images of {}", environment.app), Scope::images(&environment.state_table, &environment.app));
    let work =
        Work { confirm: Confirm::Yes, default: false, ..Work::unseen("prune", subject, command, scope, Look::Shelf, &plan, args.preview) };
    let done = operate(&work, &access, global).await?;
    if args.preview.plan {
        return Ok(());
    }
    let steps = done.plan.stages.iter().flat_map(|stage| &stage.steps);
    let removed: Vec<String> =
        steps.filter_map(|step| if let Step::DeleteImage { name, .. } = step { Some(name.clone()) } else { None }).collect();
    let text = match removed.len() {
        0 => "Nothing to do: every image is needed.".to_string(),
        count => format!("Removed {count}: {}", removed.join(", ")),
    };
    done.say(global, text)
}
