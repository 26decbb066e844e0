//! `adstage lock show`: the whole truth about one lock, looked at for as long as a heartbeat takes.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;

use super::frozen;
use super::{Place, place};
use crate::cli::Global;
use crate::cli::access::refused;
use crate::cli::blocked::to_go;
use crate::cli::history;
use crate::failure::Failure;
use crate::journal;
use crate::lock::{self, Sign, constants, lapses_in, listen};
use crate::model::{Broken, FreezeRecord, LockRecord, LockState, OperationId, OperationRecord, Seconds};
use crate::report::{ago, bold, dim};

/// Show who holds the lock, from where, doing what, and whether they are alive
///
///   adstage lock show production
///   adstage lock show production --output json
///
/// While somebody holds it, this watches for their next renewal, 14 seconds at most, and says what it saw.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment
    environment: String,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let place = Place::reach(&args.environment, global).await?;
    let db = &place.access.aws.dynamodb;
    let unreadable = |error| refused(error, &place.access.environment);
    let tell =
        |lock: &LockRecord| global.report.say(format!("watching for a sign of {}, {} s at most", lock.who, constants::LISTEN.as_secs()));
    let sign = listen(db, &global.clock, &place.scope, &tell).await.map_err(unreadable)?;
    let open = sign.view.lock.as_ref().and_then(|lock| lock.open.clone());
    let unfinished = match open {
        Some(id) => journal::operation(db, &place.scope, &id).await.map_err(unreadable)?.map(|(operation, _)| operation.record),
        None => None,
    };
    let shown = Shown::of(&sign, unfinished, db.now());
    let next: Vec<String> = shown.next(&place.name).iter().map(|command| global.typed(command)).collect();
    let value = json!({ "environment": place.name, "lock": shown, "next": next });
    global.report.result(&value, || shown.text(&place.name, &next, db.now(), &TimeZone::system()))
}

/// A lock as programs get it. Fields are only ever added.
#[derive(Debug, Serialize)]
struct Shown {
    /// `free`, `held`, `frozen` (and not held), `lapsed` (not held, and something is unfinished).
    state: &'static str,
    holder: Option<String>,
    from: Option<String>,
    doing: Option<String>,
    stage: Option<String>,
    since: Option<String>,
    /// As seen just now; none if nobody holds it.
    alive: Option<bool>,
    quiet_seconds: Option<u64>,
    lapses_in: Option<u64>,
    seconds_to_go: Option<u64>,
    /// The operation that holds it.
    operation: Option<OperationId>,
    /// The operation that is not over; outlives the lease.
    open: Option<OperationId>,
    unfinished: Option<OperationRecord>,
    asked_to_stop: Option<Asked>,
    /// It was taken from its holder by force, and nobody has given it back in order since.
    broken: Option<Broken>,
    freeze: Option<FreezeRecord>,
}

#[derive(Debug, Serialize)]
struct Asked {
    by: String,
    why: String,
}

impl Shown {
    fn of(sign: &Sign, unfinished: Option<OperationRecord>, now: Timestamp) -> Self {
        let lock = sign.view.lock.as_ref();
        let held = lock.filter(|lock| lock.state == LockState::Held);
        let freeze = sign.view.freeze.clone().filter(|freeze| lock::in_force(freeze, now));
        let open = lock.and_then(|lock| lock.open.clone());
        let state = match (held, &freeze, &open) {
            (Some(_), ..) => "held",
            (None, Some(_), _) => "frozen",
            (None, None, Some(_)) => "lapsed",
            (None, None, None) => "free",
        };
        let text = |text: fn(&LockRecord) -> String| held.map(text).filter(|text| !text.is_empty());
        Self {
            state,
            holder: text(|lock| lock.who.clone()),
            from: text(place),
            doing: text(|lock| lock.doing.clone()),
            stage: text(|lock| lock.stage.clone()),
            since: text(|lock| lock.since.clone()),
            alive: sign.alive,
            quiet_seconds: held.map(|_| sign.quiet.as_secs()),
            lapses_in: held.map(|lock| lapses_in(lock, sign.quiet).as_secs()),
            seconds_to_go: held.and_then(|lock| to_go(lock, now)).map(|left| left.0),
            operation: held.and_then(|lock| lock.operation.clone()),
            open,
            unfinished,
            asked_to_stop: held.and_then(|lock| lock.halt.clone()).map(|(by, why)| Asked { by, why }),
            broken: lock.and_then(|lock| lock.broken.clone()),
            freeze,
        }
    }

    /// What may be typed now, most useful first.
    fn next(&self, environment: &str) -> Vec<String> {
        let command = |words: &str| words.replace("ENV", environment);
        let mut next = match (self.alive, &self.open, &self.operation) {
            (Some(true), ..) => vec![command("adstage lock halt ENV"), command("adstage status ENV")],
            (Some(false), _, Some(operation)) => {
                vec![command("adstage rollback ENV"), command(&format!("adstage lock break ENV {operation} --reason \"…\""))]
            }
            (None, Some(_), _) => {
                vec![command("adstage resume ENV"), command("adstage resume ENV --abort"), command("adstage rollback ENV")]
            }
            _ => Vec::new(),
        };
        if self.freeze.is_some() {
            next.push(command("adstage lock unfreeze ENV"));
        }
        next
    }

    fn text(&self, environment: &str, next: &[String], now: Timestamp, zone: &TimeZone) -> String {
        let head = match (self.state, &self.holder, &self.doing) {
            ("held", Some(holder), Some(doing)) => format!("held: {holder} is {doing}"),
            ("lapsed", ..) => "free, but something is unfinished".into(),
            (state, ..) => state.to_string(),
        };
        let mut text = format!("{}  {head}\n", bold(environment));
        let mut line = |name: &str, said: String| text += &format!("{name:<11} {said}\n");
        let ago = |since: &String| ago(since, now);
        self.from.iter().for_each(|from| line("from", from.clone()));
        self.since.iter().for_each(|since| line("since", ago(since)));
        let left = self.seconds_to_go.map(|left| format!(", about {} to go", Seconds(left))).unwrap_or_default();
        self.stage.iter().for_each(|stage| line("at", format!("{stage}{left}")));
        self.alive.into_iter().for_each(|alive| line("alive", self.sign(alive)));
        self.operation.iter().for_each(|operation| line("operation", operation.to_string()));
        self.asked_to_stop.iter().for_each(|asked| line("asked", format!("{} asked it to stop: {}", asked.by, asked.why)));
        for operation in self.unfinished.iter().filter(|operation| self.operation.as_ref() != Some(&operation.id)) {
            let (by, doing, stage) = (&operation.by, history::doing(operation), &operation.stage);
            line("unfinished", format!("{by}'s {doing}, begun {}, last seen at: {stage} ({})", ago(&operation.at), operation.id));
        }
        self.broken.iter().for_each(|broken| line("broken", format!("by {} {}: {}", broken.who, ago(&broken.at), broken.why)));
        self.freeze.iter().for_each(|freeze| line("freeze", frozen::said(freeze, now, zone)));
        for (index, command) in next.iter().enumerate() {
            text += &format!("{}  {command}\n", dim(if index == 0 { "next:" } else { "     " }));
        }
        text
    }

    fn sign(&self, alive: bool) -> String {
        let [quiet, lapses] = [self.quiet_seconds, self.lapses_in].map(|span| Seconds(span.unwrap_or_default()));
        match alive {
            true => "yes: it renewed the lock while we watched".into(),
            false => format!("no sign for {quiet}; in {lapses} without one, whoever waits takes over"),
        }
    }
}
