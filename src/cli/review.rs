//! `adstage review`: the whole company on one instance, at any mix of versions.

mod boxes;
mod change;
mod create;
mod exec;
mod list;
mod logs;
pub mod reminder;
mod show;
mod ssh;
mod sweep;

use clap::Subcommand;

use super::Global;
use super::access::{Access, refused};
use crate::failure::{End, Failure};
use crate::model::{BoxName, Review, ReviewBox, nearest};
use crate::observe;
use boxes::Boxes;

/// The whole company on one instance of its own, at any mix of versions
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    Create(create::Args),
    /// List the review boxes, and remove what is left of those whose time was up
    List,
    Show(show::Args),
    Ssh(ssh::Args),
    Exec(exec::Args),
    Logs(logs::Args),
    Approve(change::Approve),
    Extend(change::Extend),
    Delete(change::Delete),
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    match args.act {
        Act::Create(args) => create::run(args, &Boxes::open(global).await?).await,
        Act::List => list::run(&Boxes::open(global).await?).await,
        Act::Show(args) => show::run(&args, &Boxes::open(global).await?).await,
        Act::Approve(args) => change::approve(&args, &Boxes::open(global).await?).await,
        Act::Extend(args) => change::extend(&args, &Boxes::open(global).await?).await,
        Act::Delete(args) => change::delete(&args, &Boxes::open(global).await?).await,
        Act::Ssh(args) => ssh::run(&args, global).await,
        Act::Exec(args) => exec::run(&args, global).await,
        Act::Logs(args) => logs::run(&args, global).await,
    }
}

/// A box that is there, and the account it is in.
struct Reached<'g> {
    review: &'g Review,
    access: Access,
    found: ReviewBox,
}

async fn reach<'g>(name: &BoxName, global: &'g Global) -> Result<Reached<'g>, Failure> {
    let review = global.config()?.review()?;
    let access = global.connect(&review.environment).await?;
    let boxes = observe::boxes(&access.aws, &access.environment).await.map_err(|error| refused(error, &access.environment))?;
    let names: Vec<String> = boxes.iter().map(|found| found.name.to_string()).collect();
    match boxes.into_iter().find(|found| found.name == *name) {
        Some(found) => Ok(Reached { review, access, found }),
        None => Err(no_box(name, &names)),
    }
}

fn no_box(name: &BoxName, known: &[String]) -> Failure {
    let failure = Failure::new(End::Refused, format!("there is no review box {name}"));
    let failure = match nearest(name.as_str(), known.iter().map(String::as_str)) {
        Some(near) => failure.because(format!("did you mean `{near}`?")),
        None if known.is_empty() => failure.because("there is none at all"),
        None => failure.because(format!("there are {}", known.join(", "))),
    };
    failure.next("adstage review list")
}
