//! `adstage resume`: an operation that stopped before its end is brought to it, or undone, from any machine.

use serde_json::json;

use super::Global;
use super::access::{Access, refused};
use super::confirm::Question;
use super::desk::Desk;
use super::operate::{AtWork, Freeze, Look, OnUnfinished, Preview, Work, operate};
use super::{history, interrupt};
use crate::execute::{self, Ending, Remains};
use crate::failure::{End, Failure};
use crate::lock::{Held, Intent, Release, Watch};
use crate::model::{Confirm, Event, Mark, OperationId, Outcome, Purchases, Scope, Seconds, Serving, World, serving};
use crate::observe::{self, Wants};
use crate::plan::{self, Ask};
use crate::report::bold;

/// Bring an operation to its end that stopped before it, or undo it; from any machine
///
///   adstage resume production
///   adstage resume production --plan
///   adstage resume production --abort
///
/// A deploy whose process was killed, whose laptop sleeps, or that a colleague asked to stop goes on
/// under its own plan: what is done is found done, what was begun is repeated, what is left is run.
/// What somebody else has changed meanwhile is never written over: then this stops and says so.
///
/// With --abort everything begun is undone, also after the cutover, until the first older fleet is
/// removed. After a day only that is possible.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment
    environment: String,
    /// Undo everything it began
    #[arg(long)]
    abort: bool,
    /// Print what would be done and end
    #[arg(long)]
    plan: bool,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let environment = global.environment(&args.environment)?;
    let access = global.connect(&environment).await?;
    let ask = if args.abort { Ask::Abort } else { Ask::GoOn };
    let scope = Scope::of(&environment);
    let abort = if args.abort { " --abort" } else { "" };
    let command = format!("adstage resume {}{abort}", environment.name);
    let desk = Desk {
        verb: "resume",
        subject: environment.name.as_str(),
        command: &command,
        scope: &scope,
        serves: true,
        access: &access,
        global,
    };
    let resuming = Resuming { desk, ask };
    let resumed = match resuming.resume(args.plan).await? {
        nothing @ Resumed::Nothing(_) => resuming.put_right(args.plan).await?.unwrap_or(nothing),
        resumed => resumed,
    };
    match resumed {
        Resumed::Shown => Ok(()),
        Resumed::Nothing(now) => {
            let text = || format!("Nothing to resume. {} serves {now}.", environment.name);
            global.report.result(&global.report.attached(), text)
        }
        Resumed::PutRight(now) => {
            let text = || format!("Visitors are back where the records say. {} serves {now}.", environment.name);
            global.report.result(&global.report.attached(), text)
        }
        Resumed::Ended(outcome, what, now) => {
            let took = Seconds::from(global.report.elapsed());
            let end = if outcome == Outcome::Deployed { "finished" } else { "undone" };
            let head = bold(&format!("The {what} is {end}. {} serves {now}.", environment.name));
            global.report.result(&global.report.attached(), || format!("{head} {took}\n"))
        }
    }
}

/// Settles what is unfinished, for a command that is about to begin something new.
pub async fn settle(desk: Desk<'_>, ask: Ask) -> Result<(), Failure> {
    Resuming { desk, ask }.resume(false).await.map(drop)
}

enum Resumed {
    /// `--plan`.
    Shown,
    /// Nothing was unfinished, but visitors were not where the records say; this is what serves now.
    PutRight(Serving),
    /// Nothing is unfinished, or nothing of it had begun.
    Nothing(Serving),
    /// It ended so; what it was; what serves now.
    Ended(Outcome, String, Serving),
}

struct Resuming<'r> {
    desk: Desk<'r>,
    ask: Ask,
}

impl Resuming<'_> {
    fn access(&self) -> &Access {
        self.desk.access
    }

    async fn look(&self) -> Result<World, Failure> {
        let Access { aws, environment, .. } = self.access();
        observe::world(aws, environment, self.desk.scope, Wants::default()).await.map_err(|error| refused(error, environment))
    }

    async fn resume(&self, only_show: bool) -> Result<Resumed, Failure> {
        let (desk, global) = (&self.desk, self.desk.global);
        let environment = &self.access().environment;
        global.report.emit(&desk.hello());
        let mut world = self.look().await?;
        let mut watch = Watch::new(&global.clock);
        if world.records.holder().is_some() && !only_show {
            watch = desk.wait(&world).await?;
            world = self.look().await?;
        }
        let before = serving(environment, &world);
        let Some(operation) = world.records.lock.as_ref().and_then(|lock| lock.open.clone()) else {
            return Ok(self.nothing(before));
        };
        let remains = execute::remains(&self.access().aws, environment, &operation, self.ask, &global.clock).await;
        let remains = remains.map_err(|why| self.not_resumed(why.failure(environment), &before))?;
        let lines = self.lines(&remains);
        if only_show {
            let value = json!({ "changes": true, "lines": lines, "operation": remains.begun.operation.record, "plan": remains.begun.plan });
            global.report.result(&value, || lines.join("\n"))?;
            return Ok(Resumed::Shown);
        }
        global.report.emit(&Event::Plan { lines });
        self.confirm(&remains).map_err(|failure| desk.ended(Outcome::Refused, Some(&remains.begun.plan), &before, failure))?;
        self.run(remains, operation, watch, &before).await
    }

    async fn run(&self, remains: Remains, operation: OperationId, watch: Watch, before: &Serving) -> Result<Resumed, Failure> {
        let (desk, global) = (&self.desk, self.desk.global);
        let plan = &remains.begun.plan;
        let what = history::doing(&remains.begun.operation.record);
        let who = global.identity(&self.access().caller);
        let verb = if self.ask == Ask::Abort { "undoing" } else { "resuming" };
        let intent = Intent::going_on(operation.clone(), format!("{verb} the {what}"), desk.secondaries(), global.hold());
        // From here on a signal must not end the process: it would keep the lock until its lease lapses.
        let interrupts = interrupt::listen(&global.report);
        let held = desk.lock(who, intent, Some(plan), watch, before, std::time::Duration::ZERO).await?;
        if let Some(other) = held.unfinished() {
            self.give_back(&held).await;
            let failure = Failure::new(End::Refused, format!("{operation} is settled, and {other} is unfinished now")).next(desk.command);
            return Err(desk.ended(Outcome::Refused, Some(plan), before, failure));
        }
        let ending = execute::resume(self.ask, desk.cx(operation), &held, &global.report.emitter(), interrupts).await;
        let now = desk.now_serving().await;
        let Ending { outcome, failure, .. } = ending;
        match failure {
            Some(failure) => Err(desk.ended(outcome, Some(plan), &now, failure)),
            None if outcome == Outcome::Refused => Ok(self.nothing(now)),
            None => {
                desk.result(outcome, Some(plan), &now, End::Done);
                Ok(Resumed::Ended(outcome, what, now))
            }
        }
    }

    /// Nothing is open; but a call of somebody who had lost the lock may have landed since.
    async fn put_right(&self, only_show: bool) -> Result<Option<Resumed>, Failure> {
        let (desk, environment) = (&self.desk, &self.access().environment);
        if plan::reassert(environment, &self.look().await?).is_ok_and(|plan| plan.stages.is_empty()) {
            return Ok(None);
        }
        let work = Work {
            verb: desk.verb,
            subject: desk.subject.to_string(),
            command: desk.command.to_string(),
            scope: desk.scope.clone(),
            look: Look::Environment { images: true },
            launches: Purchases::new(),
            plan: &|world| plan::reassert(environment, world),
            confirm: environment.confirm.at_most_a_yes(),
            default: true,
            freeze: Freeze::Passed,
            at_work: AtWork::Waits,
            on_unfinished: OnUnfinished::Stop,
            preview: Preview { plan: only_show, exit_code: false },
        };
        let done = operate(&work, self.access(), desk.global).await?;
        Ok(Some(if only_show { Resumed::Shown } else { Resumed::PutRight(done.serving) }))
    }

    fn nothing(&self, now: Serving) -> Resumed {
        self.desk.result(Outcome::Deployed, None, &now, End::Done);
        Resumed::Nothing(now)
    }

    fn not_resumed(&self, failure: Failure, before: &Serving) -> Failure {
        let outcome = if failure.end == End::Stranded { Outcome::Stranded } else { Outcome::Refused };
        self.desk.ended(outcome, None, before, failure)
    }

    /// What the operator is shown before anything is done.
    fn lines(&self, remains: &Remains) -> Vec<String> {
        let begun = &remains.begun;
        let record = &begun.operation.record;
        let mut lines = vec![format!("{}'s {}, stopped at {}", record.by, history::doing(record), record.stage)];
        match &remains.course {
            None => lines.push("  nothing of it had begun: it is closed".to_string()),
            Some(course) => lines.extend(plan::render_course(&begun.plan, course)),
        }
        lines
    }

    fn confirm(&self, remains: &Remains) -> Result<(), Failure> {
        let environment = &self.access().environment;
        let what = history::doing(&remains.begun.operation.record);
        let (doing, level) = match self.ask {
            Ask::GoOn => (format!("go on with the {what} on {}", environment.name), environment.confirm),
            // As quick as a rollback.
            Ask::Abort => (format!("undo the {what} on {}", environment.name), environment.confirm.at_most_a_yes()),
        };
        let level = if remains.course.is_none() { Confirm::None } else { level };
        self.desk.global.confirm(environment, &Question { doing: &doing, command: self.desk.command, level, default: true })
    }

    async fn give_back(&self, held: &Held) {
        if let Err(lost) = held.release(Release::default()).await {
            let text = format!("the lock was not given back ({lost}); it lapses by itself");
            self.desk.global.report.emit(&Event::Said { mark: Mark::Warning, text });
        }
    }
}
