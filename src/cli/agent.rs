//! `adstage agent`: what runs on an instance.

use clap::Subcommand;
use serde_json::json;

use super::Global;
use crate::agent::environment::Surroundings;
use crate::failure::Failure;
use crate::model::SecretReference;

/// Run on an instance: put the repositories on an image, or start the services the instance's tags name
///
/// Nobody types these: a builder's user data runs the first, an image's boot the second, and `adstage image bake --from` the others.
/// ADSTAGE_ROOT says where `/` is.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Clone and build every repository that /var/lib/adstage/provision.json names, and install the agent
    Provision,
    /// Learn from the instance's tags and user data which services to run, run them, and answer for their health on port 7600
    Boot,
    /// Become a program, with secrets among its variables: what the units of services with secrets start
    Exec {
        /// A variable and where its value is kept, DATABASE_URL=ssm:/shop/production/db:3; may be given again
        #[arg(long = "secret", value_name = "NAME=REFERENCE", value_parser = secret)]
        secrets: Vec<(String, SecretReference)>,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        words: Vec<String>,
    },
    /// On a review box: say in one line of JSON which commits are checked out, which files differ from them, and how the services are
    Inspect,
    /// On a review box: stop everything and remove what must not be on an image
    ///
    /// Data of backing stores, logs, shell histories, SSH keys let in here, the machine's keys and id. The commits that are checked out are
    /// noted for the image.
    Clean,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let surroundings = Surroundings::read();
    match args.command {
        Command::Provision => crate::agent::provision(&surroundings).await,
        Command::Boot => crate::agent::boot(&surroundings, &global.clock).await,
        Command::Exec { secrets, words } => Err(crate::agent::exec(&surroundings, &global.clock, secrets, &words).await),
        Command::Inspect => {
            let inspection = crate::agent::inspect(&surroundings).await?;
            let line = serde_json::to_string(&inspection).map_err(anyhow::Error::from)?;
            global.report.result(&inspection, || line)
        }
        Command::Clean => {
            let removed = crate::agent::clean(&surroundings, &global.clock).await?;
            global.report.result(&json!({ "removed": removed }), || match removed.as_slice() {
                [] => "nothing to remove".to_string(),
                removed => removed.iter().map(|path| format!("removed {path}\n")).collect(),
            })
        }
    }
}

/// `DATABASE_URL=ssm:/shop/production/db:3`.
fn secret(text: &str) -> Result<(String, SecretReference), String> {
    let (name, reference) = text.split_once('=').ok_or("must be NAME=REFERENCE")?;
    Ok((name.to_string(), reference.parse()?))
}
