//! `adstage lock halt`: asks whoever works on an environment to stop at a safe point, and says what came of it. A rollback asks in the
//! same way.

use std::time::Duration;

use serde_json::json;

use super::Place;
use crate::aws::{Dynamodb, Error};
use crate::cli::Global;
use crate::cli::access::refused;
use crate::cli::confirm::Question;
use crate::clock::Clock;
use crate::failure::{End, Failure};
use crate::lock::{self, Halting, Watch, constants, lapses_in};
use crate::model::{Confirm, LockRecord, LockState, OperationId, Scope, Seconds};
use crate::report::bold;

/// Ask whoever works on an environment to stop at a safe point and hand over
///
///   adstage lock halt production
///   adstage lock halt production --reason "checkout is down"
///   adstage lock halt production --yes      where nobody can be asked
///
/// The holder finds the request with its next heartbeat. Before visitors have moved it stops where it is and undoes nothing: whoever
/// comes next resumes it, aborts it or rolls back. Afterwards it ends as deployed. `adstage rollback` asks by itself.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment
    environment: String,
    /// Why; whoever is stopped reads this
    #[arg(long, value_name = "WHY", default_value = "asked to stop")]
    reason: String,
}

/// What came of asking.
#[derive(Debug)]
pub enum Answer {
    /// It stopped at a safe point; its operation is open for whoever comes next.
    HandedOver(Box<LockRecord>),
    /// It came to its end.
    Ended,
    /// Somebody else holds the lock by now.
    PassedOn(Box<LockRecord>),
    /// No sign of anybody for as long as the lock takes to lapse. What was seen goes to whoever takes over.
    Gone(Watch),
    /// It is alive, and has not stopped in the time it was given.
    GoesOn(Box<LockRecord>),
}

/// Looks this often whether it stopped.
const LOOK: Duration = Duration::from_secs(1);

/// Whom to ask, and in whose name.
pub struct Request<'a> {
    /// The operation at work.
    pub operation: &'a OperationId,
    /// Who asks.
    pub who: &'a str,
    /// Why.
    pub why: &'a str,
    /// How long somebody who is alive may go on.
    pub patience: Duration,
}

/// Asks, and waits for what comes of it. Told at every look: the row, and for how long it has been quiet.
pub async fn ask(
    db: &Dynamodb,
    clock: &Clock,
    scope: &Scope,
    request: &Request<'_>,
    tell: &(dyn Fn(&LockRecord, Duration) + Send + Sync),
) -> Result<Answer, Error> {
    let (started, mut watch) = (clock.moment(), Watch::new(clock));
    let mut lock = match lock::halt(db, clock, scope, request.operation, request.who, request.why).await? {
        Halting::Delivered(lock) => Some(*lock),
        Halting::PassedOn(lock) => return Ok(Answer::PassedOn(lock)),
        Halting::Free(lock) => lock.map(|lock| *lock),
    };
    loop {
        let Some(row) = lock else { return Ok(Answer::Ended) };
        match (row.state, &row.operation, &row.open) {
            (LockState::Held, Some(operation), _) if operation == request.operation => {}
            (LockState::Held, ..) => return Ok(Answer::PassedOn(Box::new(row))),
            (LockState::Free, _, Some(open)) if open == request.operation => return Ok(Answer::HandedOver(Box::new(row))),
            (LockState::Free, ..) => return Ok(Answer::Ended),
        }
        let quiet = watch.see(&row);
        if lapses_in(&row, quiet).is_zero() {
            return Ok(Answer::Gone(watch));
        }
        // Who has been quiet for longer than a heartbeat may be gone: that is for the lapse to say.
        if clock.passed(started) >= request.patience && quiet < constants::HEARTBEAT * 2 {
            return Ok(Answer::GoesOn(Box::new(row)));
        }
        tell(&row, quiet);
        clock.sleep(LOOK).await;
        lock = lock::read(db, scope).await?.lock;
    }
}

/// The line of somebody who asked and waits.
pub fn waiting(lock: &LockRecord, quiet: Duration) -> String {
    match quiet > constants::HEARTBEAT + constants::HEARTBEAT / 10 {
        true => {
            let [quiet, rest] = [quiet, lapses_in(lock, quiet)].map(Seconds::from);
            format!("no sign of {} for {quiet}; in {rest} without one, the lock lapses", lock.who)
        }
        false => format!("{} is asked to stop; at {}", lock.who, if lock.stage.is_empty() { "the start" } else { &lock.stage }),
    }
}

/// Asks, waits and says.
pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let place = Place::reach(&args.environment, global).await?;
    let (db, environment, name) = (&place.access.aws.dynamodb, &place.access.environment, &place.name);
    let unreadable = |error| refused(error, environment);
    let view = lock::read(db, &place.scope).await.map_err(unreadable)?;
    let held = view.lock.filter(|lock| lock.state == LockState::Held);
    let Some((lock, operation)) = held.and_then(|lock| Some((lock.clone(), lock.operation?))) else {
        let value = json!({ "environment": name, "answer": "nobody" });
        return global.report.result(&value, || format!("Nobody works on {name}. Nothing to do."));
    };
    let doing = format!("ask {} to stop {}", lock.who, lock.doing);
    let command = format!("adstage lock halt {name} --reason \"{}\"", args.reason);
    global.confirm(environment, &Question { doing: &doing, command: &command, level: level(environment.confirm), default: true })?;
    let patience = Duration::from_millis(lock.lease_ms) + constants::GRACE;
    let who = global.who(&place.access.caller);
    let request = Request { operation: &operation, who: &who, why: &args.reason, patience };
    let told = super::Every::new(&global.clock, Duration::from_secs(5));
    let tell = |lock: &LockRecord, quiet: Duration| told.now_and_then(|| global.report.say(waiting(lock, quiet)));
    let answer = ask(db, &global.clock, &place.scope, &request, &tell).await.map_err(unreadable)?;
    let serves = place.serving().await;
    answered(answer, &lock, &operation, name, global).map_err(|failure| failure.serving(&serves)).and_then(|(word, text)| {
        let value = json!({ "environment": name, "answer": word, "holder": lock.who, "operation": operation, "serving": serves });
        global.report.result(&value, || format!("{text}{} {serves}\n", bold("Now serving:")))
    })
}

/// Stopping safely is no worse than rolling back: one Enter.
fn level(asked: Confirm) -> Confirm {
    if asked == Confirm::None { Confirm::None } else { Confirm::Yes }
}

/// The word for programs and the words for people; a failure if it goes on.
fn answered(
    answer: Answer,
    lock: &LockRecord,
    operation: &OperationId,
    name: &str,
    global: &Global,
) -> Result<(&'static str, String), Failure> {
    let (who, doing) = (&lock.who, &lock.doing);
    match answer {
        Answer::HandedOver(row) => {
            let at = if row.stage.is_empty() { "before its first step".to_string() } else { format!("at {}", row.stage) };
            let mut text = format!("{}\n", bold(&format!("{who} has stopped {doing}, {at}, and left it to whoever comes next.")));
            for (what, command) in [("go on", "resume ENV"), ("undo it", "resume ENV --abort"), ("go back", "rollback ENV")] {
                text += &format!("  {what:<8} {}\n", global.typed(&format!("adstage {}", command.replace("ENV", name))));
            }
            Ok(("handed-over", text))
        }
        Answer::Ended => Ok(("ended", format!("{}\n", bold(&format!("{who} is not {doing} any more: it came to its end."))))),
        Answer::PassedOn(now) => {
            let failure = Failure::new(End::Locked, format!("{who} has ended, and {} is {} now", now.who, now.doing));
            Err(failure.next(format!("adstage lock halt {name}")))
        }
        Answer::Gone(_) => {
            let failure = Failure::new(End::TimedOut, format!("{who} does not answer: nobody is there any more"));
            let failure = failure.because(format!("no sign for {}: the lock has lapsed, and {doing} is unfinished", lapse(lock)));
            Err(failure.next(format!("adstage rollback {name}")).next(format!("adstage lock show {name}")))
        }
        Answer::GoesOn(row) => {
            let failure = Failure::new(End::TimedOut, format!("{who} is alive, and still {doing}"));
            let failure = failure.because(format!("at {}; the request stands, and is heard at the next safe point", row.stage));
            let broken = format!("adstage lock break {name} {operation} --reason \"…\"");
            Err(failure.next(format!("adstage lock show {name}")).next(broken))
        }
    }
}

fn lapse(lock: &LockRecord) -> Seconds {
    Seconds::from(Duration::from_millis(lock.lease_ms) + constants::GRACE)
}
