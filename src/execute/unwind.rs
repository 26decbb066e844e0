//! Going back: every step that was started is undone, the last first. Stops where an undo fails for good, because what was done before
//! it may be what visitors depend on (a fleet is not removed while a route could not be put back).

use std::time::Duration;

use tokio::task::JoinSet;

use super::ending::{Ending, Undone};
use super::{Executor, Halt};
use crate::journal::Deed;
use crate::lock::{Held, Lost};
use crate::model::{Event, Mark, Seconds};
use crate::observe::{self, Wants};
use crate::plan::{Backward, SECOND_LOOK, SPREAD, Stage, Stand, Step, stand};
use crate::steps::{self, Cx, StepError};

/// Attempts to undo one step.
const TRIES: u32 = 3;

/// Between two of them; what refuses a deletion (a draining target, a launch under way) usually needs a moment.
const PAUSE: Duration = Duration::from_secs(5);

impl Executor<'_> {
    /// Goes back: undoes what is to be undone of the plan's first stages, then ends the operation.
    pub(super) async fn back(&self, acts: &[Vec<Backward>], halt: Halt) -> Ending {
        let began = self.cx.clock.moment();
        let reason = halt.reason();
        (self.emit)(Event::UnwindStarted { reason: reason.clone() });
        // Once back, always back: it is written once.
        let turned = match halt {
            Halt::GoingBack => Ok(()),
            _ => self.record.goes_back(&reason).await,
        };
        self.quiet().await;
        let undone = match turned {
            Ok(()) => self.undo_stages(acts).await,
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

    async fn undo_stages(&self, acts: &[Vec<Backward>]) -> Result<usize, Undone> {
        let acts = self.look_again(acts).await;
        let mut count = 0;
        // Where visitors came little by little, the first way back that is taken leads all of them back.
        let moved = |(stage, acts): (&Stage, &Vec<Backward>)| {
            let mut acts = stage.steps.iter().zip(acts);
            acts.any(|(step, act)| matches!(step, Step::CutOverTraffic { .. }) && matches!(act, Backward::Undo | Backward::LookAgain))
        };
        let first = self.plan.stages.iter().zip(&acts).position(moved);
        for (at, (stage, acts)) in self.plan.stages.iter().zip(&acts).enumerate().rev() {
            count += self.undo(stage, acts).await?;
            if first == Some(at) {
                self.wait_for_nodes().await;
            }
        }
        Ok(count)
    }

    /// What showed no trace may only not have been visible yet.
    async fn look_again(&self, acts: &[Vec<Backward>]) -> Vec<Vec<Backward>> {
        let mut acts = acts.to_vec();
        if !acts.iter().flatten().any(|act| *act == Backward::LookAgain) {
            return acts;
        }
        let text = format!("some steps may have begun and show no trace: looking again in {SECOND_LOOK}");
        (self.emit)(Event::Said { mark: Mark::Note, text });
        self.cx.clock.sleep(SECOND_LOOK.duration()).await;
        let images = self.plan.kind.is_of_images();
        // If nobody answers, undoing looks for itself.
        let world = observe::world(&self.cx.aws, &self.cx.environment, self.record.scope(), Wants { images, room: None }).await.ok();
        for (stage, acts) in self.plan.stages.iter().zip(&mut acts) {
            for (step, act) in stage.steps.iter().zip(acts).filter(|(_, act)| **act == Backward::LookAgain) {
                let trace = world.as_ref().map(|world| stand(step, world));
                *act = match trace {
                    Some(Stand::Before) => Backward::Nothing("no trace of it, at two looks".to_string()),
                    _ => Backward::Undo,
                };
            }
        }
        acts
    }

    /// Undoes what one stage did, all at once, as it was done.
    async fn undo(&self, stage: &Stage, acts: &[Backward]) -> Result<usize, Undone> {
        let mut doers = Vec::new();
        let mut deeds = Vec::new();
        for (step, act) in stage.steps.iter().zip(acts) {
            match act {
                Backward::Done => {}
                Backward::Nothing(found) => deeds.push((stage.name, step, Deed::UndoFinished { found: Some(found.clone()) })),
                Backward::Undo | Backward::LookAgain => doers.push(step),
            }
        }
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
        Ok(doers.len())
    }

    /// Some of the load balancer's nodes may still send visitors to the fleet that is about to be removed.
    async fn wait_for_nodes(&self) {
        let text = format!("visitors are back; {SPREAD} until every node of the load balancer knows");
        (self.emit)(Event::Said { mark: Mark::Note, text });
        self.cx.clock.sleep(SPREAD.duration()).await;
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
