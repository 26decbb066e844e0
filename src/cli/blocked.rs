//! What somebody is shown whom a lock keeps out: who has it, from where, doing what, since when, for how long about, whether they are
//! alive, and what to type.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::access::{Access, refused};
use super::lock::{freeze_end, place};
use crate::failure::{End, Failure};
use crate::journal;
use crate::lock::{Blocked, Blocker, constants};
use crate::model::{FreezeRecord, LockRecord, OperationRecord, Scope, Seconds};
use crate::report::ago;

/// Who was kept out of what.
pub struct Attempt<'a> {
    /// The environment, or the image.
    pub subject: &'a str,
    /// What was typed, without `--lock-timeout`.
    pub command: &'a str,
    /// The environment whose lock it is; none for an image's, which no `lock` command reaches.
    pub environment: Option<&'a str>,
    /// `--override-freeze` would have passed.
    pub overrides: bool,
    /// For how long a holder was waited for.
    pub waited: Duration,
    /// By AWS's clock.
    pub now: Timestamp,
}

/// The failure that says so.
pub async fn failure(blocked: Blocked, access: &Access, scope: &Scope, attempt: &Attempt<'_>) -> Failure {
    let Attempt { subject: what, .. } = *attempt;
    let environment = &access.environment;
    match blocked {
        Blocked::Held(lock, quiet) => held(&lock, quiet, attempt),
        Blocked::Shared(blockers) => shared(&blockers, attempt),
        Blocked::Frozen(freeze) => frozen(&freeze, attempt, &TimeZone::system()),
        Blocked::Unfinished(id) => {
            let record = journal::operation(&access.aws.dynamodb, scope, &id).await;
            let Ok(Some((operation, events))) = record else {
                return Failure::new(End::Locked, format!("{what} has an unfinished operation, {id}, that cannot be read"));
            };
            unfinished(&operation.record, events.last().map_or("", |event| &event.at), attempt)
        }
        Blocked::Rewound { lock, recorded } => {
            let failure = Failure::new(End::Stranded, format!("{what}: the lock was set back"));
            failure.because(format!(
                "its count is {lock}, but a record was written under {recorded}: the table was restored from a backup, or edited"
            ))
        }
        Blocked::Aws(error) => refused(error, environment),
    }
}

/// Somebody's operation stopped before its end.
fn unfinished(record: &OperationRecord, last: &str, attempt: &Attempt<'_>) -> Failure {
    let Attempt { subject, now, .. } = *attempt;
    let doing = super::history::doing(record);
    let failure = Failure::new(End::Locked, format!("{subject}: {}'s {doing} stopped without finishing", record.by));
    let failure = failure.because(format!("it began {}; its last sign was {}, at {}", ago(&record.at, now), ago(last, now), record.stage));
    match attempt.environment {
        Some(name) => {
            let commands = [format!("adstage resume {name}"), format!("adstage resume {name} --abort"), format!("adstage rollback {name}")];
            commands.into_iter().fold(failure, Failure::next)
        }
        None => failure,
    }
}

fn held(lock: &LockRecord, quiet: Duration, attempt: &Attempt<'_>) -> Failure {
    let Attempt { subject, command, waited, now, .. } = *attempt;
    let mut failure = Failure::new(End::Locked, format!("{subject} is locked: {} is {}", lock.who, lock.doing));
    failure = failure.because(format!("since {}, from {}", ago(&lock.since, now), place(lock)));
    if !lock.stage.is_empty() {
        failure = failure.because(format!("at {}{}", lock.stage, left(lock, now)));
    }
    failure.because.extend(sign(quiet, waited));
    if let Some(operation) = &lock.operation {
        failure = failure.because(format!("operation {operation}"));
    }
    let lapse = Seconds::from(Duration::from_millis(lock.lease_ms) + constants::GRACE);
    let enough = Seconds(lapse.0 + constants::POLL.as_secs());
    if waited < enough.duration() {
        let hint = format!("if nobody is there any more, --lock-timeout {}s or longer takes over; shorter ones never do,", enough.0);
        failure = failure.because(hint + " however often they are repeated");
    }
    failure = failure.next(format!("{command} --lock-timeout 15m"));
    match attempt.environment {
        Some(name) => failure.next(format!("adstage lock halt {name}")).next(format!("adstage lock show {name}")),
        None => failure,
    }
}

/// Everybody who stands in the way: the lock's own holder, and those who use what it shares.
fn shared(blockers: &[Blocker], attempt: &Attempt<'_>) -> Failure {
    let Attempt { subject, command, now, .. } = *attempt;
    let mut failure = Failure::new(End::Locked, format!("{subject} is locked: what it shares with others is in use"));
    for Blocker { resource, scope, lock, quiet } in blockers {
        let thing = resource.as_ref().map_or_else(|| "the lock itself".to_string(), ToString::to_string);
        let at = if lock.stage.is_empty() { String::new() } else { format!(", at {}{}", lock.stage, left(lock, now)) };
        let since = ago(&lock.since, now);
        let line = format!("{thing}: {} is {} in {}{at}, since {since}, from {}", lock.who, lock.doing, scope.name(), place(lock));
        let sign = sign(*quiet, attempt.waited).map(|sign| format!("; {sign}")).unwrap_or_default();
        failure = failure.because(format!("{line}{sign}"));
    }
    failure = failure.next(format!("{command} --lock-timeout 15m"));
    let mut others: Vec<&str> = blockers.iter().map(|blocker| blocker.scope.name()).filter(|name| !name.contains('.')).collect();
    others.dedup();
    others.into_iter().fold(failure, |failure, name| failure.next(format!("adstage lock show {name}")))
}

/// Alive or not, if we looked for long enough to know.
fn sign(quiet: Duration, waited: Duration) -> Option<String> {
    match quiet >= constants::LISTEN {
        true => Some(format!("quiet for {}, so perhaps gone", Seconds::from(quiet))),
        false => (waited >= constants::LISTEN).then(|| format!("alive: renewed {} ago, as seen from here", Seconds::from(quiet))),
    }
}

/// How long it may still take, going by what it took before.
pub fn to_go(lock: &LockRecord, now: Timestamp) -> Option<Seconds> {
    let since: Timestamp = lock.since.parse().ok()?;
    let elapsed = u64::try_from(now.duration_since(since).as_secs()).unwrap_or_default();
    Some(Seconds(lock.eta_s?.saturating_sub(elapsed)))
}

fn left(lock: &LockRecord, now: Timestamp) -> String {
    match to_go(lock, now) {
        None => String::new(),
        Some(Seconds(0)) => ", longer than usual already".into(),
        Some(left) => format!(", about {} to go", about(left)),
    }
}

/// An estimate is not to the second.
fn about(span: Seconds) -> Seconds {
    match span.0 {
        ..90 => Seconds(span.0.next_multiple_of(10)),
        seconds => Seconds(seconds.next_multiple_of(60)),
    }
}

fn frozen(freeze: &FreezeRecord, attempt: &Attempt<'_>, zone: &TimeZone) -> Failure {
    let Attempt { subject, command, now, .. } = *attempt;
    let failure = Failure::new(End::Locked, format!("{subject} is frozen by {} {}", freeze.who, freeze_end(freeze, now, zone)));
    let failure = failure.because(format!("\"{}\"", freeze.reason)).because("a person's freeze is never waited for");
    let failure = if attempt.overrides { failure.next(format!("{command} --override-freeze \"…\"")) } else { failure };
    match attempt.environment {
        Some(name) => failure.next(format!("adstage lock unfreeze {name}")),
        None => failure,
    }
}

/// The line a waiter sees.
pub fn waiting(lock: &LockRecord, quiet: Duration, now: Timestamp) -> String {
    let stage = if lock.stage.is_empty() { String::new() } else { format!(", at {}{}", lock.stage, left(lock, now)) };
    let lapse = Duration::from_millis(lock.lease_ms) + constants::GRACE;
    let quiet = match quiet >= constants::LISTEN {
        true => {
            let [quiet, rest] = [quiet, lapse.saturating_sub(quiet)].map(Seconds::from);
            format!(", quiet for {quiet}: taken over in {rest} if there is no sign")
        }
        false => String::new(),
    };
    format!("waiting for {} on {}: {}{stage}{quiet}", lock.who, lock.host, lock.doing)
}

#[cfg(test)]
mod tests;
