//! What is written down, and when: the only file here that knows the lock and the journal.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ending::Judged;
use crate::aws::dynamodb::{Malformed, Write};
use crate::aws::{Error, ErrorKind};
use crate::clock::Clock;
use crate::journal::{self, Asked, Deed, Entry, OperationStatus, StepKey};
use crate::lock::{Held, Lost, Release};
use crate::model::{OperationId, OperationKind, Outcome, ReleaseRecord, Scope, Verdict};
use crate::plan::{Plan, StageName, Step};
use crate::steps::{Cx, StepError};

pub(super) struct Record<'a> {
    held: &'a Held,
    plan: &'a Plan,
    cx: &'a Cx,
    clock: Clock,
    /// Who does this, as the journal says.
    by: String,
    /// What the journal adds up to: nothing is written that must not follow.
    status: Mutex<OperationStatus>,
}

/// What is about to begin is written down again if it is older than this when it begins, where there is no way back from it.
const FRESH: Duration = Duration::from_secs(5);
/// Attempts to write it down that quickly.
const FRESH_TRIES: u32 = 10;

/// An error with its causes and its evidence, as the journal keeps it.
pub(super) fn whole(error: &StepError) -> String {
    let lines = std::iter::once(&error.what).chain(&error.because).chain(&error.evidence);
    lines.map(String::as_str).collect::<Vec<_>>().join("\n")
}

impl<'a> Record<'a> {
    pub fn new(held: &'a Held, cx: &'a Cx, plan: &'a Plan, status: OperationStatus, by: String) -> Self {
        Self { held, plan, cx, clock: cx.clock.clone(), by, status: Mutex::new(status) }
    }

    /// Who does this.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// The partition everything is written to.
    pub fn scope(&self) -> &Scope {
        self.held.scope()
    }

    /// A step was begun, by this process or by one before it.
    pub fn touched_anything(&self) -> bool {
        self.status().touched_anything()
    }

    fn status(&self) -> MutexGuard<'_, OperationStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status once these are written; the error says which must not be.
    fn then(&self, entries: &[Entry]) -> Result<OperationStatus, Lost> {
        let mut status = self.status().clone();
        match entries.iter().try_for_each(|entry| status.note(entry)) {
            Ok(()) => Ok(status),
            Err(problem) => Err(Lost::Aws(Error::new(
                "TransactWriteItems",
                ErrorKind::Invalid,
                "IllegalTransition",
                format!("this is a bug: {problem}"),
            ))),
        }
    }

    /// Writes entries that may follow what is written.
    async fn write(&self, entries: &[Entry], stage: Option<&str>) -> Result<(), Lost> {
        let status = self.then(entries)?;
        self.held.commit(entries.iter().map(Entry::item).collect(), Vec::new(), stage).await?;
        *self.status() = status;
        Ok(())
    }

    /// Closes what was taken over with the lock, and gives a new release its number. False: what was taken over has begun something, and
    /// this plan is not one that takes the place of another.
    pub async fn begin(&self) -> Result<bool, Lost> {
        if let Some(unfinished) = self.held.unfinished()
            && !self.close(&unfinished).await?
        {
            return Ok(false);
        }
        let Some(release) = self.plan.release.as_ref().filter(|_| self.plan.new_release) else { return Ok(true) };
        let record = ReleaseRecord {
            release: release.clone(),
            verdict: Verdict::Untried,
            by: self.cx.owner.clone(),
            at: self.now(),
            operation: self.held.operation(),
        };
        let writes = journal::create_release(self.scope(), &record, self.held.fence()).map_err(malformed)?;
        self.held.commit(Vec::new(), writes, None).await.map(|()| true)
    }

    /// An operation that had not begun a single step was never more than a wish; any other is left to the one that takes its place, whose
    /// plan was made from what the world shows of it.
    async fn close(&self, unfinished: &OperationId) -> Result<bool, Lost> {
        let touched = journal::began_something(&self.cx.aws.dynamodb, self.scope(), unfinished).await.map_err(Lost::Aws)?;
        // A rollback goes by what the world shows, and a bake finds what another has made.
        let supersedes = self.plan.kind == OperationKind::Rollback || !self.plan.kind.is_of_an_environment();
        if touched && !supersedes {
            return Ok(false);
        }
        let outcome = if touched { Outcome::Stranded } else { Outcome::Refused };
        let reason = format!("cut short; {} takes its place", self.cx.operation);
        let entries =
            [Entry::Asked { what: Asked::Superseded, by: self.by.clone() }, Entry::Ended { outcome, reason: Some(reason.clone()) }];
        let events = entries.iter().map(Entry::item).collect();
        self.held.settle(events, journal::ended(outcome, Some(&reason), &self.now())).await.map(|()| true)
    }

    /// These steps of a stage are about to run, and those are found done.
    pub async fn started(&self, stage: StageName, steps: &[&Step], found: &[(&Step, &str)]) -> Result<(), Lost> {
        let done = found.iter().map(|(step, text)| {
            let deed = Deed::Succeeded { found: Some((*text).to_string()) };
            Entry::Step(StepKey::new(stage, step), deed)
        });
        let mut entries: Vec<_> = done.collect();
        let needs_fresh = steps.iter().any(|step| !step.has_way_back() || matches!(step, Step::CutOverTraffic { .. }));
        for left in (0..FRESH_TRIES).rev() {
            entries.extend(self.intents(stage, steps));
            let sent = self.clock.moment();
            self.write(&std::mem::take(&mut entries), Some(&stage.to_string())).await?;
            if !needs_fresh || self.clock.since(sent) < FRESH {
                return Ok(());
            }
            tracing::warn!(%stage, left, "what is about to begin took long to write down");
        }
        let message = format!("{FRESH_TRIES} times what was to begin took longer than {} s to write down", FRESH.as_secs());
        Err(Lost::Aws(Error::new("TransactWriteItems", ErrorKind::Throttled, "", message)))
    }

    fn intents(&self, stage: StageName, steps: &[&Step]) -> Vec<Entry> {
        let status = self.status();
        let intent = |step: &&Step| {
            let key = StepKey::new(stage, step);
            let attempt = status.attempt(&key) + 1;
            Entry::Step(key, Deed::Started { attempt, before: None, after: None })
        };
        steps.iter().map(intent).collect()
    }

    /// Something happened to a step.
    pub async fn deed(&self, stage: StageName, step: &Step, deed: Deed) -> Result<(), Lost> {
        self.deeds(vec![(stage, step, deed)]).await
    }

    /// Something happened to several steps.
    pub async fn deeds(&self, deeds: Vec<(StageName, &Step, Deed)>) -> Result<(), Lost> {
        let entries: Vec<_> = deeds.into_iter().map(|(stage, step, deed)| Entry::Step(StepKey::new(stage, step), deed)).collect();
        if entries.is_empty() { Ok(()) } else { self.write(&entries, None).await }
    }

    /// Worth knowing later.
    pub async fn note(&self, text: String) -> Result<(), Lost> {
        self.write(&[Entry::Note { text }], None).await
    }

    /// It goes back, for good.
    pub async fn goes_back(&self, why: &str) -> Result<(), Lost> {
        let entries = [Entry::Asked { what: Asked::Unwind, by: self.by.clone() }, Entry::Note { text: why.to_string() }];
        self.write(&entries, Some("unwind")).await
    }

    /// The operation is over: its end, what serves now, what is thought of the releases, and the lock given back, in one transaction.
    /// A stranded one keeps the environment marked as unfinished.
    pub async fn end(&self, outcome: Outcome, reason: Option<&str>, judged: &[Judged]) -> Result<(), Lost> {
        let mut events: Vec<_> = judged.iter().map(|judged| Entry::Verdict { text: judged.to_string() }.item()).collect();
        if outcome == Outcome::Stranded {
            // Not over: `open` stays, so that nobody takes the environment for settled, and whoever settles it writes the end.
            events.push(Entry::Note { text: format!("stranded: {}", reason.unwrap_or_default()) }.item());
            return self.held.release(Release { events, ..Release::default() }).await;
        }
        events.push(Entry::Ended { outcome, reason: reason.map(str::to_string) }.item());
        let mut writes: Vec<Write> = Vec::new();
        let serves = outcome == Outcome::Deployed && matches!(self.plan.kind, OperationKind::Deploy | OperationKind::Rollback);
        if serves && self.plan.before != self.plan.serving {
            writes.push(journal::serve(self.scope(), &self.plan.serving, &self.plan.before, self.held.fence()));
        }
        writes.extend(judged.iter().map(|judged| journal::judge(self.scope(), judged.release, &judged.verdict)));
        let ended = journal::ended(outcome, reason, &self.now());
        self.held.release(Release { events, ended: Some(ended), writes }).await
    }

    /// The weights were looked at once more, and this was found; when they are still to be looked at is kept.
    pub async fn looked(&self, found: Option<&str>, left: &[u64]) -> Result<(), Lost> {
        let entries: Vec<_> = found.into_iter().map(|text| Entry::Horizon { zombie: false, text: text.to_string() }).collect();
        let status = self.then(&entries)?;
        let writes = vec![journal::checked(self.scope(), left, self.held.fence())];
        self.held.commit(entries.iter().map(Entry::item).collect(), writes, None).await?;
        *self.status() = status;
        Ok(())
    }

    /// What somebody who lost the lock had sent before is about to be put right.
    pub async fn landed_late(&self, text: &str) -> Result<(), Lost> {
        self.write(&[Entry::Horizon { zombie: true, text: text.to_string() }], None).await
    }

    /// The lock is given back and the operation is not over.
    pub async fn hand_over(&self, by: &str, why: &str) -> Result<(), Lost> {
        let events = vec![Entry::Halted { by: by.to_string(), why: why.to_string() }.item()];
        self.held.release(Release { events, ..Release::default() }).await
    }

    fn now(&self) -> String {
        self.clock.wall().to_string()
    }
}

fn malformed(malformed: Malformed) -> Lost {
    Lost::Aws(Error::new("TransactWriteItems", ErrorKind::Invalid, "MalformedRow", malformed.to_string()))
}
