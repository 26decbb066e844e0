//! Going back: every step that was started is undone, the last first. Stops where an undo fails for good, because what was done before
//! it may be what visitors depend on (a fleet is not removed while a route could not be put back).

use std::time::Duration;

use tokio::task::JoinSet;

use super::ending::{Ending, Undone};
use super::{Executor, Halt};
use crate::journal::Deed;
use crate::lock::{Held, Lost};
use crate::model::{Event, Mark, Seconds};
use crate::plan::{SPREAD, Stage, StageName, Step};
use crate::steps::{self, Cx, StepError};

/// Attempts to undo one step.
const TRIES: u32 = 3;

/// Between two of them; what refuses a deletion (a draining target, a launch under way) usually needs a moment.
const PAUSE: Duration = Duration::from_secs(5);

impl Executor<'_> {
    /// Undoes the first `waves` stages of the plan, then ends the operation.
    pub(super) async fn unwind(&self, waves: usize, halt: Halt) -> Ending {
        let began = self.cx.clock.moment();
        let reason = halt.reason();
        (self.emit)(Event::UnwindStarted { reason: reason.clone() });
        let undone = match self.record.goes_back(&reason).await {
            Ok(()) => self.undo_waves(waves).await,
            Err(lost) => Err(Undone::Lost(lost.to_string())),
        };
        if let Ok(count) = &undone {
            let took = Seconds::from(self.cx.clock.since(began));
            (self.emit)(Event::UnwindFinished { text: format!("{count} steps undone"), took });
        }
        match undone {
            Ok(_) => self.rolled_back(&halt).await,
            Err(undone) => self.stranded(&halt, undone).await,
        }
    }

    async fn undo_waves(&self, waves: usize) -> Result<usize, Undone> {
        let mut count = 0;
        for stage in self.plan.stages[..waves].iter().rev() {
            count += self.undo(stage).await?;
        }
        Ok(count)
    }

    /// Undoes what one stage did, all at once, as it was done.
    async fn undo(&self, stage: &Stage) -> Result<usize, Undone> {
        // What was cleared away was nobody's, and stays so.
        let undoes = |step: &&Step| !step.only_looks() && step.has_way_back() && stage.name != StageName::Clear;
        let (doers, others): (Vec<_>, Vec<_>) = stage.steps.iter().partition(undoes);
        let nothing = || Deed::UndoFinished { found: Some("nothing to undo".to_string()) };
        let mut deeds: Vec<_> = others.into_iter().map(|step| (stage.name, step, nothing())).collect();
        deeds.extend(doers.iter().map(|step| (stage.name, *step, Deed::UndoStarted)));
        self.record.deeds(deeds).await.map_err(lost)?;
        let mut tasks = JoinSet::new();
        for (index, step) in doers.iter().enumerate() {
            let (step, cx, held) = ((*step).clone(), self.cx.clone(), self.held.clone());
            tasks.spawn(async move { (index, persistently(&step, &cx, &held).await) });
        }
        let mut failed = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            let Ok((index, result)) = joined else { return Err(Undone::Lost("adstage itself failed; this is a bug".to_string())) };
            let Some(step) = doers.get(index).copied() else { continue };
            let deed = match result {
                Ok(()) => Deed::UndoFinished { found: None },
                Err(error) => {
                    let deed = Deed::UndoFailed { error: super::record::whole(&error) };
                    failed.push((step.clone(), error));
                    deed
                }
            };
            self.record.deed(stage.name, step, deed).await.map_err(lost)?;
        }
        if !failed.is_empty() {
            return Err(Undone::Failed(failed));
        }
        if stage.steps.iter().any(|step| matches!(step, Step::CutOverTraffic { .. })) {
            // Some of its nodes may still send visitors to the fleet that is about to be removed.
            let text = format!("visitors are back; {SPREAD} until every node of the load balancer knows");
            (self.emit)(Event::Said { mark: Mark::Note, text });
            self.cx.clock.sleep(SPREAD.duration()).await;
        }
        Ok(doers.len())
    }
}

fn lost(lost: Lost) -> Undone {
    Undone::Lost(lost.to_string())
}

async fn persistently(step: &Step, cx: &Cx, held: &Held) -> Result<(), StepError> {
    let mut tries = 1;
    loop {
        // Waits out a moment of doubt about the lease; without it every call would be refused.
        let proved = held.proved(held.hold()).await;
        match steps::undo(step, cx).await {
            Ok(()) => return Ok(()),
            Err(error) if tries >= TRIES || proved.is_err() => return Err(error),
            Err(_) => {
                tries += 1;
                cx.clock.sleep(PAUSE).await;
            }
        }
    }
}
