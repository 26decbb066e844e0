//! What every face knows of the stage that is running: the same bookkeeping, shown in different ways.

use std::time::Duration;

use crate::model::{Event, Seconds};

/// The stages so far.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// How many began.
    pub count: usize,
    /// The one that runs.
    pub running: Option<Running>,
}

/// A stage that runs.
#[derive(Debug, Clone)]
pub(super) struct Running {
    /// Its name.
    pub stage: String,
    /// How far it is.
    pub text: String,
    /// What is not yet well.
    pub details: Vec<String>,
    /// When it began, since the command began.
    pub began: Duration,
}

impl Running {
    /// How long it has run.
    pub fn took(&self, now: Duration) -> Seconds {
        now.saturating_sub(self.began).into()
    }
}

impl Board {
    /// Follows the stream.
    pub fn follow(&mut self, event: &Event, now: Duration) {
        match event {
            Event::StageStarted { stage, steps } => {
                self.count += 1;
                self.running = Some(Running { stage: stage.clone(), text: brief(steps), details: Vec::new(), began: now });
            }
            Event::UnwindStarted { .. } => {
                self.count += 1;
                self.running = Some(Running { stage: "undo".into(), text: String::new(), details: Vec::new(), began: now });
            }
            Event::StageProgress { text, details, .. } => {
                if let Some(running) = &mut self.running {
                    running.text.clone_from(text);
                    running.details.clone_from(details);
                }
            }
            Event::StageFinished { .. } | Event::StageFailed { .. } | Event::UnwindFinished { .. } | Event::Result { .. } => {
                self.running = None;
            }
            Event::Hello { .. } | Event::Plan { .. } | Event::Said { .. } => {}
        }
    }
}

/// What a stage will do, in about one line: the plan that was shown before names every step.
pub(super) fn brief(steps: &[String]) -> String {
    let mut text = String::new();
    for (index, step) in steps.iter().enumerate() {
        if index > 0 && text.chars().count() + step.chars().count() > 90 {
            return format!("{text} · and {} more", steps.len() - index);
        }
        text = if text.is_empty() { step.clone() } else { format!("{text} · {step}") };
    }
    text
}
