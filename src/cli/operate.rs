//! What every command that changes something does, in this order: look, plan, show, confirm, lock, look and plan again, run, look, say
//! what serves. Only what is planned differs.

mod halt_first;
mod taking;

use serde_json::json;

use super::Global;
use super::access::{Access, refused};
use super::confirm::Question;
use super::desk::Desk;
use super::interrupt::Interrupts;
use super::{interrupt, resume};
use crate::aws::Error;
use crate::execute;
use crate::failure::{End, Failure};
use crate::journal::{self, Entry};
use crate::lock::{self, Blocked, Held, Release, Watch};
use crate::model::{BoxName, Confirm, Event, Mark, OperationId, OperationKind, Outcome, Purchases, Room, Scope, Serving, World, serving};
use crate::observe::{self, Wants};
use crate::plan::{self, Ask, Plan, Refusal};

/// What is to be done.
pub struct Work<'w> {
    /// `deploy`.
    pub verb: &'static str,
    /// What it is done to, for messages: the environment, or the image.
    pub subject: String,
    /// The command as it would be typed again, without answers: `adstage deploy production`.
    pub command: String,
    /// Whose lock and journal.
    pub scope: Scope,
    /// What to look at.
    pub look: Look,
    /// What it launches for sure, so that room for it is looked for from the start. If a plan launches what is not said here, there is a
    /// second look.
    pub launches: Purchases,
    /// Decides.
    pub plan: &'w (dyn Fn(&World) -> Result<Plan, Refusal> + Sync),
    /// What the operator must answer.
    pub confirm: Confirm,
    /// What Enter alone answers.
    pub default: bool,
    /// What a person's freeze is to it.
    pub freeze: Freeze,
    /// What it does about somebody who is at work.
    pub at_work: AtWork,
    /// What becomes of an operation that stopped before its end.
    pub on_unfinished: OnUnfinished,
    /// Only show the plan.
    pub preview: Preview,
}

/// What becomes of an unfinished operation that has begun something when another command comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnfinished {
    /// The new one takes its place: its plan is made from what the world shows.
    Supersede,
    /// Nothing is done: a person decides.
    Stop,
    /// It is settled first, so.
    Settle(Ask),
}

impl<'w> Work<'w> {
    /// Work on images or review boxes: no visitor notices it, so no freeze concerns it, and whoever comes next takes its place. Nothing is
    /// asked.
    pub fn unseen(
        verb: &'static str,
        subject: String,
        command: String,
        scope: Scope,
        look: Look,
        plan: &'w (dyn Fn(&World) -> Result<Plan, Refusal> + Sync),
        preview: Preview,
    ) -> Self {
        let (confirm, freeze, at_work, on_unfinished) = (Confirm::None, Freeze::Passed, AtWork::Waits, OnUnfinished::Supersede);
        let launches = Purchases::new();
        Self { verb, subject, command, scope, look, launches, plan, confirm, default: true, freeze, at_work, on_unfinished, preview }
    }

    fn desk(&'w self, access: &'w Access, global: &'w Global) -> Desk<'w> {
        let Self { verb, subject, command, scope, look, .. } = self;
        Desk { verb, subject, command, scope, serves: matches!(look, Look::Environment { .. }), access, global }
    }
}

/// What a person's freeze is to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freeze {
    /// It stops it.
    Stops,
    /// It does not concern it.
    Passed,
    /// It would stop it, but somebody has a reason.
    Overridden(String),
}

/// What a command does about somebody who is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtWork {
    /// It waits for them, if it was told to.
    Waits,
    /// It halts them.
    Halts,
}

/// What has to be known to plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// The environment.
    Environment {
        /// And the app's images.
        images: bool,
    },
    /// The app's images only.
    Images,
    /// One review box, the listener it is behind, and the app's images.
    Box(BoxName),
    /// One review box and the app's images, for a command that is about these.
    BoxImage(BoxName),
    /// The app's images, what they are used for, and what refers to them.
    Shelf,
}

/// `--plan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Preview {
    /// Print what would be done and end
    #[arg(long)]
    pub plan: bool,
    /// With --plan: end with 10 if there is something to do
    #[arg(long, requires = "plan")]
    pub exit_code: bool,
}

/// How it ended, for the last line and for programs.
pub struct Done {
    /// What was planned.
    pub plan: Plan,
    /// What visitors get now.
    pub serving: Serving,
}

/// Does it. What comes back was done without trouble, or needed nothing.
pub async fn operate(work: &Work<'_>, access: &Access, global: &Global) -> Result<Done, Failure> {
    let desk = work.desk(access, global);
    let operator = Operator { work, desk, access, global };
    let desk = &operator.desk;
    global.report.emit(&desk.hello());
    let mut world = operator.look().await?;
    operator.meet_freeze(&world).await?;
    let (mut watch, mut agreed) = (Watch::new(&global.clock), None);
    if world.records.holder().is_some() && !work.preview.plan {
        match work.at_work {
            AtWork::Waits => watch = desk.wait(&world).await?,
            AtWork::Halts => (agreed, watch) = operator.halt_first(&world, &serving(&access.environment, &world)).await?,
        }
        world = operator.look().await?;
    }
    if !work.preview.plan && operator.settles_first(&world).await? {
        (world, watch) = (operator.look().await?, Watch::new(&global.clock));
    }
    let before = serving(&access.environment, &world);
    if let Some(plan) = agreed.take_if(|agreed| operator.already(agreed, &world)) {
        desk.result(Outcome::Deployed, Some(&plan), &before, End::Done);
        return Ok(Done { plan, serving: before });
    }
    let (mut world, plan) =
        operator.planned_with_room(world).await.map_err(|failure| desk.ended(Outcome::Refused, None, &before, failure))?;
    let mut lines = plan::render(&plan);
    if work.at_work == AtWork::Halts {
        lines.splice(0..0, halt_first::named(&world));
    }
    if work.preview.plan {
        return operator.preview(&plan, &lines);
    }
    match &agreed {
        Some(agreed) => operator.still(agreed, &plan, &before)?,
        None => global.report.emit(&Event::Plan { lines }),
    }
    if plan.stages.is_empty() && !operator.closes(&world) {
        desk.result(Outcome::Deployed, Some(&plan), &before, End::Done);
        return Ok(Done { plan, serving: before });
    }
    if agreed.is_none() && !plan.stages.is_empty() {
        operator.confirmed(&plan).map_err(|failure| desk.ended(Outcome::Refused, Some(&plan), &before, failure))?;
    }
    // From here on a signal must not end the process: it would keep the lock until its lease lapses.
    let interrupts = interrupt::listen(&global.report);
    let (held, operation) = operator.lock(&plan, watch, &world, &before).await?;
    operator.locked(plan, world.room.take(), &held, operation, &before, interrupts).await
}

struct Operator<'o> {
    work: &'o Work<'o>,
    desk: Desk<'o>,
    access: &'o Access,
    global: &'o Global,
}

impl Operator<'_> {
    async fn look(&self) -> Result<World, Failure> {
        let launches = &self.work.launches;
        self.look_for((!launches.is_empty()).then_some(launches)).await
    }

    /// With room for this.
    async fn look_for(&self, room: Option<&Purchases>) -> Result<World, Failure> {
        let (aws, environment) = (&self.access.aws, &self.access.environment);
        let world = match &self.work.look {
            Look::Environment { images } => observe::world(aws, environment, &self.work.scope, Wants { images: *images, room }).await,
            Look::Images => observe::image_world(aws, environment, &self.work.scope).await,
            Look::Box(name) => observe::box_world(aws, environment, &self.work.scope, name, room).await,
            Look::Shelf => observe::shelf_world(aws, environment, &self.work.scope, &self.global.neighbours(environment)?).await,
            Look::BoxImage(name) => {
                let environment = &self.global.config()?.review()?.environment;
                observe::box_world(aws, environment, &self.work.scope, name, room).await
            }
        };
        let mut world = world.map_err(|error: Error| refused(error, environment))?;
        // A freeze that is over is none; a plan has no clock to know.
        world.records.freeze = world.records.freeze.filter(|freeze| lock::in_force(freeze, aws.dynamodb.now()));
        Ok(world)
    }

    /// What stopped before its end is settled before anything new is planned. True if it was; an operation that had begun nothing is
    /// closed on the way.
    async fn settles_first(&self, world: &World) -> Result<bool, Failure> {
        let Some(open) = world.records.lock.as_ref().and_then(|lock| lock.open.as_ref()) else { return Ok(false) };
        if self.work.on_unfinished == OnUnfinished::Supersede {
            return Ok(false);
        }
        let began_something = journal::began_something(&self.access.aws.dynamodb, &self.work.scope, open).await;
        if !began_something.map_err(|error| refused(error, &self.access.environment))? {
            return Ok(false);
        }
        match self.work.on_unfinished {
            OnUnfinished::Supersede => Ok(false),
            OnUnfinished::Settle(ask) => resume::settle(self.work.desk(self.access, self.global), ask).await.map(|()| true),
            OnUnfinished::Stop => {
                let before = serving(&self.access.environment, world);
                Err(self.desk.blocked(Blocked::Unfinished(open.clone()), None, &before).await)
            }
        }
    }

    /// The operator's yes.
    fn confirmed(&self, plan: &Plan) -> Result<(), Failure> {
        let doing = self.doing(plan);
        let question = Question { doing: &doing, command: &self.work.command, level: self.work.confirm, default: self.work.default };
        self.global.confirm(&self.access.environment, &question)
    }

    /// An operation stopped before its end, and this one takes its place: even if nothing is left to do, that is written down.
    fn closes(&self, world: &World) -> bool {
        self.work.on_unfinished == OnUnfinished::Supersede && world.records.lock.as_ref().is_some_and(|lock| lock.open.is_some())
    }

    /// The plan; if it launches something that nobody has looked for room for, after a second look.
    async fn planned_with_room(&self, world: World) -> Result<(World, Plan), Failure> {
        let plan = self.planned(&world)?;
        let launches = plan::launches(&plan, &world);
        if world.room.is_some() || launches.is_empty() {
            return Ok((world, plan));
        }
        let world = self.look_for(Some(&launches)).await?;
        let plan = self.planned(&world)?;
        Ok((world, plan))
    }

    /// The plan, sound, or why there is none.
    fn planned(&self, world: &World) -> Result<Plan, Failure> {
        let refused =
            |refusal: Refusal| Failure { because: refusal.because, next: refusal.next, ..Failure::new(End::Refused, refusal.what) };
        let plan = (self.work.plan)(world).map_err(refused)?;
        let flaws = plan::lint(&plan, Some(world).filter(|_| self.desk.serves));
        if flaws.is_empty() {
            return Ok(plan);
        }
        let what = format!("the plan to {} breaks adstage's own rules: this is a bug, and nothing was begun", self.doing(&plan));
        Err(flaws.iter().fold(Failure::new(End::Unexpected, what), Failure::because))
    }

    fn preview(&self, plan: &Plan, lines: &[String]) -> Result<Done, Failure> {
        let changes = !plan.stages.is_empty();
        let value = json!({ "changes": changes, "lines": lines, "plan": plan });
        self.global.report.result(&value, || lines.join("\n"))?;
        if changes && self.work.preview.exit_code {
            return Err(Failure::new(End::Changes, "there are changes"));
        }
        Ok(Done { plan: plan.clone(), serving: Serving::default() })
    }

    /// `deploy r42`.
    fn doing(&self, plan: &Plan) -> String {
        match (plan.kind, plan.release.as_ref().map(|release| release.number)) {
            (OperationKind::Deploy, Some(release)) => format!("deploy {release} to {}", self.work.subject),
            (OperationKind::Rollback, Some(release)) => format!("roll {} back to {release}", self.work.subject),
            _ => format!("{} {}", self.work.verb, self.work.subject),
        }
    }

    /// What was true before the lock may not be now. What there is room for is everybody's, and no lock holds it: it is not asked again.
    async fn plan_again(&self, operation: &OperationId, room: Option<Room>) -> Result<Plan, Failure> {
        let mut world = World { room, ..self.look_for(None).await? };
        // Ours is no unfinished one.
        world.records.operations.retain(|record| record.id != *operation);
        self.planned(&world)
    }

    fn difference(&self, plan: &Plan, again: &Plan) -> Failure {
        let (old, new) = (plan::render(plan), plan::render(again));
        let what = format!("{} changed while you looked at the plan; nothing was begun", self.work.subject);
        let mut failure = Failure::new(End::Refused, what).because("the plan would be another one now");
        failure.evidence.extend(old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}")));
        failure.evidence.extend(new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}")));
        failure.next(self.work.command.clone())
    }

    /// Ends our own operation as refused. One that was taken over with the lock stays open.
    async fn give_back(&self, held: &Held, reason: &str) {
        let mut release = Release::default();
        if held.unfinished().is_none() {
            let at = self.global.clock.wall().to_string();
            release.events = vec![Entry::Ended { outcome: Outcome::Refused, reason: Some(reason.to_string()) }.item()];
            release.ended = Some(journal::ended(Outcome::Refused, Some(reason), &at));
        }
        if let Err(lost) = held.release(release).await {
            let text = format!("the lock was not given back ({lost}); it lapses by itself");
            self.global.report.emit(&Event::Said { mark: Mark::Warning, text });
        }
    }

    /// Looks and plans once more, and runs the plan if it is still the one that was shown.
    async fn locked(
        &self,
        plan: Plan,
        room: Option<Room>,
        held: &Held,
        operation: OperationId,
        before: &Serving,
        interrupts: Interrupts,
    ) -> Result<Done, Failure> {
        let again = self.plan_again(&operation, room).await;
        let asked = interrupts.borrow().clone();
        let failure = match (asked, again) {
            (Some(by), _) => Failure::new(by.end(), format!("{by} before anything was begun")),
            (None, Ok(again)) if again == plan => return self.run(plan, held, operation, interrupts).await,
            (None, Ok(again)) if again.stages.is_empty() => {
                self.give_back(held, "somebody else did it meanwhile").await;
                self.desk.result(Outcome::Deployed, Some(&again), before, End::Done);
                return Ok(Done { plan: again, serving: before.clone() });
            }
            (None, Ok(again)) => self.difference(&plan, &again),
            (None, Err(failure)) => failure,
        };
        self.give_back(held, &failure.what).await;
        Err(self.desk.ended(Outcome::Refused, Some(&plan), before, failure))
    }

    async fn run(&self, plan: Plan, held: &Held, operation: OperationId, interrupts: Interrupts) -> Result<Done, Failure> {
        let ending = execute::run(&plan, self.desk.cx(operation), held, &self.global.report.emitter(), interrupts).await;
        let now = self.desk.now_serving().await;
        match ending.failure {
            Some(failure) => Err(self.desk.ended(ending.outcome, Some(&plan), &now, failure)),
            None => {
                self.desk.result(ending.outcome, Some(&plan), &now, End::Done);
                Ok(Done { plan, serving: now })
            }
        }
    }
}

impl Done {
    /// Prints the result: the attached outcome for programs, this text for people.
    pub fn say(&self, global: &Global, text: String) -> Result<(), Failure> {
        global.report.result(&global.report.attached(), || text)
    }
}
