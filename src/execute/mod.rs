//! Runs a plan: prove the lease and journal, run, journal; on trouble go back.
//!
//! There is one point in a plan that matters: the cutover. Until it is through, any failure and any interruption
//! undoes every step that was started, in reverse, and the operation ends as before. Once it is through, nothing is undone: the visitors
//! are on a verified release, and what goes wrong then is said (exit 9), with what is left to do; unless the watch sees that they are served
//! worse than before, and the environment or the operator wants them back ([`trouble`]). A plan without a cutover (workers only)
//! has its point where the watch or the settling begins; setups and bakes have none.
//!
//! A step that only looks may be stopped at any moment. A step that changes something is always waited for: a call that is dropped half
//! way may or may not have been carried out.

mod board;
mod ending;
mod horizon;
mod on_failure;
mod record;
mod resume;
mod stop;
mod trouble;
mod unwind;
mod wave;

use std::sync::Arc;

pub use ending::Ending;
pub use resume::{NotResumed, Remains, remains, resume};
pub use stop::Interrupt;
use tokio::sync::watch;

use crate::aws::Guard;
use crate::journal::OperationStatus;
use crate::lock::{Held, Lost};
use crate::model::{Event, Mark, Seconds};
use crate::plan::{Backward, Course, Onward, Plan, Stage, StageName, Step, undoing};
use crate::steps::{self, Cx, StepError};
use board::Board;
use record::Record;
use stop::Stop;
use wave::{Wave, WaveEnd};

/// Where events go.
pub type Emit = Arc<dyn Fn(Event) + Send + Sync>;

/// Where a stage is, seen from the moment visitors move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Everything can be undone.
    Before,
    /// The release serves; there is no undoing, only going back by a new operation.
    After,
}

/// Why the stages did not all run.
#[derive(Debug)]
enum Halt {
    /// A step failed.
    Failed { stage: StageName, step: String, error: StepError },
    /// Somebody said stop.
    Asked { stage: StageName, by: Interrupt },
    /// Somebody who resumed it wants it undone.
    Aborted { by: String },
    /// It was going back when its process vanished.
    GoingBack,
    /// The lock is not ours any more, or nothing can be journalled.
    Lost(String),
}

/// Runs the plan under the lock and ends its operation: the records, the verdict and the lock are as they must be when this returns,
/// unless the lock was lost. `serving` of the failure is left to the caller, who looks again.
pub async fn run(plan: &Plan, cx: Cx, held: &Held, emit: &Emit, interrupt: watch::Receiver<Option<Interrupt>>) -> Ending {
    let began = cx.clock.moment();
    let cx = guarded(cx, held);
    let record = Record::new(held, &cx, plan, OperationStatus::begun(), cx.owner.clone());
    let executor = Executor { plan, cx: &cx, held, emit, record: &record };
    let ending = match record.begin().await {
        Ok(false) => executor.unsettled().await,
        Ok(true) => match Course::all(plan) {
            Course::Forward(course) => match executor.in_the_way().await {
                Some(strangers) => executor.refused(&strangers).await,
                None => executor.forward(&course, Stop::new(interrupt, held)).await,
            },
            Course::Back(course) => executor.back(&course, Halt::GoingBack).await,
        },
        Err(lost) => executor.not_begun(lost).await,
    };
    Ending { took: Seconds::from(cx.clock.since(began)), ..ending }
}

/// The context with every change behind the lease guard.
fn guarded(cx: Cx, held: &Held) -> Cx {
    let guard: Guard = held.guard();
    Cx { aws: cx.aws.guarded(guard), ..cx }
}

struct Executor<'a> {
    plan: &'a Plan,
    cx: &'a Cx,
    held: &'a Held,
    emit: &'a Emit,
    record: &'a Record<'a>,
}

/// Stages begun so far: how many waves, so an unwind knows where to start.
struct Reached {
    waves: usize,
    side: Side,
    /// Why it did not all run, or not as long as it should have.
    halt: Option<Halt>,
}

/// A stage and what to do with each of its steps.
type Due<'a> = (&'a Stage, &'a [Onward]);

/// It only runs commands of the company's.
fn is_hook(stage: &Stage) -> bool {
    stage.steps.iter().all(|step| matches!(step, Step::RunHook(_)))
}

fn is_done((_, acts): &Due<'_>) -> bool {
    acts.iter().all(|act| *act == Onward::Done)
}

impl Executor<'_> {
    async fn forward(&self, course: &[Vec<Onward>], mut stop: Stop<'_>) -> Ending {
        self.quiet().await;
        let reached = self.stages(course, &mut stop).await;
        match (reached.halt, reached.side) {
            (None, _) => self.deployed(None).await,
            (Some(Halt::Lost(why)), side) => self.lost(&why, side),
            (Some(halt), Side::After) if self.goes_back(&halt).await => self.undo_begun(reached.waves, halt).await,
            (Some(halt @ Halt::Failed { stage: StageName::Watch, .. }), Side::After) => {
                self.stays(course, reached.waves, &mut stop).await;
                self.deployed(Some(halt)).await
            }
            (Some(halt), Side::After) => self.deployed(Some(halt)).await,
            // Whoever asked has a plan of their own, and undoing takes longer than they want to wait. A bake is nobody else's.
            (Some(Halt::Asked { stage, by: Interrupt::Colleague(who, why) }), Side::Before) if self.plan.kind.is_of_an_environment() => {
                self.handed_over(stage, &who, &why).await
            }
            (Some(halt), Side::Before) => self.undo_begun(reached.waves, halt).await,
        }
    }

    /// Visitors stay on a release that does not look well: it must at least heal and grow like any other. Nothing goes that it could still
    /// be left for.
    async fn stays(&self, course: &[Vec<Onward>], begun: usize, stop: &mut Stop<'_>) {
        let of = |(at, (stage, acts)): (usize, (&Stage, &Vec<Onward>))| {
            let needed = |(step, act): (&Step, &Onward)| if at >= begun && step.settles() { act.clone() } else { Onward::Done };
            stage.steps.iter().zip(acts).map(needed).collect()
        };
        let rest: Vec<Vec<Onward>> = self.plan.stages.iter().zip(course).enumerate().map(of).collect();
        if let Some(halt) = self.stages(&rest, stop).await.halt {
            let text = format!("it does not heal by itself yet: {}; the next deploy sees to it", halt.reason());
            (self.emit)(Event::Said { mark: Mark::Warning, text });
        }
    }

    async fn undo_begun(&self, waves: usize, halt: Halt) -> Ending {
        let begun = &self.plan.stages[..waves];
        let acts: Vec<Vec<Backward>> = begun.iter().map(|stage| undoing(stage.name, &stage.steps)).collect();
        self.back(&acts, halt).await
    }

    /// Somebody else's things under the names that are about to be given. If nobody can tell, each step finds out for itself.
    async fn in_the_way(&self) -> Option<String> {
        let strangers = steps::strangers(self.plan, self.cx).await.unwrap_or_default();
        (!strangers.is_empty()).then(|| strangers.join("; "))
    }

    /// Whoever the lock was taken from by force may not know it yet: until what it has sent has landed, nothing is changed.
    async fn quiet(&self) {
        let wait = self.held.must_wait();
        if !wait.is_zero() {
            let span = Seconds(wait.as_secs() + 1);
            let text = format!("the lock was broken, and its holder may not know it yet: nothing is changed for {span}");
            (self.emit)(Event::Said { mark: Mark::Note, text });
            self.cx.clock.sleep(span.duration()).await;
        }
    }

    /// Phase by phase: neighbours of one name are one stage to the operator.
    async fn stages(&self, course: &[Vec<Onward>], stop: &mut Stop<'_>) -> Reached {
        let mut reached = Reached { waves: 0, side: Side::Before, halt: None };
        let due: Vec<Due<'_>> = self.plan.stages.iter().zip(course).map(|(stage, acts)| (stage, acts.as_slice())).collect();
        for phase in due.chunk_by(|(one, _), (other, _)| one.name == other.name) {
            // Done before this process came.
            if phase.iter().all(is_done) {
                reached.waves += phase.len();
                continue;
            }
            let board = Board::open(self.emit, &self.cx.clock, phase);
            let went = self.phase(phase, &board, stop, &mut reached).await;
            board.close(went.as_ref().err());
            if let Err(halt) = went {
                reached.halt = Some(halt);
                return reached;
            }
        }
        reached.side = side(self.plan, reached.waves);
        reached
    }

    async fn phase(&self, phase: &[Due<'_>], board: &Arc<Board>, stop: &mut Stop<'_>, reached: &mut Reached) -> Result<(), Halt> {
        for due in phase {
            let (stage, acts) = *due;
            let name = stage.name;
            reached.side = side(self.plan, reached.waves);
            if is_done(due) {
                reached.waves += 1;
                continue;
            }
            let takes_long = stage.steps.iter().any(|step| !step.has_way_back());
            // After the cutover only what is quick is still done: the next deploy retires what this one leaves.
            if let Some(by) = stop.asked().filter(|_| reached.side == Side::Before || takes_long) {
                return Err(Halt::Asked { stage: name, by });
            }
            reached.waves += 1;
            let wave = Wave { stage, acts, cx: self.cx, held: self.held, record: self.record, board, side: reached.side };
            match wave.run(stop).await {
                WaveEnd::Done => {}
                WaveEnd::Asked(by) if reached.side == Side::After => _ = reached.halt.get_or_insert(Halt::Asked { stage: name, by }),
                WaveEnd::Asked(by) => return Err(Halt::Asked { stage: name, by }),
                WaveEnd::Failed(step, error) if reached.side == Side::After && is_hook(stage) => {
                    // Trouble, but what the release itself still needs is done all the same.
                    (self.emit)(Event::Said { mark: Mark::Warning, text: error.what.clone() });
                    reached.halt.get_or_insert(Halt::Failed { stage: StageName::CutOver, step, error });
                }
                WaveEnd::Failed(step, error) => return Err(Halt::Failed { stage: name, step, error }),
                WaveEnd::Lost(why) => return Err(Halt::Lost(why)),
            }
        }
        Ok(())
    }

    async fn not_begun(&self, lost: Lost) -> Ending {
        let why = lost.to_string();
        if lost.is_final() { self.lost(&why, Side::Before) } else { self.refused(&why).await }
    }
}

/// On which side of the cutover the wave with this index is.
fn side(plan: &Plan, wave: usize) -> Side {
    if plan.turning_point().is_some_and(|point| wave >= point) { Side::After } else { Side::Before }
}
