//! What the operator sees of a stage: begun, how far, how it went. The progress of its steps is merged into one line, said when it changes.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Due, Emit, Halt};
use crate::clock::{Clock, Moment};
use crate::model::{Event, Seconds};
use crate::plan::Onward;
use crate::steps::Progress;

/// More results than this are counted, not listed.
const LISTED: usize = 3;

pub(super) struct Board {
    stage: String,
    emit: Emit,
    clock: Clock,
    began: Moment,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    steps: Vec<Progress>,
    said: Option<(String, Vec<String>)>,
    achieved: Vec<String>,
}

impl Board {
    /// A phase of stages of one name begins.
    pub fn open(emit: &Emit, clock: &Clock, phase: &[Due<'_>]) -> Arc<Self> {
        let stage = phase.first().map(|(stage, _)| stage.name.to_string()).unwrap_or_default();
        let steps = phase.iter().flat_map(|(stage, acts)| stage.steps.iter().zip(*acts));
        let steps = steps.filter(|(_, act)| **act == Onward::Run).map(|(step, _)| step.to_string()).collect();
        emit(Event::StageStarted { stage: stage.clone(), steps });
        Arc::new(Self { stage, emit: emit.clone(), clock: clock.clone(), began: clock.moment(), state: Mutex::default() })
    }

    /// A place for one more step's progress.
    pub fn place(self: &Arc<Self>) -> Arc<dyn Fn(Progress) + Send + Sync> {
        let index = {
            let mut state = self.lock();
            state.steps.push(Progress { text: String::new(), details: Vec::new() });
            state.steps.len() - 1
        };
        let board = self.clone();
        Arc::new(move |progress| board.update(index, progress))
    }

    fn update(&self, index: usize, progress: Progress) {
        let mut state = self.lock();
        if let Some(place) = state.steps.get_mut(index) {
            *place = progress;
        }
        let texts: Vec<_> = state.steps.iter().map(|step| step.text.as_str()).filter(|text| !text.is_empty()).collect();
        let text = texts.join(" · ");
        let details: Vec<_> = state.steps.iter().flat_map(|step| step.details.clone()).collect();
        let now = Some((text.clone(), details.clone()));
        if state.said != now {
            state.said = now;
            (self.emit)(Event::StageProgress { stage: self.stage.clone(), text, details });
        }
    }

    /// A step is through.
    pub fn achieved(&self, what: String) {
        if !what.is_empty() {
            self.lock().achieved.push(what);
        }
    }

    /// The wave is through: its steps have nothing more to say.
    pub fn clear(&self) {
        let mut state = self.lock();
        (state.steps, state.said) = (Vec::new(), None);
    }

    /// The phase is over.
    pub fn close(&self, halt: Option<&Halt>) {
        let (stage, took) = (self.stage.clone(), Seconds::from(self.clock.since(self.began)));
        let achieved = std::mem::take(&mut self.lock().achieved);
        (self.emit)(match halt {
            Some(Halt::Failed { error, .. }) => Event::StageFailed { stage, text: error.what.clone(), took },
            Some(Halt::Asked { .. }) => Event::StageFailed { stage, text: "interrupted".to_string(), took },
            Some(Halt::Aborted { .. } | Halt::GoingBack) => Event::StageFailed { stage, text: "undone".to_string(), took },
            Some(Halt::Lost(why)) => Event::StageFailed { stage, text: why.clone(), took },
            None if achieved.len() > LISTED => Event::StageFinished { stage, text: format!("{} steps", achieved.len()), took },
            None => Event::StageFinished { stage, text: achieved.join(" · "), took },
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
