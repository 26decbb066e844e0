//! Until the builder's console says that it is provisioned, or that it is not.

use super::bake_machine::{Machine, failure};
use super::{Cx, Done, StepError};
use crate::model::{ConsoleLine, Seconds};

pub(super) async fn run(cx: &Cx, bake: &str, within: Seconds) -> Done {
    let judge = |lines: &[ConsoleLine]| -> Option<Result<usize, StepError>> {
        lines.iter().rev().find_map(|line| match line {
            ConsoleLine::Provisioned { commits } => Some(Ok(commits.len())),
            line if line.is_terminal_failure() => Some(Err(failure(line))),
            _ => None,
        })
    };
    let repositories = Machine::builder(bake).listen(cx, within, judge).await?;
    Ok(format!("builder provisioned, {repositories} repositories"))
}
