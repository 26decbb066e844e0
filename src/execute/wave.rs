//! The steps of one stage, all at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::board::Board;
use super::record::Record;
use super::stop::{Interrupt, Stop};
use super::{Side, record};
use crate::aws::ErrorKind;
use crate::clock::Moment;
use crate::journal::Deed;
use crate::lock::constants::CALL;
use crate::lock::{Held, Lost};
use crate::model::Seconds;
use crate::plan::{Onward, Stage, Step};
use crate::steps::{self, Cx, Progress, StepError};

pub(super) struct Wave<'a> {
    pub stage: &'a Stage,
    pub acts: &'a [Onward],
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

/// How long steps that change something may go on once a colleague wants the lock. Some wait for minutes (a fleet that drains); whoever
/// comes next goes on with them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Once visitors have moved nothing is undone, so what fails then is worth more attempts before it is left to the next operation: so many,
/// with this between two.
const MORE: u32 = 2;
const PAUSE: Duration = Duration::from_secs(10);

/// A step under way.
struct Running<'a> {
    step: &'a Step,
    id: Id,
    abort: AbortHandle,
}

/// How a run of a step ended.
enum Ran {
    /// Well or badly.
    Over(Result<String, StepError>),
    /// It is worth another attempt.
    Again(Tries),
}

/// What came of a step's attempts so far.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    /// Without credentials since then.
    logged_out: Option<Moment>,
    /// How many failed after visitors had moved.
    failed: u32,
}

type Joined = Result<(Id, Ran), JoinError>;

/// How the steps of a wave went so far.
#[derive(Default)]
struct Tally {
    /// The first that failed.
    failed: Option<(String, StepError)>,
    lost: Option<Lost>,
}

impl<'a> Wave<'a> {
    pub async fn run(&self, stop: &mut Stop<'_>) -> WaveEnd {
        let steps = || self.stage.steps.iter().zip(self.acts);
        let due: Vec<&'a Step> = steps().filter(|(_, act)| **act == Onward::Run).map(|(step, _)| step).collect();
        let found: Vec<_> = steps()
            .filter_map(|(step, act)| match act {
                Onward::Found(text) => Some((step, text.as_str())),
                Onward::Run | Onward::Done => None,
            })
            .collect();
        if let Err(lost) = self.record.started(self.stage.name, &due, &found).await {
            return WaveEnd::Lost(lost.to_string());
        }
        found.iter().for_each(|(step, text)| self.board.achieved(format!("{step}: {text}")));
        let mut tasks = JoinSet::new();
        let mut running: Vec<_> = due.into_iter().map(|step| self.start(step, Tries::default(), &mut tasks)).collect();
        let (mut tally, mut asked, mut halted_at, mut cut) = (Tally::default(), stop.asked().is_some(), None, false);
        loop {
            if self.hands_over(stop) && !cut {
                halted_at.get_or_insert_with(|| self.cx.clock.moment());
            }
            let left = halted_at.map_or(PATIENCE, |since| PATIENCE.saturating_sub(self.cx.clock.since(since)));
            let joined = tokio::select! {
                biased; // In this order, so that a run can be repeated exactly.
                joined = tasks.join_next_with_id() => joined,
                () = stop.wait(), if !asked => {
                    asked = true;
                    halt(&running);
                    continue;
                }
                () = self.cx.clock.sleep(left), if halted_at.is_some() && !cut => {
                    cut = true;
                    running.iter().for_each(|running| running.abort.abort());
                    continue;
                }
            };
            let Some(joined) = joined else { break };
            match joined {
                Ok((id, Ran::Again(tries))) if !asked && !self.is_enough(&tally) => {
                    self.again(id, tries, &mut running, &mut tasks, &mut tally).await;
                }
                joined => self.finished(joined, &running, &mut tally).await,
            }
            if self.is_enough(&tally) {
                halt(&running);
            }
        }
        if cut {
            // A call that was cut off may still arrive: whoever comes next must not meet it.
            self.cx.clock.sleep(CALL).await;
        }
        self.board.clear();
        let lost = tally.lost.map(|lost| lost.to_string()).or_else(|| self.held.lost().map(|lost| lost.to_string()));
        match (lost, tally.failed, stop.asked()) {
            (Some(why), ..) => WaveEnd::Lost(why),
            (None, Some(_), Some(by)) if self.hands_over(stop) => WaveEnd::Asked(by),
            (None, Some((step, error)), _) => WaveEnd::Failed(step, error),
            (None, None, Some(by)) => WaveEnd::Asked(by),
            (None, None, None) => WaveEnd::Done,
        }
    }

    /// A colleague wants to go on from here, and it can be had: nothing is undone first.
    fn hands_over(&self, stop: &Stop<'_>) -> bool {
        self.side == Side::Before && matches!(stop.asked(), Some(Interrupt::Colleague(..)))
    }

    /// Those that settle have nothing to do with each other; before that, one failure is enough.
    fn is_enough(&self, tally: &Tally) -> bool {
        tally.lost.is_some() || (tally.failed.is_some() && (self.side == Side::Before || looks_only(self.stage)))
    }

    fn start(&self, step: &'a Step, tries: Tries, tasks: &mut JoinSet<Ran>) -> Running<'a> {
        let cx = Cx { progress: self.board.place(), ..self.cx.clone() };
        let (owned, held, side) = (step.clone(), self.held.clone(), self.side);
        let abort = tasks.spawn(async move { patiently(&owned, &cx, &held, side, tries).await });
        Running { step, id: abort.id(), abort }
    }

    /// Once more: what it is about to do is written down again, because what was written is old by now.
    async fn again(&self, id: Id, tries: Tries, running: &mut [Running<'a>], tasks: &mut JoinSet<Ran>, tally: &mut Tally) {
        let Some(doubted) = running.iter_mut().find(|running| running.id == id) else { return };
        match self.record.started(self.stage.name, &[doubted.step], &[]).await {
            Ok(()) => *doubted = self.start(doubted.step, tries, tasks),
            Err(lost) => _ = tally.lost.get_or_insert(lost),
        }
    }

    /// Journals the outcome of one step; keeps the first failure.
    async fn finished(&self, joined: Joined, running: &[Running<'a>], tally: &mut Tally) {
        let (id, result) = match joined {
            Ok((id, Ran::Over(result))) => (id, Some(result)),
            Ok((id, Ran::Again(_))) => (id, None),
            Err(error) if error.is_cancelled() => (error.id(), None),
            Err(error) => (error.id(), Some(Err(bug(&error)))),
        };
        let deed = match &result {
            Some(Ok(achieved)) => Deed::Succeeded { found: Some(achieved.clone()).filter(|text| !text.is_empty()) },
            Some(Err(error)) => Deed::Failed { error: record::whole(error) },
            None => Deed::Failed { error: "stopped".to_string() },
        };
        match result {
            // What more there is to it is for the record.
            Some(Ok(achieved)) => self.board.achieved(achieved.lines().next().unwrap_or_default().to_string()),
            Some(Err(error)) => {
                let step = running.iter().find(|running| running.id == id).map(|running| running.step.to_string());
                if let (None, Some(step)) = (&tally.failed, step) {
                    tally.failed = Some((step, error));
                }
            }
            None => {}
        }
        if let Err(lost) = self.journal(id, running, deed).await {
            tally.lost.get_or_insert(lost);
        }
    }

    async fn journal(&self, id: Id, running: &[Running<'a>], deed: Deed) -> Result<(), Lost> {
        let Some(running) = running.iter().find(|running| running.id == id) else { return Ok(()) };
        self.record.deed(self.stage.name, running.step, deed).await
    }
}

/// A step that the guard stopped while the lease was in doubt runs again once the lease is proved; one whose credentials have expired, until
/// somebody logged in again; one that changes something once visitors have moved, a few times. Every attempt is written down first.
async fn patiently(step: &Step, cx: &Cx, held: &Held, side: Side, tries: Tries) -> Ran {
    let result = steps::run(step, cx).await;
    let Err(error) = &result else { return Ran::Over(result) };
    match error.kind {
        Some(ErrorKind::Guard) if held.proved(held.hold()).await.is_ok() => Ran::Again(tries),
        _ if held.lost().is_some() => Ran::Over(result),
        Some(ErrorKind::NotLoggedIn) => {
            let since = tries.logged_out.unwrap_or_else(|| cx.clock.moment());
            if cx.clock.passed(since) >= held.hold() {
                return Ran::Over(result);
            }
            cx.clock.sleep(LOGIN).await;
            Ran::Again(Tries { logged_out: Some(since), ..tries })
        }
        _ if side == Side::After && !step.only_looks() && tries.failed < MORE => {
            let text = format!("{}; once more in {}", error.what, Seconds::from(PAUSE));
            (cx.progress)(Progress { text, details: Vec::new() });
            cx.clock.sleep(PAUSE).await;
            Ran::Again(Tries { failed: tries.failed + 1, ..tries })
        }
        _ => Ran::Over(result),
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
