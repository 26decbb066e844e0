//! `adstage sandbox shell`: inside one of the sandbox's instances.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::Context;
use serde::Deserialize;

use super::{Global, Place, Process, environment, running};
use crate::failure::{End, Failure};
use crate::sandbox::control;

/// Run a shell, or one command, inside an instance of the sandbox
///
///   adstage sandbox shell i-0123456789abcdef0
///   adstage sandbox shell i-0123456789abcdef0 -- adstage agent inspect
///
/// It starts in the instance's root folder, with the variables its services have, and ends with the instance.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// The instance's id, from `adstage sandbox status`
    instance: String,
    /// The command and its arguments [default: a shell]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What the sandbox says of one machine.
#[derive(Deserialize)]
struct Machine {
    state: String,
    /// None: it is off.
    root: Option<PathBuf>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

/// This process becomes the command: its exit code, its signals and its terminal are the command's own.
pub(super) async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let record = running(&args.place.home(global)?)?;
    let refused = |what: String| Failure::new(End::Refused, what).next("adstage sandbox status");
    let unknown = || refused(format!("the sandbox has no instance {}", args.instance));
    if !args.instance.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(unknown());
    }
    let told = control(&record.endpoint, http::Method::GET, &format!("/_sandbox/machine?id={}", args.instance)).await;
    let machine: Option<Machine> = serde_json::from_value(told.context("the sandbox does not answer")?).map_err(anyhow::Error::from)?;
    let machine = machine.ok_or_else(unknown)?;
    let Some(root) = machine.root else {
        return Err(refused(format!("{} is not on: it is {}", args.instance, machine.state)));
    };
    let (program, arguments) = args.command.split_first().map_or(("sh", &[][..]), |(program, rest)| (program.as_str(), rest));
    let mut command = Process::new(program);
    command.args(arguments).current_dir(root).env_clear().envs(environment::for_machines()).envs(machine.variables);
    command.env("PS1", format!("{} $ ", args.instance));
    global.report.close();
    let error = command.exec();
    Err(Failure::new(End::Refused, format!("`{program}` cannot be run on {}", args.instance)).because(error))
}
