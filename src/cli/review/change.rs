//! `adstage review approve`, `extend` and `delete`.

use super::boxes::{Boxes, ttl};
use super::{reminder, sweep};
use crate::cli::operate::{Preview, Work, operate};
use crate::failure::{End, Failure};
use crate::model::{Approval, BoxName, Confirm, Seconds, World, commits_hash};
use crate::plan;

/// Say that a review box is good: an image can be baked from it then
#[derive(Debug, clap::Args)]
pub struct Approve {
    /// The box
    name: BoxName,
}

/// Let a review box live so long from now
///
///   adstage review extend blue --ttl 2d
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Extend {
    /// The box
    name: BoxName,
    /// From now on
    #[arg(long, value_parser = ttl)]
    ttl: Seconds,
}

/// Remove a review box with everything on it
///
///   adstage review delete blue
///   adstage review delete blue --yes      where nobody can be asked
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Delete {
    /// The box
    name: BoxName,
    #[command(flatten)]
    preview: Preview,
}

const RUN: Preview = Preview { plan: false, exit_code: false };

pub async fn approve(args: &Approve, boxes: &Boxes<'_>) -> Result<(), Failure> {
    let (global, name) = (boxes.global, &args.name);
    let found = boxes.one(name).await?;
    let state = super::list::state(&found, false);
    if state != "ready" {
        let failure = Failure::new(End::Refused, format!("{name} is {state}: what does not run well is not approved"));
        return Err(failure.next(format!("adstage review show {name}")));
    }
    let commits = found.instance.map(|there| there.commits).unwrap_or_default();
    let at = global.clock.wall().as_second();
    let at = jiff::Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default();
    let approval = Approval { who: boxes.who(), at, commits: commits_hash(&commits) };
    let plan = |world: &World| plan::approve_box(name, &approval, world);
    let work = boxes.work("approve", name, format!("adstage review approve {name}"), &plan, RUN);
    let done = operate(&work, &boxes.access, global).await?;
    let next = global.typed(&format!("adstage image bake --from {name}"));
    let head = if done.plan.stages.is_empty() { format!("{name} is approved already.") } else { format!("{name} is approved.") };
    done.say(global, format!("{head} Next: {next}"))
}

pub async fn extend(args: &Extend, boxes: &Boxes<'_>) -> Result<(), Failure> {
    let (global, name, until) = (boxes.global, &args.name, boxes.until(args.ttl));
    let found = boxes.one(name).await?;
    let owner = found.instance.map(|there| there.owner).unwrap_or_default();
    let plan = |world: &World| plan::extend_box(name, &until, world);
    let command = format!("adstage review extend {name} --ttl {}s", args.ttl.0);
    let work = Work { confirm: asked(&owner, boxes), ..boxes.work("extend", name, command, &plan, RUN) };
    let done = operate(&work, &boxes.access, global).await?;
    reminder::correct(global, &boxes.access.environment.app, name, until.parse().ok());
    done.say(global, format!("{name} lives until {until}."))
}

/// Somebody else's box is not changed without a question.
fn asked(owner: &str, boxes: &Boxes<'_>) -> Confirm {
    if owner == boxes.who() {
        return Confirm::None;
    }
    boxes.global.report.say(format!("it is {owner}'s"));
    Confirm::Yes
}

pub async fn delete(args: &Delete, boxes: &Boxes<'_>) -> Result<(), Failure> {
    let (global, name) = (boxes.global, &args.name);
    let plan = |world: &World| Ok(plan::delete_box(name, world));
    let command = format!("adstage review delete {name}");
    // Whatever somebody has tried out on it goes with it.
    let work = Work { confirm: Confirm::Yes, ..boxes.work("delete", name, command, &plan, args.preview) };
    let done = operate(&work, &boxes.access, global).await?;
    if args.preview.plan {
        return Ok(());
    }
    reminder::correct(global, &boxes.access.environment.app, name, None);
    sweep::others(boxes, name).await;
    let text = if done.plan.stages.is_empty() { format!("There is no box {name}. Nothing to do.") } else { format!("{name} is gone.") };
    done.say(global, text)
}
