//! `adstage man`

use anyhow::Context;

use super::Global;
use crate::failure::Failure;

/// Print the manual page, of a subcommand if you name one
///
///   adstage man | man -l -
///   adstage man image bake | man -l -
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// A subcommand
    command: Vec<String>,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let command = super::help::subcommand(&args.command)?;
    let name = command.get_bin_name().unwrap_or("adstage").replace(' ', "-");
    let mut page = Vec::new();
    clap_mangen::Man::new(command.name(&name)).render(&mut page).context("the manual page cannot be rendered")?;
    let page = String::from_utf8_lossy(&page).into_owned();
    global.report.result(&serde_json::json!({ "man": page }), || page.clone())
}
