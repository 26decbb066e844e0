//! Trouble once everybody is on the new release. Nothing was retired yet, so going back is what it would have been before: visitors first,
//! then everything else is undone. Whether to is the environment's to say, or that of whoever is at the terminal.

use std::time::Duration;

use super::{Executor, Halt};
use crate::model::{Event, Mark, OnTrouble, OperationKind, Seconds};
use crate::plan::{StageName, Step};

/// Visitors meet the trouble meanwhile: whoever is there answers within this long, or all stays as it is.
pub const ANSWER: Duration = Duration::from_secs(120);

impl Executor<'_> {
    /// True if visitors are to be taken back from a release that does not look well.
    pub(super) async fn goes_back(&self, halt: &Halt) -> bool {
        let Halt::Failed { stage: StageName::Watch, error, .. } = halt else { return false };
        // What AWS refused, or a lost lease, says nothing about the release.
        if error.kind.is_some() || self.plan.kind != OperationKind::Deploy {
            return false;
        }
        let said = |mark, text: String| (self.emit)(Event::Said { mark, text });
        match self.on_trouble() {
            OnTrouble::Stay => false,
            OnTrouble::Rollback => {
                said(Mark::Warning, format!("{}: on-trouble is \"rollback\", so visitors are taken back", error.what));
                true
            }
            OnTrouble::Ask if !self.cx.consult.is_there() => false,
            OnTrouble::Ask => {
                said(Mark::Warning, error.what.clone());
                error.evidence.iter().for_each(|line| said(Mark::Note, line.clone()));
                let within = Seconds::from(ANSWER);
                let question = format!("Take visitors back? Without an answer within {within} all stays as it is.");
                let answer = self.cx.consult.answer(&self.cx.clock, &question, ANSWER).await;
                if answer.is_none() {
                    said(Mark::Note, format!("nobody answered within {within}: all stays as it is"));
                }
                answer == Some(true)
            }
        }
    }

    /// As the plan was made.
    fn on_trouble(&self) -> OnTrouble {
        let mut steps = self.plan.stages.iter().flat_map(|stage| &stage.steps);
        let policy = steps.find_map(|step| match step {
            Step::WatchFleet { judging, .. } => Some(judging.on_trouble),
            _ => None,
        });
        policy.unwrap_or_default()
    }
}
