//! `adstage image`: bake the unified image, and look after what was baked.

mod bake;
mod copy;
mod from_box;
mod list;
mod prune;
mod share;
mod shelf;
mod show;

use clap::Subcommand;

use super::Global;
use crate::failure::Failure;

/// Bake the unified image, and look after what was baked
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    Bake(bake::Args),
    List(list::Args),
    Show(show::Args),
    Prune(prune::Args),
    Copy(copy::Args),
    Share(share::Args),
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    match args.act {
        Act::Bake(args) => bake::run(args, global).await,
        Act::List(args) => list::run(args, global).await,
        Act::Show(args) => show::run(args, global).await,
        Act::Prune(args) => prune::run(args, global).await,
        Act::Copy(args) => copy::run(args, global).await,
        Act::Share(args) => share::run(args, global).await,
    }
}
