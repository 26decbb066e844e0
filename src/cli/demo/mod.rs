//! `adstage sandbox demo`: a company's image is baked, deployed to staging and production, broken, and rolled back, by the very commands a
//! person would type, while visitors keep coming.

mod folder;
mod stage;
mod story;
mod visitors;

use std::path::PathBuf;

use crate::cli::Global;
use crate::failure::{End, Failure};

use stage::Stage;

/// Watch it all once: bake, deploy, break and roll back the practice app, with visitors
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the sandbox and the practice app's folder when the story is over, to poke at them
    #[arg(long)]
    keep: bool,
    /// Folder for the sandbox and the practice app; must not exist yet [default: a new one among the temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Plays the story; ends well only if every act ended as it should and no visitor was failed.
pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let mut stage = Stage::set(args.dir.clone(), global).await?;
    let told = tokio::select! {
        told = story::tell(&mut stage) => told,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(End::Interrupted, "the demo was interrupted")),
    };
    let judged = told.and_then(|()| stage.judge());
    if args.keep {
        stage.say_how_to_poke();
        return judged;
    }
    stage.strike().await?;
    judged
}
