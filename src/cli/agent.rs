//! `adstage agent`: what runs on an instance.

use clap::Subcommand;

use super::Global;
use crate::agent::environment::Surroundings;
use crate::failure::Failure;

/// Run on an instance: put the repositories on an image, or start the services the instance's tags name
///
/// Nobody types these: a builder's user data runs the first, an image's boot the second. ADSTAGE_ROOT says where `/` is.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Clone and build every repository that /var/lib/adstage/provision.json names, and install the agent
    Provision,
    /// Learn from the instance's tags and user data which services to run, run them, and answer for their health on port 7600
    Boot,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let surroundings = Surroundings::read();
    match args.command {
        Command::Provision => crate::agent::provision(&surroundings).await,
        Command::Boot => crate::agent::boot(&surroundings, &global.clock).await,
    }
}
