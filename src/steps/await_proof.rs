//! Until the proof instance's console says that every service is up, or that one will not come up.

use super::bake_machine::{Machine, failure};
use super::{Cx, Done, StepError};
use crate::model::{ConsoleLine, Seconds};

pub(super) async fn run(cx: &Cx, bake: &str, within: Seconds) -> Done {
    let judge = |lines: &[ConsoleLine]| -> Option<Result<usize, StepError>> {
        let fatal = lines.iter().find(|line| line.is_terminal_failure());
        match (lines.last(), fatal) {
            // The last word: a service that exits afterwards is up no more.
            (Some(ConsoleLine::Ready { services }), _) => Some(Ok(services.len())),
            (_, Some(line)) => Some(Err(failure(line))),
            _ => None,
        }
    };
    let services = Machine::proof(bake).listen(cx, within, judge).await?;
    Ok(format!("{services} services came up"))
}
