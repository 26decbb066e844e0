//! `adstage lock repair`: a lock whose row was deleted, edited or restored from a backup counts from where nobody has been.

use serde_json::json;

use super::Place;
use crate::cli::Global;
use crate::cli::blocked::{self, Attempt};
use crate::cli::confirm::Question;
use crate::failure::Failure;
use crate::lock::{self, Repaired, constants};
use crate::model::{Confirm, Seconds};
use crate::report::bold;

/// Put a lock in order whose row was deleted, edited, or restored from a backup
///
///   adstage lock repair production --reason "table restored to 09:00"
///   adstage lock repair production --reason "table restored to 09:00" --confirm production
///
/// The lock then counts on from above everything any record was written under, so that no holder from before can
/// write, and names the newest operation without an end as unfinished. Refused while somebody is at work.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment
    environment: String,
    /// Why; kept with who did it
    #[arg(long, value_name = "WHY")]
    reason: String,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let place = Place::reach(&args.environment, global).await?;
    let (access, name) = (&place.access, &place.name);
    let db = &access.aws.dynamodb;
    let doing = format!("repair the lock of {name}");
    let command = format!("adstage lock repair {name} --reason \"{}\"", args.reason);
    global.confirm(&access.environment, &Question { doing: &doing, command: &command, level: Confirm::Name, default: false })?;
    global.report.say(format!("listening whether anybody is at work, {} s at most", constants::LISTEN.as_secs()));
    let who = global.identity(&access.caller);
    match lock::repair(db, &global.clock, &place.scope, &who, &args.reason).await {
        Ok(repaired) => {
            let Repaired { before, now } = &repaired;
            let value = json!({ "environment": name, "before": before, "lock": now, "open": now.open });
            global.report.result(&value, || text(&repaired, name, global))
        }
        Err(blocked) => {
            let attempt = Attempt {
                subject: name,
                command: &command,
                environment: Some(name),
                overrides: false,
                waited: constants::LISTEN,
                now: db.now(),
            };
            Err(blocked::failure(blocked, access, &place.scope, &attempt).await)
        }
    }
}

fn text(repaired: &Repaired, name: &str, global: &Global) -> String {
    let Repaired { before, now } = repaired;
    let was =
        before.as_ref().map_or_else(|| "there was no row that could be read".to_string(), |before| format!("it was at {}", before.fence));
    let mut text = format!("{}\n", bold(&format!("The lock of {name} is in order: free, counting from {}; {was}.", now.fence)));
    let wait = Seconds::from(constants::BROKEN_SILENT);
    text += &format!("  somebody may be at work who does not know yet: whoever comes next changes nothing for {wait}\n");
    if let Some(open) = &now.open {
        text += &format!("  unfinished  {open}\n  go on       {}\n", global.typed(&format!("adstage resume {name}")));
        text += &format!("  go back     {}\n", global.typed(&format!("adstage rollback {name}")));
    }
    text + &format!("  see         {}\n", global.typed(&format!("adstage status {name}")))
}
