//! How an operation ended, in words for the operator and in verdicts on releases.

use std::fmt;

use super::{Executor, Halt, Interrupt, Side};
use crate::failure::{End, Failure};
use crate::lock::Release;
use crate::model::{OperationKind, Outcome, ReleaseNumber, Seconds, Verdict};
use crate::plan::{Plan, StageName, Step};
use crate::steps::StepError;

/// How it ended. What serves visitors now is for the caller to look at and to say.
#[derive(Debug, Clone)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// What went wrong and with which exit code; none if all is well. After a cutover both are possible: deployed, and in trouble.
    pub failure: Option<Failure>,
    /// How long it took.
    pub took: Seconds,
}

/// Why an unwind did not get to its end.
pub(super) enum Undone {
    /// These could not be undone.
    Failed(Vec<(Step, StepError)>),
    /// The lock is not ours any more, or nothing can be journalled.
    Lost(String),
}

/// What is thought of a release from now on.
pub(super) struct Judged {
    pub release: ReleaseNumber,
    pub verdict: Verdict,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Untried => write!(f, "{} is untried", self.release),
            Verdict::Good => write!(f, "{} is good", self.release),
            Verdict::Bad { reason } => write!(f, "{} is bad: {reason}", self.release),
        }
    }
}

impl Halt {
    /// One line.
    pub fn reason(&self) -> String {
        match self {
            Self::Failed { stage, error, .. } => format!("{stage}: {}", error.what),
            Self::Asked { stage, by } => format!("{by}, at {stage}"),
            Self::Aborted { by } => format!("{by} asked to undo it"),
            Self::GoingBack => "it was going back when it stopped".to_string(),
            Self::Lost(why) => why.clone(),
        }
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyboard => f.write_str("interrupted"),
            Self::Signal => f.write_str("terminated"),
            Self::Colleague(who, why) => write!(f, "stopped by {who}: {why}"),
        }
    }
}

impl Interrupt {
    /// The exit code of an operation that stopped because of it.
    pub fn end(&self) -> End {
        match self {
            Self::Keyboard => End::Interrupted,
            Self::Signal => End::Terminated,
            Self::Colleague(..) => End::RolledBack,
        }
    }
}

/// `the deploy of r42`.
fn subject(plan: &Plan) -> String {
    let release = plan.release.as_ref().map_or_else(|| "nothing".to_string(), |release| release.number.to_string());
    match plan.kind {
        OperationKind::Deploy => format!("the deploy of {release}"),
        OperationKind::Rollback => format!("the rollback to {release}"),
        OperationKind::Scale => "the change of sizes".to_string(),
        OperationKind::Setup => "the setup".to_string(),
        OperationKind::Bake => "the bake".to_string(),
        OperationKind::Images => "what was done with images".to_string(),
        OperationKind::Review => "the work on the review box".to_string(),
    }
}

fn ended(outcome: Outcome, failure: impl Into<Option<Failure>>) -> Ending {
    Ending { outcome, failure: failure.into(), took: Seconds(0) }
}

/// Adds what a step said of its failure.
fn with_causes(mut failure: Failure, error: &StepError) -> Failure {
    failure.because.push(error.what.clone());
    failure.because.extend(error.because.iter().cloned());
    failure.evidence.extend(error.evidence.iter().cloned());
    failure
}

impl Executor<'_> {
    fn command(&self, verb: &str) -> String {
        format!("adstage {verb} {}", self.cx.environment.name)
    }

    /// What to type when a review box's operation did not end well, unless this is about an environment.
    fn about_box(&self) -> Option<[String; 2]> {
        let name = self.record.scope().name().strip_prefix("review.").filter(|_| self.plan.kind == OperationKind::Review)?;
        Some([format!("adstage review delete {name}"), "adstage review list".to_string()])
    }

    /// What to type: these, or what there is for an image or a review box.
    fn ways(&self, usual: impl IntoIterator<Item = String>) -> Vec<String> {
        if matches!(self.plan.kind, OperationKind::Bake | OperationKind::Images) {
            return vec!["adstage image list".to_string()];
        }
        self.about_box().map_or_else(|| usual.into_iter().collect(), Vec::from)
    }

    /// Nothing of it is undone, and it can be repeated.
    fn repeatable(&self) -> bool {
        let removes = |step: &Step| matches!(step, Step::DeleteBoxTargetGroups { .. } | Step::ApproveBox { .. });
        let creates = |step: &Step| matches!(step, Step::LaunchBox { .. });
        let any = |is: &dyn Fn(&Step) -> bool| self.plan.stages.iter().flat_map(|stage| &stage.steps).any(is);
        self.plan.kind == OperationKind::Setup || (any(&removes) && !any(&creates))
    }

    fn moves_releases(&self) -> bool {
        matches!(self.plan.kind, OperationKind::Deploy | OperationKind::Rollback)
    }

    /// Through, or past the point of no return: what the plan promised serves.
    pub(super) async fn deployed(&self, halt: Option<Halt>) -> Ending {
        let failure = halt.as_ref().map(|halt| self.trouble(halt));
        let reason = halt.as_ref().map(Halt::reason);
        if let Some(reason) = &reason {
            self.on_failure(Outcome::Deployed, reason).await;
        }
        let watched = !matches!(halt, Some(Halt::Failed { stage: StageName::Watch, .. }));
        let looked = self.last_look(&self.plan.serving).await;
        let ending = async || self.record.end(Outcome::Deployed, reason.as_deref(), &self.verdicts(watched)).await;
        match looked.and(ending().await) {
            Ok(()) => ended(Outcome::Deployed, failure),
            Err(lost) => self.lost(&lost.to_string(), Side::After),
        }
    }

    /// A release that served through its watch is good. One that is left for an earlier one is bad.
    fn verdicts(&self, watched: bool) -> Vec<Judged> {
        let Some(release) = self.plan.release.as_ref().filter(|_| self.moves_releases()) else { return Vec::new() };
        let mut judged = Vec::new();
        if watched && self.plan.before != self.plan.serving {
            judged.push(Judged { release: release.number, verdict: Verdict::Good });
        }
        if self.plan.kind == OperationKind::Rollback {
            let reason = || format!("rolled back to {} by {}", release.number, self.record.by());
            let worse = self.plan.left().into_iter().filter(|left| *left > release.number);
            judged.extend(worse.map(|release| Judged { release, verdict: Verdict::Bad { reason: reason() } }));
        }
        judged
    }

    fn trouble(&self, halt: &Halt) -> Failure {
        let release = self.plan.release.as_ref().map_or_else(|| "it".to_string(), |release| release.number.to_string());
        match halt {
            Halt::Failed { error, .. } if self.plan.kind == OperationKind::Scale => {
                let what = "the sizes are what was asked for, but not every instance came up";
                with_causes(Failure::new(End::Trouble, what), error).next(self.command("status"))
            }
            Halt::Asked { by, .. } if self.plan.kind == OperationKind::Scale => {
                Failure::new(by.end(), format!("{by} while waiting: the sizes are what was asked for")).next(self.command("status"))
            }
            Halt::Failed { stage: StageName::Watch, error, .. } => {
                let what = format!("{release} has all visitors and does not look well");
                with_causes(Failure::new(End::Trouble, what), error).next(self.command("rollback")).next(self.command("status"))
            }
            Halt::Failed { stage, step, error } => {
                let what = format!("{release} has all visitors, but what comes after it failed at {stage}");
                let failure = with_causes(Failure::new(End::Trouble, what), error).evidence(format!("not done: {step}"));
                failure.next(self.command("status"))
            }
            Halt::Asked { by, .. } => {
                let end = if matches!(by, Interrupt::Colleague(..)) { End::Trouble } else { by.end() };
                let failure = Failure::new(end, format!("{by} after the cutover: {release} has all visitors"));
                failure.because("what takes long was left out: the next deploy retires older fleets").next(self.command("status"))
            }
            // Neither leads here: what goes back does not end as deployed.
            Halt::Aborted { .. } | Halt::GoingBack => Failure::new(End::Unexpected, halt.reason()),
            Halt::Lost(why) => Failure::new(End::Stranded, why.clone()),
        }
    }

    /// Everything is as before.
    pub(super) async fn rolled_back(&self, halt: &Halt) -> Ending {
        let reason = halt.reason();
        if !matches!(halt, Halt::Aborted { .. }) {
            self.on_failure(Outcome::RolledBack, &reason).await;
        }
        // What was divided before is divided again, and is for whoever puts it right: until then the reason to look stays.
        let divided = self.plan.divided;
        let looked = if divided { Ok(()) } else { self.last_look(&self.plan.before).await };
        let ending = async || self.record.end(Outcome::RolledBack, Some(&reason), &self.blamed(halt)).await;
        if let Err(lost) = looked.and(ending().await) {
            return self.lost(&lost.to_string(), Side::Before);
        }
        let subject = subject(self.plan);
        let failure = match halt {
            Halt::Failed { stage, error, .. } => {
                let what = match self.plan.kind {
                    OperationKind::Setup => format!("{subject} failed at {stage}; what it made stays, and it can be repeated"),
                    _ if self.repeatable() => format!("{subject} failed at {stage}; it can be repeated"),
                    _ => format!("{subject} failed at {stage}, so it was undone"),
                };
                with_causes(Failure::new(End::RolledBack, what), error)
            }
            Halt::Asked { by, stage } => Failure::new(by.end(), format!("{subject} was {by}, at {stage}; it was undone")),
            // That is what was asked for.
            Halt::Aborted { .. } => return ended(Outcome::RolledBack, None),
            Halt::GoingBack => Failure::new(End::RolledBack, format!("{subject} was going back, and is undone now")),
            Halt::Lost(why) => Failure::new(End::Stranded, why.clone()),
        };
        let next = if self.moves_releases() { self.command("history") } else { "adstage image list".to_string() };
        let next = if self.plan.kind == OperationKind::Setup { self.command("setup") } else { next };
        let next = self.about_box().map_or(next, |[_, list]| list);
        if !divided {
            return ended(Outcome::RolledBack, failure.next(next));
        }
        let failure = failure.because("what an operation before it had left half done is half done again");
        ended(Outcome::RolledBack, failure.next(self.command("rollback")).next(next))
    }

    /// A new release whose own instances did not prove themselves is bad; what else went wrong says nothing about it.
    fn blamed(&self, halt: &Halt) -> Vec<Judged> {
        let Halt::Failed { stage: StageName::Await | StageName::Verify | StageName::Watch, error, .. } = halt else { return Vec::new() };
        let new = self.plan.release.as_ref().filter(|_| self.plan.new_release && error.kind.is_none());
        let bad = |release: ReleaseNumber| Judged { release, verdict: Verdict::Bad { reason: error.what.clone() } };
        new.map(|release| bad(release.number)).into_iter().collect()
    }

    /// A person is needed: going back did not get to its end.
    pub(super) async fn stranded(&self, halt: &Halt, undone: Undone) -> Ending {
        let failed = match undone {
            Undone::Lost(why) => return self.lost(&why, Side::Before),
            Undone::Failed(failed) => failed,
        };
        self.on_failure(Outcome::Stranded, &halt.reason()).await;
        let mut failure = Failure::new(End::Stranded, format!("{} failed, and could not be undone wholly", subject(self.plan)));
        failure.because.push(halt.reason());
        if let Halt::Failed { error, .. } = halt {
            failure.because.extend(error.because.iter().cloned());
        }
        for (step, error) in &failed {
            failure.evidence.push(format!("not undone: {step}"));
            failure.evidence.push(format!("  {}", error.what));
            failure.evidence.extend(error.because.iter().map(|cause| format!("  {cause}")));
        }
        // Nothing more can be done if not even this is written: the lease lapses, and the journal says where it stood.
        if let Err(lost) = self.record.end(Outcome::Stranded, Some(&halt.reason()), &[]).await {
            failure.because.push(lost.to_string());
        }
        let again = format!("{} --abort", self.command("resume"));
        let ways = self.ways([again, self.command("rollback"), self.command("status")]);
        ended(Outcome::Stranded, ways.into_iter().fold(failure, Failure::next))
    }

    /// The lock is gone, so nothing may be changed any more, not even back.
    pub(super) fn lost(&self, why: &str, side: Side) -> Ending {
        let what = match side {
            Side::Before => format!("{} was cut short", subject(self.plan)),
            Side::After => format!("{} was cut short after the cutover", subject(self.plan)),
        };
        let failure = Failure::new(End::Stranded, what).because(why);
        let failure = failure.because("nothing was undone: what was begun stays for whoever holds the lock, or takes it next");
        let ways = self.ways([self.command("lock show"), self.command("status"), self.command("rollback")]);
        ended(Outcome::Stranded, ways.into_iter().fold(failure, Failure::next))
    }

    /// A colleague asked it to stop: nothing is undone, and the operation stays open for whoever comes next.
    pub(super) async fn handed_over(&self, stage: StageName, who: &str, why: &str) -> Ending {
        if !self.record.touched_anything() {
            return self.refused(&format!("{who} asked it to stop: {why}")).await;
        }
        if let Err(lost) = self.record.hand_over(who, why).await {
            return self.lost(&lost.to_string(), Side::Before);
        }
        let failure = Failure::new(End::TimedOut, format!("{} was stopped by {who}, at {stage}: {why}", subject(self.plan)));
        let failure = failure.because("nothing was undone: whoever comes next goes on, undoes it, or rolls back");
        let commands = [self.command("resume"), self.command("resume") + " --abort", self.command("rollback")];
        ended(Outcome::Halted, commands.into_iter().fold(failure, Failure::next))
    }

    /// It was resumed, and there was nothing to resume: nothing of it had begun.
    pub(super) async fn never_begun(&self) -> Ending {
        match self.record.end(Outcome::Refused, Some("cut short before its first step"), &[]).await {
            Ok(()) => ended(Outcome::Refused, None),
            Err(lost) => self.lost(&lost.to_string(), Side::Before),
        }
    }

    /// What was taken over with the lock has begun something, and is settled first.
    pub(super) async fn unsettled(&self) -> Ending {
        let unfinished = self.held.operation();
        let failure = Failure::new(End::Locked, format!("{} was not begun", subject(self.plan)));
        let failure = failure.because(format!("operation {unfinished} stopped before its end, and is to be settled first"));
        self.leave_open(failure.next(self.command("resume")).next(self.command("rollback"))).await
    }

    /// The lock is given back, and what was taken over with it stays as it is.
    async fn leave_open(&self, failure: Failure) -> Ending {
        match self.held.release(Release::default()).await {
            Ok(()) => ended(Outcome::Refused, failure),
            Err(lost) => self.lost(&lost.to_string(), Side::Before),
        }
    }

    /// Not one step was begun.
    pub(super) async fn refused(&self, why: &str) -> Ending {
        let failure = Failure::new(End::Refused, format!("{} was not begun", subject(self.plan))).because(why);
        let next = self.about_box().map_or_else(|| self.command("status"), |[_, list]| list);
        if self.held.unfinished().is_some() {
            // The lock is still held for what was taken over: its end is not ours to write.
            return self.leave_open(failure.next(next)).await;
        }
        match self.record.end(Outcome::Refused, Some(why), &[]).await {
            Ok(()) => ended(Outcome::Refused, failure.next(next)),
            Err(lost) => self.lost(&lost.to_string(), Side::Before),
        }
    }
}
