//! `adstage lock freeze` and `unfreeze`: a person's lock, with a reason and perhaps an end. It is never renewed, never taken over, never
//! waited for, and it stops nobody who is at work already.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::Place;
use super::frozen::{end, said};
use super::until::until;
use crate::cli::Global;
use crate::cli::access::refused;
use crate::cli::confirm::Question;
use crate::failure::{End, Failure};
use crate::lock::{self, Freezing};
use crate::model::{Confirm, FreezeRecord, LockState};
use crate::report::{ago, bold};

/// Let nobody begin a deploy: a person's lock, with a reason
///
///   adstage lock freeze production --reason "year-end close"
///   adstage lock freeze production --reason "load test" --until 2h
///   adstage lock freeze production --reason "weekend" --until "Mon 08:00"
///   adstage lock freeze production --reason "longer" --until 20:00 --replace maya
///
/// What runs already is not stopped (that is `adstage lock halt`), and a rollback passes a freeze. Whoever must deploy
/// anyway says why: `adstage deploy production --override-freeze WHY`.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment
    environment: String,
    /// Why; whoever is stopped by it reads this
    #[arg(long, value_name = "WHY")]
    reason: String,
    /// When it ends, by AWS's clock: 2h, 18:00, "Mon 08:00", 2026-12-01T08:00:00Z [default: when somebody lifts it]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// In place of this person's freeze
    #[arg(long, value_name = "WHO")]
    replace: Option<String>,
}

/// Lift a freeze, and say whose it was
///
///   adstage lock unfreeze production
///   adstage lock unfreeze production --yes      somebody else's, where nobody can be asked
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct UnfreezeArgs {
    /// The environment
    environment: String,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let place = Place::reach(&args.environment, global).await?;
    let (db, environment, name) = (&place.access.aws.dynamodb, &place.access.environment, &place.name);
    let view = lock::read(db, &place.scope).await.map_err(|error| refused(error, environment))?;
    let (now, zone) = (db.now(), TimeZone::system());
    let old = view.freeze.filter(|freeze| lock::in_force(freeze, now));
    if let Some(old) = old.as_ref().filter(|old| args.replace.as_ref() != Some(&old.who)) {
        return Err(already(old, name, &args.reason, now));
    }
    let usage = |wrong: String| Failure::new(End::Usage, format!("--until {wrong}"));
    let until = args.until.as_ref().map(|text| until(text, now, &zone)).transpose().map_err(usage)?;
    let who = global.identity(&place.access.caller);
    let until = until.map(|until| until.to_string());
    let freeze = FreezeRecord { who: who.who.clone(), reason: args.reason, made: now.to_string(), until };
    match lock::freeze(db, &global.clock, &place.scope, &who, &freeze, old.as_ref()).await.map_err(|error| refused(error, environment))? {
        Freezing::Frozen => {}
        // Somebody was faster.
        Freezing::Already(other) => return Err(already(&other, name, &freeze.reason, now)),
    }
    let at_work = view.lock.filter(|lock| lock.state == LockState::Held);
    let value = json!({ "environment": name, "freeze": freeze, "replaced": old, "at_work": at_work.as_ref().map(|lock| &lock.who) });
    global.report.result(&value, || {
        let mut text = format!("{}\n", bold(&format!("{name} is frozen {}.", end(&freeze, now, &zone))));
        if let Some(lock) = &at_work {
            text += &format!("  {}, who is {} now, is not stopped by it\n", lock.who, lock.doing);
        }
        text + &format!("  lift it  {}\n", global.typed(&format!("adstage lock unfreeze {name}")))
    })
}

fn already(freeze: &FreezeRecord, name: &str, reason: &str, now: Timestamp) -> Failure {
    let failure = Failure::new(End::Locked, format!("{name} is frozen already, {}", said(freeze, now, &TimeZone::system())));
    let replace = format!("adstage lock freeze {name} --reason \"{reason}\" --replace {}", freeze.who);
    failure.next(replace).next(format!("adstage lock unfreeze {name}"))
}

pub async fn unfreeze(args: UnfreezeArgs, global: &Global) -> Result<(), Failure> {
    let place = Place::reach(&args.environment, global).await?;
    let (db, environment, name) = (&place.access.aws.dynamodb, &place.access.environment, &place.name);
    let unreadable = |error| refused(error, environment);
    let freeze = lock::read(db, &place.scope).await.map_err(unreadable)?.freeze.filter(|freeze| lock::in_force(freeze, db.now()));
    if let Some(freeze) = freeze.filter(|freeze| freeze.who != global.who(&place.access.caller)) {
        global.report.say(format!("frozen {}", said(&freeze, db.now(), &TimeZone::system())));
        let doing = format!("lift {}'s freeze of {name}", freeze.who);
        let command = format!("adstage lock unfreeze {name}");
        global.confirm(environment, &Question { doing: &doing, command: &command, level: Confirm::Yes, default: false })?;
    }
    let lifted = lock::unfreeze(db, &global.clock, &place.scope, &global.identity(&place.access.caller)).await.map_err(unreadable)?;
    let now = db.now();
    global.report.result(&json!({ "environment": name, "lifted": lifted }), || match &lifted {
        Some(freeze) => {
            let made = if freeze.made.is_empty() { String::new() } else { format!(", made {}", ago(&freeze.made, now)) };
            format!("{name} is not frozen any more. It was {}'s{made}: \"{}\"", freeze.who, freeze.reason)
        }
        None => format!("{name} was not frozen. Nothing to do."),
    })
}
