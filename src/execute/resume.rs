//! Going on with an operation whose process is gone: the same operation, in the same journal, by the same steps, from any machine.

use std::time::Duration;

use tokio::sync::watch;

use super::record::Record;
use super::stop::{Interrupt, Stop};
use super::{Emit, Ending, Executor, Halt, guarded};
use crate::aws::{Aws, Error};
use crate::failure::{End, Failure};
use crate::journal::{self, Begun, Unreadable};
use crate::lock::{Held, Release};
use crate::model::{Direction, Environment, OperationId, Outcome, Scope, Seconds};
use crate::observe::{self, Wants};
use crate::plan::{Ask, Course, Unresumable};
use crate::steps::Cx;

/// Reads lag behind writes: what seems to be gone is looked at once more after this long.
const LAG: Duration = Duration::from_secs(10);

/// An unfinished operation and what remains of it.
#[derive(Debug, Clone)]
pub struct Remains {
    /// What it was to do, and how far it got.
    pub begun: Begun,
    /// What remains to be done; none if it never began a step.
    pub course: Option<Course>,
}

/// Why it is not gone on with. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum NotResumed {
    /// The records cannot be read, or not by this version.
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
    /// AWS did not answer, or with no.
    #[error("{0}")]
    Aws(#[from] Error),
    /// The world is not one its plan can be carried on in.
    #[error("{}", .0.refusal().what)]
    Unresumable(Unresumable),
}

/// Reads an unfinished operation back, looks at the world, and says what remains to be done. Changes nothing.
pub async fn remains(
    aws: &Aws,
    environment: &Environment,
    operation: &OperationId,
    ask: Ask,
    lag: &crate::clock::Clock,
) -> Result<Remains, NotResumed> {
    let scope = Scope::of(environment);
    let begun = journal::begun(&aws.dynamodb, &scope, operation).await?;
    if !begun.status.touched_anything() {
        return Ok(Remains { begun, course: None });
    }
    let age = begun.age(aws.dynamodb.now());
    let look = async || {
        let world = observe::world(aws, environment, &scope, Wants::default()).await?;
        Ok::<_, Error>(begun.course(&environment.name, &world, ask, age))
    };
    let course = match look().await? {
        Ok(course) => Ok(course),
        Err(_) => {
            lag.sleep(LAG).await;
            look().await?
        }
    };
    match course {
        Ok(course) => Ok(Remains { begun, course: Some(course) }),
        Err(unresumable) => Err(NotResumed::Unresumable(unresumable)),
    }
}

/// Brings an operation to its end that stopped before it. The lock must be held for it; `cx.owner` is who goes on with it. What cannot be
/// gone on with is left as it is, the lock given back, the operation still open.
pub async fn resume(ask: Ask, cx: Cx, held: &Held, emit: &Emit, interrupt: watch::Receiver<Option<Interrupt>>) -> Ending {
    let began = cx.clock.moment();
    let ending = match remains(&cx.aws, &cx.environment, &cx.operation, ask, &cx.clock).await {
        Ok(remains) => go_on(remains, ask, cx.clone(), held, emit, interrupt).await,
        Err(why) => leave(&cx.environment, why, held).await,
    };
    Ending { took: Seconds::from(cx.clock.since(began)), ..ending }
}

async fn go_on(remains: Remains, ask: Ask, cx: Cx, held: &Held, emit: &Emit, interrupt: watch::Receiver<Option<Interrupt>>) -> Ending {
    let Begun { operation, plan, status, .. } = remains.begun;
    // In the tags of what it makes stays who began it: a call that is repeated must be the same call.
    let by = cx.owner.clone();
    let cx = guarded(Cx { owner: operation.record.by, ..cx }, held);
    let going_back = status.direction == Direction::Back;
    let record = Record::new(held, &cx, &plan, status, by.clone());
    let executor = Executor { plan: &plan, cx: &cx, held, emit, record: &record };
    match remains.course {
        None => executor.never_begun().await,
        Some(Course::Forward(course)) => executor.forward(&course, Stop::new(interrupt, held)).await,
        Some(Course::Back(course)) if going_back && ask == Ask::GoOn => executor.back(&course, Halt::GoingBack).await,
        Some(Course::Back(course)) => executor.back(&course, Halt::Aborted { by }).await,
    }
}

/// Gives the lock back and leaves the operation to somebody who can.
async fn leave(environment: &Environment, why: NotResumed, held: &Held) -> Ending {
    let mut failure = why.failure(environment);
    if let Err(lost) = held.release(Release::default()).await {
        failure = failure.because(format!("the lock was not given back ({lost}); it lapses by itself"));
    }
    let outcome = if failure.end == End::Stranded { Outcome::Stranded } else { Outcome::Refused };
    Ending { outcome, failure: Some(failure), took: Seconds(0) }
}

impl NotResumed {
    /// In words, and what to type.
    pub fn failure(self, environment: &Environment) -> Failure {
        let command = |verb: &str| format!("adstage {verb} {}", environment.name);
        let unreadable =
            |end: End, what: &str, why: String| Failure::new(end, what).because(why).next(command("rollback")).next(command("status"));
        match self {
            Self::Unreadable(Unreadable::Aws(error)) | Self::Aws(error) => {
                Failure::new(End::Unexpected, "what remains to be done cannot be found out").because(error)
            }
            Self::Unreadable(why @ Unreadable::OtherVersion { .. }) => {
                unreadable(End::Refused, "the operation cannot be gone on with by this adstage", why.to_string())
            }
            Self::Unreadable(why) => unreadable(End::Stranded, "the operation cannot be read back", why.to_string()),
            Self::Unresumable(unresumable) => {
                let end = if matches!(unresumable, Unresumable::Stranded(_)) { End::Stranded } else { End::Refused };
                let refusal = unresumable.refusal().clone();
                Failure { because: refusal.because, next: refusal.next, ..Failure::new(end, refusal.what) }
            }
        }
    }
}
