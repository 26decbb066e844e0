//! `adstage rollback`: back to an earlier release, image and configuration together.

use super::Global;
use super::operate::{AtWork, Done, Freeze, Look, OnUnfinished, Preview, Work, operate};
use crate::failure::Failure;
use crate::model::{Purchases, ReleaseNumber, Scope, Seconds};
use crate::plan::{self, RollbackRequest};
use crate::report::bold;

/// Go back to the release that served before: one write per route if it is still warm
///
///   adstage rollback production
///   adstage rollback production --to r40
///   adstage rollback production --yes      where nobody can be asked
///
/// The release that is left is marked bad: deploying that image and configuration again needs --force. A release
/// that is not warm any more is launched again from its image and configuration.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment
    environment: String,
    /// The release to go back to [default: the one that served before]
    #[arg(long, value_name = "RELEASE")]
    to: Option<ReleaseNumber>,
    #[command(flatten)]
    preview: Preview,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let environment = global.environment(&args.environment)?;
    let access = global.connect(&environment).await?;
    let to = args.to.map(|release| format!(" --to {release}")).unwrap_or_default();
    let request = RollbackRequest { to: args.to };
    let work = Work {
        verb: "rollback",
        subject: environment.name.to_string(),
        command: format!("adstage rollback {}{to}", environment.name),
        scope: Scope::of(&environment),
        // A release that is gone is launched again from its image.
        look: Look::Environment { images: true },
        // Where all is warm, nothing is launched, and nothing is asked.
        launches: Purchases::new(),
        plan: &|world| plan::rollback(&environment, world, &request),
        // At 3 am one Enter is enough, whatever a deploy asks.
        confirm: environment.confirm.at_most_a_yes(),
        default: true,
        freeze: Freeze::Passed,
        at_work: AtWork::Halts,
        on_unfinished: OnUnfinished::Supersede,
        preview: args.preview,
    };
    let done = operate(&work, &access, global).await?;
    if args.preview.plan {
        return Ok(());
    }
    let text = text(&done, &work.subject, global);
    done.say(global, text)
}

fn text(done: &Done, environment: &str, global: &Global) -> String {
    let took = Seconds::from(global.report.elapsed());
    let head = if done.plan.stages.is_empty() { "Nothing to do." } else { "Rolled back." };
    let mut text = match done.serving.sole() {
        Some(sole) => format!("{} {took}\n", bold(&format!("{head} {sole} serves 100 % of {environment}."))),
        None => format!("{} {took}\n", bold(&format!("{head} {environment} serves {}.", done.serving))),
    };
    for left in done.plan.left() {
        let undo = global.typed(&format!("adstage rollback {environment} --to {left}"));
        text += &format!("  {left} is marked bad: deploying it again needs --force\n  undo  {undo}\n");
    }
    text
}
