//! The `on-failure` hook: told how an operation is about to end, while it is still open, so that what the hook printed is in the record. It
//! cannot change the ending: whether it fails, hangs or cannot be run is noted, and that is all.

use std::sync::Arc;

use super::Executor;
use crate::model::{Event, Mark, Outcome};
use crate::plan;
use crate::steps::{self, Cx, Progress};

impl Executor<'_> {
    pub(super) async fn on_failure(&self, outcome: Outcome, reason: &str) {
        let Some(mut hook) = plan::on_failure(&self.cx.environment, self.plan) else { return };
        hook.facts.insert("ADSTAGE_OUTCOME".into(), crate::journal::outcome_word(outcome).into());
        hook.facts.insert("ADSTAGE_REASON".into(), reason.into());
        let emit = self.emit.clone();
        let progress = Arc::new(move |progress: Progress| (emit)(Event::Said { mark: Mark::Note, text: progress.text }));
        let cx = Cx { progress, ..self.cx.clone() };
        let text = match steps::run_hook(&cx, &hook).await {
            Ok(told) => told,
            Err(error) => {
                (self.emit)(Event::Said { mark: Mark::Warning, text: error.to_string() });
                super::record::whole(&error)
            }
        };
        if let Err(lost) = self.record.note(text).await {
            tracing::warn!("what the on-failure hook said is not in the record: {lost}");
        }
    }
}
