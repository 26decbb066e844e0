//! `adstage image`: bake the unified image, and look after what was baked.

mod bake;
mod list;
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
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    match args.act {
        Act::Bake(args) => bake::run(args, global).await,
        Act::List(args) => list::run(args, global).await,
        Act::Show(args) => show::run(args, global).await,
    }
}
