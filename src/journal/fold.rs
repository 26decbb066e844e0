//! An operation's status is a fold over its events, never a field somebody set. Every transition that is not listed is an error.

use std::collections::BTreeMap;

use super::entry::{Asked, Deed, Entry, Logged, StepKey};
use crate::model::{Direction, Outcome, StepStatus};

/// What the events of an operation add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationStatus {
    /// Every step with an event, and the order in which they first moved.
    pub steps: Vec<(StepKey, StepStatus)>,
    /// Which way it goes.
    pub direction: Direction,
    /// Another operation has taken its place.
    pub superseded: bool,
    /// Somebody asked its holder to stop, and it did; who and why, the last time.
    pub halted: Option<(String, String)>,
    /// How it ended; none while it is open.
    pub ended: Option<Outcome>,
    next: u64,
    fence: u64,
    index: BTreeMap<StepKey, usize>,
    attempts: BTreeMap<StepKey, u64>,
}

/// Why events are not a journal: at which number, and what is wrong. Nobody may guess on: a person is needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq}: {problem}")]
pub struct Illegal {
    /// The event's number.
    pub seq: u64,
    /// What is wrong with it.
    pub problem: String,
}

/// Folds the events of one operation, in order of their numbers, starting with 0.
pub fn fold(events: &[Logged]) -> Result<OperationStatus, Illegal> {
    let mut status = OperationStatus::new();
    events.iter().try_for_each(|event| status.apply(event)).map(|()| status)
}

impl Default for OperationStatus {
    fn default() -> Self {
        Self::new()
    }
}

impl OperationStatus {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self {
            steps: Vec::new(),
            direction: Direction::Forward,
            superseded: false,
            halted: None,
            ended: None,
            next: 0,
            fence: 0,
            index: BTreeMap::new(),
            attempts: BTreeMap::new(),
        }
    }

    /// Only its beginning is written.
    pub fn begun() -> Self {
        Self { next: 1, ..Self::new() }
    }

    /// Adds one event as it was read.
    pub fn apply(&mut self, event: &Logged) -> Result<(), Illegal> {
        let illegal = |problem: String| Illegal { seq: event.seq, problem };
        if event.seq != self.next {
            return Err(illegal(format!("number {} is missing", self.next)));
        }
        if event.fence < self.fence {
            return Err(illegal(format!("written under fence {}, after fence {}", event.fence, self.fence)));
        }
        if event.fence > self.fence && self.next > 0 && !matches!(event.entry, Entry::TakenOver { .. }) {
            return Err(illegal(format!("the fence rose from {} to {} without a take-over", self.fence, event.fence)));
        }
        self.note(&event.entry).map_err(illegal)?;
        self.fence = event.fence;
        Ok(())
    }

    /// Adds one entry as it is about to be written; the error says why it must not be.
    pub fn note(&mut self, entry: &Entry) -> Result<(), String> {
        if let Some(outcome) = self.ended {
            return Err(format!("something follows the end ({})", super::entry::outcome_word(outcome)));
        }
        let first = self.next == 0;
        if first != matches!(entry, Entry::Began { .. }) {
            return Err("`began` is the first event, and only that".into());
        }
        match entry {
            Entry::Step(key, deed) => self.step(key, deed)?,
            Entry::Asked { what: Asked::Unwind, .. } => self.direction = Direction::Back,
            Entry::Asked { what: Asked::Superseded, .. } => self.superseded = true,
            Entry::Ended { outcome, .. } => self.ended = Some(*outcome),
            Entry::Halted { by, why } => self.halted = Some((by.clone(), why.clone())),
            Entry::Began { .. } | Entry::TakenOver { .. } | Entry::Verdict { .. } | Entry::Horizon { .. } | Entry::Note { .. } => {}
        }
        self.next += 1;
        Ok(())
    }

    fn step(&mut self, key: &StepKey, deed: &Deed) -> Result<(), String> {
        let from = self.status(key);
        let to = next_status(from, deed).ok_or_else(|| {
            let was = from.map_or_else(|| "never started".to_string(), |status| status.to_string());
            format!("{} / {}: {} after {was}", key.stage, key.step, word(deed))
        })?;
        if to == StepStatus::Undoing {
            self.direction = Direction::Back;
        }
        if matches!(deed, Deed::Started { .. }) && self.direction == Direction::Back {
            return Err(format!("{} / {}: started although the operation goes back", key.stage, key.step));
        }
        if let Deed::Started { attempt, .. } = deed {
            self.attempts.insert(key.clone(), *attempt);
        }
        match self.index.get(key) {
            Some(at) => self.steps[*at].1 = to,
            None => {
                self.index.insert(key.clone(), self.steps.len());
                self.steps.push((key.clone(), to));
            }
        }
        Ok(())
    }

    /// Where one step stands; none if it never started.
    pub fn status(&self, key: &StepKey) -> Option<StepStatus> {
        self.index.get(key).map(|at| self.steps[*at].1)
    }

    /// Number of the newest attempt at a step; 0 if it never started.
    pub fn attempt(&self, key: &StepKey) -> u64 {
        self.attempts.get(key).copied().unwrap_or_default()
    }

    /// True if any step may have changed anything: without one, whoever comes next may close the operation and go on.
    pub fn touched_anything(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The steps that an unwind must undo, last begun first.
    pub fn to_undo(&self) -> Vec<StepKey> {
        let open = |status: &StepStatus| *status != StepStatus::Undone;
        self.steps.iter().rev().filter(|(_, status)| open(status)).map(|(key, _)| key.clone()).collect()
    }
}

/// The table of legal transitions.
fn next_status(from: Option<StepStatus>, deed: &Deed) -> Option<StepStatus> {
    use StepStatus::{Failed, Started, Succeeded, UndoFailed, Undoing, Undone};
    Some(match (from, deed) {
        // Again after a take-over (steps converge), after a failure that is worth another try, or to prove once more what was proved long
        // ago: health is asked again before visitors depend on it.
        (None | Some(Started | Failed | Succeeded), Deed::Started { .. }) => Started,
        (Some(Started), Deed::Succeeded { .. }) => Succeeded,
        (Some(Started), Deed::Failed { .. }) => Failed,
        (Some(Started | Succeeded | Failed | Undoing | UndoFailed), Deed::UndoStarted) => Undoing,
        (Some(Undoing), Deed::UndoFinished { .. }) => Undone,
        // Nothing to undo: the step had not run, or what it made is gone.
        (Some(Started | Succeeded | Failed), Deed::UndoFinished { found: Some(_) }) => Undone,
        (Some(Undoing), Deed::UndoFailed { .. }) => UndoFailed,
        _ => return None,
    })
}

fn word(deed: &Deed) -> &'static str {
    match deed {
        Deed::Started { .. } => "started",
        Deed::Succeeded { .. } => "succeeded",
        Deed::Failed { .. } => "failed",
        Deed::UndoStarted => "undo started",
        Deed::UndoFinished { .. } => "undo finished",
        Deed::UndoFailed { .. } => "undo failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, deed: Deed) -> Entry {
        Entry::Step(StepKey::new("launch", name), deed)
    }

    fn started() -> Deed {
        Deed::Started { attempt: 1, before: None, after: None }
    }

    fn began() -> Entry {
        Entry::Began { text: "deploy".into() }
    }

    fn done() -> Deed {
        Deed::Succeeded { found: None }
    }

    fn failed() -> Deed {
        Deed::Failed { error: "e".into() }
    }

    fn undone() -> Deed {
        Deed::UndoFinished { found: None }
    }

    fn log(entries: Vec<Entry>) -> Vec<Logged> {
        let logged = |(seq, entry)| Logged { seq: seq as u64, fence: 3, at: String::new(), nonce: String::new(), entry };
        entries.into_iter().enumerate().map(logged).collect()
    }

    fn problem(entries: Vec<Entry>) -> String {
        fold(&log(entries)).unwrap_err().to_string()
    }

    #[test]
    fn a_failed_deploy_unwinds_in_reverse() {
        let mut entries = vec![began(), step("a", started()), step("b", started()), step("a", done()), step("b", failed())];
        let status = fold(&log(entries.clone())).unwrap();
        assert_eq!(status.direction, Direction::Forward);
        assert_eq!(status.to_undo(), [StepKey::new("launch", "b"), StepKey::new("launch", "a")]);
        entries.extend([step("b", Deed::UndoStarted), step("b", undone())]);
        let status = fold(&log(entries)).unwrap();
        assert_eq!((status.direction, status.to_undo()), (Direction::Back, vec![StepKey::new("launch", "a")]));
    }

    #[test]
    fn every_unlisted_transition_is_an_error() {
        let all = [started(), done(), failed(), Deed::UndoStarted, undone(), Deed::UndoFailed { error: "e".into() }];
        let statuses = [
            None,
            Some(StepStatus::Started),
            Some(StepStatus::Succeeded),
            Some(StepStatus::Failed),
            Some(StepStatus::Undoing),
            Some(StepStatus::Undone),
            Some(StepStatus::UndoFailed),
        ];
        let table: Vec<String> = statuses
            .iter()
            .map(|from| all.iter().map(|deed| if next_status(*from, deed).is_some() { 'x' } else { '.' }).collect())
            .collect();
        //                    started, succeeded, failed, undo started, undo finished, undo failed
        assert_eq!(table, ["x.....", "xxxx..", "x..x..", "x..x..", "...xxx", "......", "...x.."]);
    }

    #[test]
    fn the_story_must_be_whole_and_in_order() {
        assert_eq!(problem(vec![step("a", started())]), "event 0: `began` is the first event, and only that");
        assert_eq!(problem(vec![began(), began()]), "event 1: `began` is the first event, and only that");
        let mut gap = log(vec![began(), step("a", started()), step("a", done())]);
        gap.remove(1);
        assert_eq!(fold(&gap).unwrap_err().to_string(), "event 2: number 1 is missing");
        let ended = Entry::Ended { outcome: Outcome::Deployed, reason: None };
        assert!(problem(vec![began(), ended.clone(), ended]).contains("follows the end (deployed)"));
        assert!(problem(vec![began(), step("a", done())]).contains("succeeded after never started"));
    }

    #[test]
    fn fences_only_rise_and_only_by_a_take_over() {
        let over = Entry::TakenOver { from: "a".into(), to: "b".into(), why: "lapsed".into() };
        let mut events = log(vec![began(), step("a", started()), over, step("a", started())]);
        events[2].fence = 4;
        events[3].fence = 4;
        assert_eq!(fold(&events).unwrap().status(&StepKey::new("launch", "a")), Some(StepStatus::Started));
        events[3].fence = 3;
        assert!(fold(&events).unwrap_err().to_string().contains("after fence 4"));
        events[3].fence = 5;
        assert!(fold(&events).unwrap_err().to_string().contains("without a take-over"));
    }

    #[test]
    fn going_back_is_for_ever() {
        let unwind = Entry::Asked { what: Asked::Unwind, by: "ada".into() };
        assert!(problem(vec![began(), unwind, step("a", started())]).contains("goes back"));
        let undoing = vec![began(), step("a", started()), step("a", Deed::UndoStarted), step("b", started())];
        assert!(problem(undoing).contains("goes back"));
    }

    #[test]
    fn an_operation_without_a_step_touched_nothing() {
        assert!(!fold(&log(vec![began()])).unwrap().touched_anything());
        assert!(fold(&log(vec![began(), step("a", started())])).unwrap().touched_anything());
    }
}
