//! `adstage lock`: the operator's side of the lock. Who holds it and whether they are alive; asking them to stop; what to do when they
//! are gone; and a person's own lock, the freeze.

mod alive;
mod frozen;
mod show;

use clap::Subcommand;

use super::Global;
use super::access::Access;
use crate::failure::Failure;
use crate::model::{LockRecord, Scope};

pub use alive::LISTEN;
pub use frozen::end as freeze_end;

/// Show who holds an environment's lock
///
///   adstage lock show production
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
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    match args.command {
        Command::Show(args) => show::run(args, global).await,
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
        let scope = Scope::environment(&environment.state_table, &environment.app, &environment.name);
        Ok(Self { access, scope, name: environment.name.to_string() })
    }
}

/// Where a holder works: `runner-7 (https://ci.example.com/8841)`.
pub fn place(lock: &LockRecord) -> String {
    match lock.via.as_str() {
        "" | "laptop" => lock.host.clone(),
        via => format!("{} ({via})", lock.host),
    }
}
