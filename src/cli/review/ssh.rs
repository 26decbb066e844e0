//! `adstage review ssh`: a shell on a box.

use super::super::{Global, shell};
use super::{Reached, reach};
use crate::failure::Failure;
use crate::model::BoxName;

/// Open a shell on a box
///
/// By the Session Manager, with the `aws` command's own login, unless `review.shell` in adstage.toml says otherwise.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The box
    name: BoxName,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let Reached { review, access, found } = reach(&args.name, global).await?;
    shell::open(global, review, &access, &found)
}
