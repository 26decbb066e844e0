//! The steps of one stage, all at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::board::Board;
use super::record::Record;
use super::stop::{Interrupt, Stop};
use super::{Side, record};
use crate::aws::ErrorKind;
use crate::journal::Deed;
use crate::lock::{Held, Lost};
use crate::plan::{Stage, Step};
use crate::steps::{self, Cx, StepError};

pub(super) struct Wave<'a> {
    pub stage: &'a Stage,
    pub cx: &'a Cx,
    pub held: &'a Held,
    pub record: &'a Record<'a>,
    pub board: &'a Arc<Board>,
    pub side: Side,
}

pub(super) enum WaveEnd {
    Done,
    /// The first that failed.
    Failed(String, StepError),
    /// Somebody said stop while it ran.
    Asked(Interrupt),
    Lost(String),
}

/// Between two attempts of somebody whose credentials have expired.
const LOGIN: Duration = Duration::from_secs(5);

/// A step under way.
struct Running<'a> {
    step: &'a Step,
    id: Id,
    abort: AbortHandle,
}

type Joined = Result<(Id, Result<String, StepError>), JoinError>;

impl<'a> Wave<'a> {
    pub async fn run(&self, stop: &mut Stop<'_>) -> WaveEnd {
        if let Err(lost) = self.record.started(self.stage).await {
            return WaveEnd::Lost(lost.to_string());
        }
        let mut tasks = JoinSet::new();
        let running: Vec<_> = self.stage.steps.iter().map(|step| self.start(step, &mut tasks)).collect();
        let (mut failed, mut lost, mut asked) = (None, None, stop.asked().is_some());
        loop {
            let joined = tokio::select! {
                joined = tasks.join_next_with_id() => joined,
                () = stop.wait(), if !asked => {
                    asked = true;
                    halt(&running);
                    continue;
                }
            };
            let Some(joined) = joined else { break };
            if let Err(why) = self.finished(joined, &running, &mut failed).await {
                lost.get_or_insert(why);
            }
            // Those that settle have nothing to do with each other; before that, one failure is enough.
            if lost.is_some() || (failed.is_some() && (self.side == Side::Before || looks_only(self.stage))) {
                halt(&running);
            }
        }
        self.board.clear();
        let lost = lost.map(|lost: Lost| lost.to_string()).or_else(|| self.held.lost().map(|lost| lost.to_string()));
        match (lost, failed, stop.asked()) {
            (Some(why), ..) => WaveEnd::Lost(why),
            (None, Some((step, error)), _) => WaveEnd::Failed(step, error),
            (None, None, Some(by)) => WaveEnd::Asked(by),
            (None, None, None) => WaveEnd::Done,
        }
    }

    fn start(&self, step: &'a Step, tasks: &mut JoinSet<Result<String, StepError>>) -> Running<'a> {
        let cx = Cx { progress: self.board.place(), ..self.cx.clone() };
        let (owned, held) = (step.clone(), self.held.clone());
        let abort = tasks.spawn(async move { patiently(&owned, &cx, &held).await });
        Running { step, id: abort.id(), abort }
    }

    /// Journals the outcome of one step; keeps the first failure.
    async fn finished(&self, joined: Joined, running: &[Running<'a>], failed: &mut Option<(String, StepError)>) -> Result<(), Lost> {
        let (id, result) = match joined {
            Ok((id, result)) => (id, result),
            Err(error) if error.is_cancelled() => {
                return self.journal(error.id(), running, Deed::Failed { error: "stopped".to_string() }).await;
            }
            Err(error) => (error.id(), Err(bug(&error))),
        };
        let deed = match &result {
            Ok(achieved) => Deed::Succeeded { found: Some(achieved.clone()).filter(|text| !text.is_empty()) },
            Err(error) => Deed::Failed { error: record::whole(error) },
        };
        match result {
            Ok(achieved) => self.board.achieved(achieved),
            Err(error) => {
                let step = running.iter().find(|running| running.id == id).map(|running| running.step.to_string());
                if let (None, Some(step)) = (&failed, step) {
                    *failed = Some((step, error));
                }
            }
        }
        self.journal(id, running, deed).await
    }

    async fn journal(&self, id: Id, running: &[Running<'a>], deed: Deed) -> Result<(), Lost> {
        let Some(running) = running.iter().find(|running| running.id == id) else { return Ok(()) };
        self.record.deed(self.stage.name, running.step, deed).await
    }
}

/// A step that the guard stopped while the lease was in doubt runs again once the lease is proved; one whose credentials have expired, until
/// somebody logged in again.
async fn patiently(step: &Step, cx: &Cx, held: &Held) -> Result<String, StepError> {
    let mut logged_out = None;
    loop {
        let result = steps::run(step, cx).await;
        match result.as_ref().err().and_then(|error| error.kind) {
            Some(ErrorKind::Guard) if held.proved(held.hold()).await.is_ok() => {}
            Some(ErrorKind::NotLoggedIn) if held.lost().is_none() => {
                let since = *logged_out.get_or_insert_with(|| cx.clock.moment());
                if cx.clock.passed(since) >= held.hold() {
                    return result;
                }
                cx.clock.sleep(LOGIN).await;
            }
            _ => return result,
        }
    }
}

/// Stops what only looks. What changes something is waited for.
fn halt(running: &[Running]) {
    running.iter().filter(|running| running.step.only_looks()).for_each(|running| running.abort.abort());
}

fn looks_only(stage: &Stage) -> bool {
    stage.steps.iter().all(Step::only_looks)
}

fn bug(error: &JoinError) -> StepError {
    StepError::new("adstage itself failed; this is a bug").because(error.to_string())
}
