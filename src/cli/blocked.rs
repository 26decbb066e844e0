//! What somebody is shown whom a lock keeps out: who has it, from where, doing what, since when, whether they are alive, and what to
//! type.

use std::time::Duration;

use jiff::Timestamp;

use super::access::{Access, refused};
use crate::failure::{End, Failure};
use crate::journal;
use crate::lock::Blocked;
use crate::model::{FreezeRecord, LockRecord, Scope, Seconds};
use crate::report::ago;

/// The failure that says so. `command` is what was typed, without `--lock-timeout`.
pub async fn failure(blocked: Blocked, access: &Access, scope: &Scope, what: &str, command: &str, now: Timestamp) -> Failure {
    let environment = &access.environment;
    match blocked {
        Blocked::Held(lock, quiet) => {
            held(&lock, quiet, what, now).next(format!("{command} --lock-timeout 15m")).next(format!("adstage status {}", environment.name))
        }
        Blocked::Frozen(freeze) => frozen(&freeze, what),
        Blocked::Unfinished(id) => {
            let record = journal::operation(&access.aws.dynamodb, scope, &id).await;
            let Ok(Some((operation, _))) = record else {
                return Failure::new(End::Locked, format!("{what} has an unfinished operation, {id}, that cannot be read"));
            };
            let (record, doing) = (&operation.record, super::history::doing(&operation.record));
            let failure = Failure::new(End::Locked, format!("{what}: {}'s {doing} stopped without finishing", record.by));
            let failure = failure.because(format!("it began {} and was last seen at: {}", ago(&record.at, now), record.stage));
            failure.next(format!("adstage rollback {}", environment.name)).next(format!("adstage status {}", environment.name))
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

fn held(lock: &LockRecord, quiet: Duration, what: &str, now: Timestamp) -> Failure {
    let mut failure = Failure::new(End::Locked, format!("{what} is locked: {} is {}", lock.who, lock.doing));
    let place = if lock.via.is_empty() || lock.via == "laptop" { lock.host.clone() } else { format!("{} ({})", lock.host, lock.via) };
    failure = failure.because(format!("since {}, from {place}", ago(&lock.since, now)));
    if !lock.stage.is_empty() {
        let left = lock.eta_s.map(|left| format!(", about {} to go", Seconds(left))).unwrap_or_default();
        failure = failure.because(format!("at {}{left}", lock.stage));
    }
    let lapses = format!("a lock lapses by itself {} after its holder's last sign", Seconds(lock.lease_ms / 1000));
    failure.because(match quiet.as_secs() {
        ..15 => lapses,
        _ => format!("quiet for {}; {lapses}", Seconds::from(quiet)),
    })
}

fn frozen(freeze: &FreezeRecord, what: &str) -> Failure {
    let until = freeze.until.as_ref().map_or_else(|| "until somebody lifts it".to_string(), |until| format!("until {until}"));
    let failure = Failure::new(End::Locked, format!("{what} is frozen by {} {until}", freeze.who));
    failure.because(format!("\"{}\"", freeze.reason)).because("a person's freeze is never waited for")
}

/// The line a waiter sees.
pub fn waiting(lock: &LockRecord, quiet: Duration) -> String {
    let stage = if lock.stage.is_empty() { String::new() } else { format!(", at {}", lock.stage) };
    let quiet = if quiet.as_secs() < 15 { String::new() } else { format!(", quiet for {}", Seconds::from(quiet)) };
    format!("waiting for {} on {}: {}{stage}{quiet}", lock.who, lock.host, lock.doing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LockState;

    #[test]
    fn the_blocked_one_sees_who_from_where_since_when_and_at_what() {
        let lock = LockRecord {
            state: LockState::Held,
            who: "joe".into(),
            host: "runner-7".into(),
            via: "https://ci.example.com/8841".into(),
            doing: "deploying r412".into(),
            stage: "await".into(),
            since: "2026-11-22T14:02:11Z".into(),
            eta_s: Some(600),
            lease_ms: 60_000,
            ..LockRecord::default()
        };
        let now = "2026-11-22T14:05:31Z".parse().expect("a time");
        let failure = held(&lock, Duration::from_secs(20), "production", now);
        assert_eq!((failure.end.code(), failure.what.as_str()), (5, "production is locked: joe is deploying r412"));
        assert_eq!(
            failure.because,
            [
                "since 3m ago, from runner-7 (https://ci.example.com/8841)",
                "at await, about 10m to go",
                "quiet for 20s; a lock lapses by itself 1m after its holder's last sign",
            ]
        );
        let line = waiting(&lock, Duration::from_secs(2));
        assert_eq!(line, "waiting for joe on runner-7: deploying r412, at await");
    }

    #[test]
    fn a_freeze_names_its_person_and_reason() {
        let freeze = FreezeRecord {
            who: "maya".into(),
            reason: "year-end close".into(),
            made: String::new(),
            until: Some("2026-12-01T08:00:00Z".into()),
        };
        let failure = frozen(&freeze, "production");
        assert_eq!(failure.what, "production is frozen by maya until 2026-12-01T08:00:00Z");
        assert_eq!(failure.because[0], "\"year-end close\"");
    }
}
