//! The command line: the tree below is the table of contents, and each subcommand is one file with `Args` (its doc comments are the
//! help) and `run`.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::failure::{End, Failure};

pub mod access;
mod agent;
mod blocked;
mod completions;
mod config;
mod confirm;
mod demo;
mod deploy;
mod desk;
pub mod environment;
pub mod global;
mod help;
mod history;
mod hooks;
mod image;
mod interrupt;
pub mod lock;
mod man;
mod operate;
mod refs;
mod resume;
mod review;
mod rollback;
mod sandbox;
mod scale;
mod setup;
pub mod shell;
mod shop;
mod status;

pub use global::Global;

/// Deploys one unified machine image to EC2 fleets: verified before any visitor sees it, warm to go back to.
#[derive(Debug, Parser)]
#[command(name = "adstage", version, disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
#[command(max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    options: global::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Setup(setup::Args),
    Review(review::Args),
    Image(image::Args),
    Deploy(deploy::Args),
    Rollback(rollback::Args),
    Scale(scale::Args),
    Resume(resume::Args),
    Status(status::Args),
    History(history::Args),
    Lock(lock::Args),
    Config(config::Args),
    Sandbox(sandbox::Args),
    Agent(agent::Args),
    Completions(completions::Args),
    Man(man::Args),
    Help(help::Args),
}

impl Command {
    async fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Setup(args) => setup::run(args, global).await,
            Self::Image(args) => image::run(args, global).await,
            Self::Review(args) => review::run(args, global).await,
            Self::Deploy(args) => deploy::run(args, global).await,
            Self::Rollback(args) => rollback::run(args, global).await,
            Self::Scale(args) => scale::run(args, global).await,
            Self::Resume(args) => resume::run(args, global).await,
            Self::Status(args) => status::run(args, global).await,
            Self::History(args) => history::run(args, global).await,
            Self::Lock(args) => lock::run(args, global).await,
            Self::Config(args) => config::run(args, global).await,
            Self::Sandbox(args) => sandbox::run(args, global).await,
            Self::Agent(args) => agent::run(args, global).await,
            Self::Completions(args) => completions::run(args, global).await,
            Self::Man(args) => man::run(args, global).await,
            Self::Help(args) => help::run(args, global).await,
        }
    }
}

/// The whole tree, for completions, man pages and the help snapshot.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Arguments in, exit code out.
pub fn main() -> ExitCode {
    let surroundings = environment::Surroundings::read();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return global::usage(&error, &surroundings),
    };
    let global = match Global::new(cli.options, surroundings) {
        Ok(global) => global,
        Err(failure) => return ExitCode::from(failure.end.code()),
    };
    let ended = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(global.report.alive(cli.command.run(&global)));
            // A thread that still waits on a socket must not keep a finished command alive.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Failure::new(End::Unexpected, "no threads to run on").because(error)),
    };
    review::reminder::remind(&global);
    global.report.close();
    match ended {
        Ok(()) => global.passed_on(),
        Err(failure) => global.failed(failure),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_sound() {
        super::command().debug_assert();
    }
}
