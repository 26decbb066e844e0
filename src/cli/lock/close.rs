//! `adstage lock close`: an operation that nobody can or wants to finish is over, with the environment as it is.

use std::time::Duration;

use serde_json::json;

use super::Place;
use crate::cli::Global;
use crate::cli::access::refused;
use crate::cli::blocked::{self, Attempt};
use crate::cli::confirm::Question;
use crate::cli::history;
use crate::failure::{End, Failure};
use crate::journal::{self, Entry};
use crate::lock::{self, Intent, Lost, Release, Wait, Watch};
use crate::model::{Confirm, OperationId, Outcome};
use crate::report::bold;

/// End an unfinished operation with everything as it is
///
///   adstage lock close production 01JD7Q3M8XK2V9 --as-it-is --reason "put right by hand"
///   adstage lock close production 01JD7Q3M8XK2V9 --as-it-is --reason "put right by hand" --confirm production
///
/// For what was put right by hand, or what neither going on nor going back can settle. Nothing is changed but the
/// records: the operation ends stranded, and the environment is free. What it left behind is cleared by the next
/// deploy or rollback, which judges by what the load balancer shows.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment
    environment: String,
    /// The unfinished operation
    #[arg(value_name = "OPERATION")]
    operation: String,
    /// Says that whatever it did stays as it is
    #[arg(long, required = true)]
    as_it_is: bool,
    /// Why; kept with who did it
    #[arg(long, value_name = "WHY")]
    reason: String,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let place = Place::reach(&args.environment, global).await?;
    let (access, name) = (&place.access, &place.name);
    let db = &access.aws.dynamodb;
    let unreadable = |error| refused(error, &access.environment);
    let operation = OperationId(args.operation);
    let open = lock::read(db, &place.scope).await.map_err(unreadable)?.lock.and_then(|lock| lock.open);
    if open.as_ref() != Some(&operation) {
        let failure = Failure::new(End::Refused, format!("{operation} is not what is unfinished in {name}"));
        let because = open.map_or_else(|| "nothing is".to_string(), |open| format!("{open} is"));
        return Err(failure.because(because).next(format!("adstage lock show {name}")));
    }
    let Some((found, _)) = journal::operation(db, &place.scope, &operation).await.map_err(unreadable)? else {
        let failure = Failure::new(End::Stranded, format!("{operation} has no record: the table was edited"));
        return Err(failure.next(format!("adstage lock repair {name} --reason \"…\"")));
    };
    let record = found.record;
    let doing = format!("close {}'s {} with everything as it is", record.by, history::doing(&record));
    let command = format!("adstage lock close {name} {operation} --as-it-is --reason \"{}\"", args.reason);
    global.confirm(&access.environment, &Question { doing: &doing, command: &command, level: Confirm::Name, default: false })?;
    let who = global.identity(&access.caller);
    let reason = format!("closed as it is by {}: {}", who.who, args.reason);
    // For the very operation that is unfinished.
    let intent = Intent::going_on(operation.clone(), format!("closing {}", history::doing(&record)), Vec::new(), global.hold());
    let tell = |lock: &crate::model::LockRecord, quiet: Duration| global.report.say(blocked::waiting(lock, quiet, db.now()));
    let timeout = global.options.lock_timeout.unwrap_or_default();
    let wait = Wait { timeout, tell: &tell };
    let taken = lock::acquire_seen(db, &global.clock, place.scope.clone(), who, intent, wait, Watch::new(&global.clock)).await;
    let held = match taken {
        Ok(held) => held,
        Err(blocked) => {
            let (environment, now) = (Some(name.as_str()), db.now());
            let attempt = Attempt { subject: name, command: &command, environment, overrides: false, waited: timeout, now };
            return Err(blocked::failure(blocked, access, &place.scope, &attempt).await);
        }
    };
    let events = vec![Entry::Ended { outcome: Outcome::Stranded, reason: Some(reason.clone()) }.item()];
    let ended = journal::ended(Outcome::Stranded, Some(&reason), &global.clock.wall().to_string());
    let released = held.release(Release { events, ended: Some(ended), ..Release::default() }).await;
    released.map_err(|lost| not_closed(&lost, &operation, name))?;
    let serves = place.serving().await;
    let value = json!({ "environment": name, "closed": operation, "outcome": Outcome::Stranded, "reason": reason, "serving": serves });
    global.report.result(&value, || {
        let status = global.typed(&format!("adstage status {name}"));
        let head = bold(&format!("{}'s {} is closed. {name} is free.", record.by, history::doing(&record)));
        format!("{head}\n{} {serves}\n  see  {status}\n", bold("Now serving:"))
    })
}

fn not_closed(lost: &Lost, operation: &OperationId, name: &str) -> Failure {
    let failure = Failure::new(End::Unexpected, format!("{operation} was not closed")).because(lost);
    failure.next(format!("adstage lock show {name}"))
}
