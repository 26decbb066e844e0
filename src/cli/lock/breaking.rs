//! `adstage lock break`: takes the lock from a holder by force. For one who is alive but will not stop, or who is gone and must not be
//! waited out. Whoever comes next waits a little longer, because the old holder may have a call under way.

use jiff::Timestamp;
use serde_json::json;

use super::{Place, place};
use crate::cli::Global;
use crate::cli::access::refused;
use crate::cli::confirm::Question;
use crate::failure::{End, Failure};
use crate::lock::{self, Breaking, Sign, constants, listen};
use crate::model::{Confirm, LockRecord, LockState, OperationId, Seconds};
use crate::report::{ago, bold};

/// Take the lock from its holder by force: for one who neither stops nor lets go
///
///   adstage lock break production 01JD7Q3M8XK2V9 --reason "runner 7 hangs"
///   adstage lock break production 01JD7Q3M8XK2V9 --reason "runner 7 hangs" --confirm production
///
/// Wants the operation that `adstage lock show` names, so that nobody breaks the lock of somebody who came after. Watches first
/// whether the holder is alive. A holder that is loses the lock with its next heartbeat and changes nothing any more; it does not
/// go back. The operation stays unfinished. Ask first, with `adstage lock halt`: that hands over without any of this.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment
    environment: String,
    /// The operation that holds the lock
    #[arg(value_name = "OPERATION")]
    operation: String,
    /// Why; kept with who did it, and shown to the holder
    #[arg(long, value_name = "WHY")]
    reason: String,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let place = Place::reach(&args.environment, global).await?;
    let (db, environment, name) = (&place.access.aws.dynamodb, &place.access.environment, &place.name);
    let unreadable = |error| refused(error, environment);
    let operation = OperationId(args.operation);
    let view = lock::read(db, &place.scope).await.map_err(unreadable)?;
    let seen = meant(view.lock, &operation, name, db.now())?;
    let doing = format!("break {}'s lock of {name}", seen.who);
    let command = format!("adstage lock break {name} {operation} --reason \"{}\"", args.reason);
    let question = Question { doing: &doing, command: &command, level: Confirm::Name, default: false };
    // Nobody waits for the watching to be told that an answer is missing.
    let answered_already = !global.report.can_ask() || global.options.confirm.is_some();
    if answered_already {
        global.confirm(environment, &question)?;
    }
    let tell =
        |lock: &LockRecord| global.report.say(format!("watching for a sign of {}, {} s at most", lock.who, constants::LISTEN.as_secs()));
    let sign = listen(db, &global.clock, &place.scope, &tell).await.map_err(unreadable)?;
    let answered = sign.alive == Some(true);
    let seen = meant(sign.view.lock.clone(), &operation, name, db.now())?;
    global.report.say(found(&seen, &sign));
    if !answered_already {
        global.confirm(environment, &question)?;
    }
    let who = global.identity(&place.access.caller);
    let broken = lock::break_lock(db, &global.clock, &place.scope, &operation, &seen, answered, &who, &args.reason).await;
    if let Breaking::Moved(now) = broken.map_err(unreadable)? {
        let now = now.map(|now| *now);
        return Err(meant(now, &operation, name, db.now()).err().unwrap_or_else(|| moved(name)));
    }
    let wait = if answered { constants::BROKEN_ANSWERED } else { constants::BROKEN_SILENT };
    let checks = constants::HORIZONS.map(|span| Seconds::from(span).0);
    let value = json!({
        "environment": name, "operation": operation, "holder": seen.who, "answered": answered,
        "next_waits_seconds": wait.as_secs(), "weights_checked_after_seconds": checks, "open": seen.open,
    });
    global.report.result(&value, || text(&seen, name, answered, global))
}

/// The lock, if it is still the one that was meant.
fn meant(lock: Option<LockRecord>, operation: &OperationId, name: &str, now: Timestamp) -> Result<LockRecord, Failure> {
    let Some(lock) = lock.filter(|lock| lock.state == LockState::Held) else {
        let failure = Failure::new(End::Refused, format!("nobody holds the lock of {name}: there is nothing to break"));
        return Err(failure.next(format!("adstage lock show {name}")));
    };
    if lock.operation.as_ref() == Some(operation) {
        return Ok(lock);
    }
    let failure = Failure::new(End::Locked, format!("the lock of {name} is not {operation}'s: {} is {} with it", lock.who, lock.doing));
    let failure = failure.because(format!("since {}, from {}", ago(&lock.since, now), place(&lock)));
    let held = lock.operation.map(|operation| format!("its operation is {operation}"));
    Err(held.into_iter().fold(failure, Failure::because).next(format!("adstage lock show {name}")))
}

fn moved(name: &str) -> Failure {
    let failure = Failure::new(End::Locked, format!("the lock of {name} changed while it was being broken; nothing was done"));
    failure.next(format!("adstage lock show {name}"))
}

fn found(lock: &LockRecord, sign: &Sign) -> String {
    match sign.alive {
        Some(true) => format!("{} is alive: the lock was renewed while we watched", lock.who),
        _ => format!("no sign of {} for {}", lock.who, Seconds::from(sign.quiet)),
    }
}

fn text(lock: &LockRecord, name: &str, answered: bool, global: &Global) -> String {
    let (who, doing) = (&lock.who, &lock.doing);
    let mut text = format!("{}\n", bold(&format!("The lock of {name} is {who}'s no more; {doing} is unfinished.")));
    let (wait, why) = match answered {
        true => (constants::BROKEN_ANSWERED, "learns of it with its next heartbeat and changes nothing after that"),
        false => (constants::BROKEN_SILENT, "did not answer, so nobody knows when it learns of it"),
    };
    text += &format!("  {who} {why}: whoever comes next changes nothing for {}\n", Seconds::from(wait));
    let [first, last] = constants::HORIZONS.map(Seconds::from);
    text += &format!("  a call of it that hangs may arrive even later: the weights are checked again after {first} and {last}\n");
    for (what, command) in [("go on", "resume ENV"), ("undo it", "resume ENV --abort"), ("go back", "rollback ENV")] {
        text += &format!("  {what:<8} {}\n", global.typed(&format!("adstage {}", command.replace("ENV", name))));
    }
    text
}
