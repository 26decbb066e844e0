//! What must not be on an image is removed from a box: by the company's own command, then by the agent.

use std::time::Duration;

use super::{Cx, Done, StepError};
use crate::model::BoxName;

/// Longer than removing files should ever take.
const WITHIN: Duration = Duration::from_secs(900);

pub(super) async fn run(cx: &Cx, of: &BoxName, clean: Option<&str>) -> Done {
    let own = clean.map(|clean| vec!["sh".to_string(), "-c".to_string(), clean.to_string()]);
    let agent = ["adstage", "agent", "clean"].map(str::to_string).to_vec();
    for words in own.into_iter().chain([agent]) {
        let reply = cx.errands.run(words.clone(), WITHIN).await.map_err(StepError::new)?;
        if reply.code != 0 {
            let failed = StepError::new(format!("`{}` failed on box {of} with exit code {}", words.join(" "), reply.code));
            return Err(
                failed.evidence(reply.stderr.lines().rev().take(20).map(|line| format!("| {line}")).collect::<Vec<_>>().into_iter().rev())
            );
        }
    }
    Ok(format!("box {of} is clean"))
}
