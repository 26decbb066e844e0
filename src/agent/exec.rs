//! `adstage agent exec`: becomes a program, with secrets among its variables. For systemd, whose units are files.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::environment::Surroundings;
use super::secrets::Secrets;
use crate::clock::Clock;
use crate::failure::{End, Failure};
use crate::model::SecretReference;

/// Reads the secrets and becomes the program; it comes back only if it cannot.
pub async fn exec(surroundings: &Surroundings, clock: &Clock, secrets: Vec<(String, SecretReference)>, words: &[String]) -> Failure {
    let cannot = |what: String| Failure::new(End::Unexpected, what);
    let Some((program, arguments)) = words.split_first() else { return cannot("there is no program to become".into()) };
    let way = Secrets::new(&surroundings.metadata_endpoint, clock);
    match way.variables(&secrets.into_iter().collect()).await {
        Ok(variables) => cannot(format!("{program} cannot be run: {}", Command::new(program).args(arguments).envs(variables).exec())),
        Err(why) => cannot(why),
    }
}
