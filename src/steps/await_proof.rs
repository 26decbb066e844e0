//! Until the proof instance's console says that every service is up, or that one will not come up: then the image is marked failed, with
//! the reason and the end of what the machine said, and stays for whoever wants to know.

use super::bake_machine::{Machine, failure};
use super::mark_verified;
use super::{Cx, Done, StepError};
use crate::model::{ConsoleLine, Seconds};

pub(super) async fn run(cx: &Cx, bake: &str, name: &str, within: Seconds) -> Done {
    let judge = |lines: &[ConsoleLine]| -> Option<Result<usize, StepError>> {
        let fatal = lines.iter().find(|line| line.is_terminal_failure());
        match (lines.last(), fatal) {
            // The last word: a service that exits afterwards is up no more.
            (Some(ConsoleLine::Ready { services }), _) => Some(Ok(services.len())),
            (_, Some(line)) => Some(Err(failure(line))),
            _ => None,
        }
    };
    match Machine::proof(bake).listen(cx, within, judge).await {
        Ok(services) => Ok(format!("{services} services came up")),
        // That AWS did not answer says nothing about the image.
        Err(error) if error.kind.is_some() => Err(error),
        Err(error) => {
            mark_verified::failed(cx, name, &error).await?;
            Err(error)
        }
    }
}
