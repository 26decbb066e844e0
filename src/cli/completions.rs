//! `adstage completions`

use clap_complete::Shell;

use super::Global;
use crate::failure::Failure;

/// Print a completion script for your shell
///
///   adstage completions bash > ~/.local/share/bash-completion/completions/adstage
///   adstage completions zsh > "${fpath[1]}/_adstage"
///   adstage completions fish > ~/.config/fish/completions/adstage.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Which shell
    shell: Shell,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "adstage", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    global.report.result(&serde_json::json!({ "completions": script }), || script.clone())
}
