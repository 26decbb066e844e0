//! `adstage review exec`: one command on a box.

use std::time::Duration;

use serde_json::json;

use super::super::{Global, shell};
use super::{Reached, reach};
use crate::failure::Failure;
use crate::model::BoxName;

/// The output of a command that programs want whole is not waited for longer.
const WHOLE_WITHIN: Duration = Duration::from_secs(3_600);

/// Run one command on a box; its output and its exit code are this command's
///
///   adstage review exec blue -- adstage agent inspect
///   adstage review exec blue -- sh -c 'cd "$ADSTAGE_ROOT/opt/adstage/repositories/web" && git log -1'
///
/// The words reach the box as they are; for a shell's pipes and variables, call one. It has the terminal's input, but no terminal.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The box
    name: BoxName,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let Reached { review, access, found } = reach(&args.name, global).await?;
    let command: Vec<&str> = args.command.iter().map(String::as_str).collect();
    let code = if global.report.json() {
        let output = shell::run(global, review, &access, &found, &command, WHOLE_WITHIN).await?;
        let value = json!({ "box": args.name, "exit": output.code, "stdout": output.stdout, "stderr": output.stderr });
        global.report.result(&value, String::new)?;
        output.code
    } else {
        shell::stream(global, review, &access, &found, &command, |piece| global.report.pass(piece)).await?
    };
    global.pass_on(code);
    Ok(())
}
