//! `adstage history`: what was done to an environment, and one release in full.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::Global;
use super::access::{Access, refused};
use crate::failure::{End, Failure};
use crate::journal::{self, Deed, Entry, Journal, Logged};
use crate::model::{OperationKind, OperationRecord, Outcome, ReleaseNumber, ReleaseRecord, Scope, Verdict};
use crate::report::{Table, ago, bold, dim, took};

/// Show what was done to an environment, or one release in full
///
///   adstage history production
///   adstage history production r42
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment
    environment: String,
    /// A release, r42: what it is made of, and every step of its operations
    release: Option<ReleaseNumber>,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let environment = global.environment(&args.environment)?;
    let access = global.connect(&environment).await?;
    let scope = Scope::of(&environment);
    let journal = journal::read(&access.aws.dynamodb, &scope).await.map_err(|error| refused(error, &environment))?;
    match args.release {
        None => list(&journal, &access, global),
        Some(number) => show(number, &journal, &scope, &access, global).await,
    }
}

fn list(journal: &Journal, access: &Access, global: &Global) -> Result<(), Failure> {
    let name = &access.environment.name;
    let now = global.clock.wall();
    let mut table = Table::new(&["WHEN", "WHAT", "BY", "TOOK", "ENDED", "WHY"]);
    for operation in &journal.operations {
        table.row(row(operation, now));
    }
    let value = json!({ "environment": name, "operations": journal.operations, "releases": journal.releases });
    if table.is_empty() {
        return global.report.result(&value, || format!("{name} has no history yet"));
    }
    global.report.result_table(&value, &table, &dim(&format!("more: {} rN\n", global.typed(&format!("adstage history {name}")))))
}

fn row(operation: &OperationRecord, now: Timestamp) -> [String; 6] {
    let took = took(&operation.at, operation.ended_at.as_deref()).map(|span| span.to_string()).unwrap_or_default();
    let ended = operation.ended.map_or_else(|| format!("open, at {}", operation.stage), |outcome| ending(outcome).to_string());
    [ago(&operation.at, now), doing(operation), operation.by.clone(), took, ended, operation.reason.clone().unwrap_or_default()]
}

/// `deploy r42, after r41`.
pub fn doing(operation: &OperationRecord) -> String {
    let kind = match operation.kind {
        OperationKind::Deploy => "deploy",
        OperationKind::Rollback => "rollback to",
        OperationKind::Scale => return "scale".into(),
        OperationKind::Setup => return "setup".into(),
        OperationKind::Bake => return "bake".into(),
        OperationKind::Images => return "images".into(),
        OperationKind::Review => return "review box".into(),
    };
    let release = operation.release.map(|release| format!(" {release}")).unwrap_or_default();
    let previous = operation.previous.map(|previous| format!(", after {previous}")).unwrap_or_default();
    format!("{kind}{release}{previous}")
}

fn ending(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Deployed => "deployed",
        Outcome::Refused => "refused",
        Outcome::Locked => "locked",
        Outcome::RolledBack => "undone",
        Outcome::Stranded => "stranded",
        Outcome::Halted => "halted",
    }
}

async fn show(number: ReleaseNumber, journal: &Journal, scope: &Scope, access: &Access, global: &Global) -> Result<(), Failure> {
    let (db, environment) = (&access.aws.dynamodb, &access.environment);
    let unreadable = |error| refused(error, environment);
    let record = match journal.releases.iter().find(|record| record.release.number == number) {
        Some(record) => Some(record.clone()),
        None => journal::release(db, scope, number).await.map_err(unreadable)?,
    };
    let record = record.ok_or_else(|| {
        let failure = Failure::new(End::Usage, format!("{} has no {number}", environment.name));
        failure.next(format!("adstage history {}", environment.name))
    })?;
    let mut operations = Vec::new();
    for operation in journal.operations.iter().filter(|operation| operation.release == Some(number)) {
        let read = journal::operation(db, scope, &operation.id).await.map_err(unreadable)?;
        operations.push((operation, read.map(|(_, events)| events).unwrap_or_default()));
    }
    let told: Vec<_> = operations.iter().map(|(operation, events)| json!({ "operation": operation, "events": lines(events) })).collect();
    global.report.result(&json!({ "environment": environment.name, "release": record, "operations": told }), || {
        let mut text = describe(&record, global.clock.wall());
        for (operation, events) in &operations {
            text += &told_in_full(operation, events, &TimeZone::system());
        }
        text
    })
}

/// What a release is made of.
fn describe(record: &ReleaseRecord, now: Timestamp) -> String {
    let release = &record.release;
    let verdict = match &record.verdict {
        Verdict::Good => String::new(),
        Verdict::Untried => "  never served".into(),
        Verdict::Bad { reason } => format!("  bad: {reason}"),
    };
    let mut text = format!("{}  made {} by {}{verdict}\n", bold(&release.number.to_string()), ago(&record.at, now), record.by);
    text += &format!("  image      {} ({})\n", release.image_name, release.image);
    for (repository, commit) in &release.commits {
        text += &format!("  code       {repository} {commit}\n");
    }
    for (service, spec) in &release.services {
        let port = spec.port.map(|port| format!(", port {port}")).unwrap_or_default();
        text += &format!("  service    {service}: `{}` from {}, {}{port}\n", spec.run, spec.repository, spec.instance_type);
        for (name, value) in &spec.variables {
            text += &format!("             {name}={value}\n");
        }
        for (name, reference) in &spec.secrets {
            text += &format!("             {name} from {reference}\n");
        }
    }
    text
}

/// An operation and its events, at the reader's own times.
fn told_in_full(operation: &OperationRecord, events: &[Logged], zone: &TimeZone) -> String {
    let began = local(&operation.at, zone);
    let mut text = format!("\n{}  {}\n", bold(&doing(operation)), dim(&format!("{} {} by {}", began.0, began.1, operation.by)));
    let mut day = began.0;
    for event in events {
        let (date, time) = local(&event.at, zone);
        if date != day {
            text += &format!("  {}\n", dim(&date));
            day = date;
        }
        text += &format!("  {time}  {}\n", line(&event.entry).trim_end().replace('\n', "\n            "));
    }
    text
}

/// Date and time of day, to the second.
fn local(at: &str, zone: &TimeZone) -> (String, String) {
    at.parse::<Timestamp>().map_or_else(
        |_| (String::new(), at.to_string()),
        |at| {
            let at = at.to_zoned(zone.clone());
            (at.strftime("%Y-%m-%d").to_string(), at.strftime("%H:%M:%S").to_string())
        },
    )
}

/// A moment to the second; the order of events is that of their numbers.
fn second(at: &str) -> String {
    at.parse::<Timestamp>().map_or_else(|_| at.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// An operation's events, one text each, for programs.
fn lines(events: &[Logged]) -> Vec<String> {
    events.iter().map(|event| format!("{}  {}", second(&event.at), line(&event.entry))).collect()
}

fn line(entry: &Entry) -> String {
    let found = |found: &Option<String>| found.as_ref().map(|found| format!(": {found}")).unwrap_or_default();
    match entry {
        Entry::Began { text } => format!("began: {text}"),
        Entry::Step(key, deed) => {
            let said = match deed {
                Deed::Started { attempt: 1, .. } => "started".to_string(),
                Deed::Started { attempt, .. } => format!("started, attempt {attempt}"),
                Deed::Succeeded { found: what } => format!("done{}", found(what)),
                Deed::Failed { error } => format!("failed: {error}"),
                Deed::UndoStarted => "being undone".into(),
                Deed::UndoFinished { found: what } => format!("undone{}", found(what)),
                Deed::UndoFailed { error } => format!("could not be undone: {error}"),
            };
            format!("{}: {}: {said}", key.stage, key.step)
        }
        Entry::TakenOver { to, why, .. } => format!("taken over by {to}: {why}"),
        Entry::Halted { by, why } => format!("halted by {by}: {why}"),
        Entry::Asked { what, by } => match what {
            journal::Asked::Unwind => format!("{by} asked to go back"),
            journal::Asked::Superseded => format!("{by} began another operation instead"),
        },
        Entry::Verdict { text } | Entry::Note { text } => text.clone(),
        Entry::Horizon { text, .. } => format!("looked once more: {text}"),
        Entry::Ended { outcome, reason } => {
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("ended {}{reason}", ending(*outcome))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::StepKey;
    use crate::model::OperationId;

    #[test]
    fn an_operation_is_one_row_and_its_events_are_one_line_each() {
        let operation = OperationRecord {
            id: OperationId("01".into()),
            kind: OperationKind::Deploy,
            release: Some(ReleaseNumber(42)),
            previous: Some(ReleaseNumber(41)),
            by: "ana".into(),
            at: "2026-11-22T11:00:00Z".into(),
            ended_at: Some("2026-11-22T11:04:12Z".into()),
            ended: Some(Outcome::RolledBack),
            stage: "await".into(),
            reason: Some("no answer on /up".into()),
        };
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let shown = row(&operation, now);
        assert_eq!(shown, ["1h ago", "deploy r42, after r41", "ana", "4m 12s", "undone", "no answer on /up"]);
        let key = || StepKey::new("await", "3 of 3 healthy in web-r42");
        let said = line(&Entry::Step(key(), Deed::Failed { error: "i-1 exited".into() }));
        assert_eq!(said, "await: 3 of 3 healthy in web-r42: failed: i-1 exited");
        assert_eq!(line(&Entry::Ended { outcome: Outcome::RolledBack, reason: None }), "ended undone");

        let event = |at: &str, entry: Entry| Logged { seq: 0, fence: 1, at: at.into(), nonce: String::new(), entry };
        let events = [
            event("2026-11-22T11:00:00.123456789Z", Entry::Began { text: "deploy r42".into() }),
            event("2026-11-22T22:59:59Z", Entry::Step(key(), Deed::Failed { error: "late\ni-1 unhealthy\n| oh".into() })),
            event("2026-11-22T23:04:12Z", Entry::Ended { outcome: Outcome::RolledBack, reason: None }),
        ];
        let told = told_in_full(&operation, &events, &TimeZone::fixed(jiff::tz::offset(1)));
        insta::assert_snapshot!(anstream::adapter::strip_str(&told), @r"

        deploy r42, after r41  2026-11-22 12:00:00 by ana
          12:00:00  began: deploy r42
          23:59:59  await: 3 of 3 healthy in web-r42: failed: late
                    i-1 unhealthy
                    | oh
          2026-11-23
          00:04:12  ended undone
        ");
    }
}
