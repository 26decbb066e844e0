//! `adstage lock`: the operator's side of the lock. Who holds it and whether they are alive; asking them to stop; what to do when they
//! are gone; and a person's own lock, the freeze.

mod breaking;
mod close;
mod every;
mod freeze;
mod frozen;
pub mod halt;
mod repair;
mod show;
mod until;

use clap::Subcommand;

use super::Global;
use super::access::Access;
use crate::failure::Failure;
use crate::model::{LockRecord, Scope, Serving, serving};
use crate::observe::{self, Wants};

pub use every::Every;
pub use frozen::{end as freeze_end, said as freeze_said};

/// See who holds an environment's lock, ask them to stop, or freeze it
///
///   adstage lock show production
///   adstage lock halt production --reason "checkout is down"
///   adstage lock freeze production --reason "year-end close" --until "Mon 08:00"
///   adstage lock unfreeze production
///
/// One operation at a time may change an environment. `adstage help locks` explains how that works.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::Args),
    Halt(halt::Args),
    Break(breaking::Args),
    Freeze(freeze::Args),
    Unfreeze(freeze::UnfreezeArgs),
    Repair(repair::Args),
    Close(close::Args),
}

/// Runs one of them.
pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    match args.command {
        Command::Show(args) => show::run(args, global).await,
        Command::Halt(args) => halt::run(args, global).await,
        Command::Break(args) => breaking::run(args, global).await,
        Command::Freeze(args) => freeze::run(args, global).await,
        Command::Unfreeze(args) => freeze::unfreeze(args, global).await,
        Command::Repair(args) => repair::run(args, global).await,
        Command::Close(args) => close::run(args, global).await,
    }
}

/// An environment's lock, reached.
struct Place {
    access: Access,
    scope: Scope,
    /// The environment's name.
    name: String,
}

impl Place {
    async fn reach(name: &str, global: &Global) -> Result<Self, Failure> {
        let environment = global.environment(name)?;
        let access = global.connect(&environment).await?;
        let scope = Scope::of(&environment);
        Ok(Self { access, scope, name: environment.name.to_string() })
    }

    /// What visitors get now; none if that cannot be seen.
    async fn serving(&self) -> Serving {
        let world = observe::world(&self.access.aws, &self.access.environment, &self.scope, Wants::default()).await;
        world.map(|world| serving(&self.access.environment, &world)).unwrap_or_default()
    }
}

/// Where a holder works: `runner-7 (https://ci.example.com/8841)`.
pub fn place(lock: &LockRecord) -> String {
    match lock.via.as_str() {
        "" | "laptop" => lock.host.clone(),
        via => format!("{} ({via})", lock.host),
    }
}
