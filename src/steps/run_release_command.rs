//! The release's own command (migrations, say), once, on one instance of the candidate: a tag tells the agent there to run it, and the
//! instance's console says how it went. Nobody needs a way onto the machine.
//!
//! *Once*: the instance is chosen by its id alone, so that whoever goes on after a crash chooses the same one; an agent that has run it says
//! so again instead of running it again; and if the chosen instance is gone without a word, nobody can know how far the command came, so
//! the release fails.

use std::time::Duration;

use super::error::During;
use super::pin_size::groups;
use super::wait::{ended, failed};
use super::{Cx, Done, StepError};
use crate::aws::{Error, InstanceInfo, Tags};
use crate::health::{Look, Waiting};
use crate::model::{ConsoleLine, FleetKey, tag};
use crate::plan::ReleaseRun;

/// From the tag to the agent and from its end to the console.
const SLACK: Duration = Duration::from_secs(120);

pub(super) async fn run(cx: &Cx, wanted: &ReleaseRun) -> Done {
    let ReleaseRun { fleet, command } = wanted;
    let instance = chosen(cx, fleet).await?;
    let look = || async {
        let console = cx.aws.ec2.console(&instance);
        let (console, there) = tokio::join!(console, is_there(cx, &instance));
        match (console, there) {
            (Ok(text), there) => match result(&text, cx, fleet) {
                Some((Some(0), tail)) => Look::Done(tail),
                Some(bad) => Look::Failed(complaint(wanted, &instance, bad)),
                None if matches!(there, Ok(false)) => Look::Failed(vanished(fleet, &instance)),
                None => Look::Waiting(Waiting::new(format!("{fleet}: {command} on {instance}"))),
            },
            (Err(error), _) if passes(&error) => Look::Waiting(Waiting::new(format!("{fleet}: {instance} cannot be heard"))),
            (Err(error), _) => failed(error, &format!("read the console of {instance}")),
        }
    };
    let tail = cx.wait(command.within.duration() + SLACK, look).await;
    let tail = tail.map_err(|stop| ended(stop, || format!("{fleet}: nothing was heard of the release command on {instance}")))?;
    let lines = std::iter::once(format!("release command of {fleet} ran on {instance}")).chain(tail.iter().map(|line| format!("| {line}")));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// The instance that was told to run it; if none was, one is.
async fn chosen(cx: &Cx, fleet: &FleetKey) -> Result<String, StepError> {
    let mut tags = cx.fleet_identity(fleet);
    tags.insert(tag::RELEASE_COMMAND.to_string(), cx.operation.to_string());
    let told =
        cx.aws.ec2.instances_tagged(&tags).await.during(&format!("look for the instance of {fleet} that runs its release command"))?;
    if let Some(InstanceInfo { id, .. }) = told.into_iter().next() {
        return Ok(id);
    }
    let found = groups(cx, fleet).await?;
    let ids =
        found.iter().flat_map(|found| &found.group.instances).filter(|instance| instance.in_service()).map(|instance| instance.id.clone());
    let id = ids.min().ok_or_else(|| StepError::new(format!("{fleet} has no instance to run its release command on")))?;
    let told = Tags::from([(tag::RELEASE_COMMAND.to_string(), cx.operation.to_string())]);
    cx.aws.ec2.create_tags(std::slice::from_ref(&id), &told).await.during(&format!("tell {id} to run the release command of {fleet}"))?;
    Ok(id)
}

async fn is_there(cx: &Cx, instance: &str) -> Result<bool, Error> {
    let found = cx.aws.ec2.instances_by_id(&[instance.to_string()]).await?;
    Ok(found.iter().any(|found| !found.state.is_gone()))
}

fn passes(error: &Error) -> bool {
    use crate::aws::ErrorKind::{Network, NotFound, Other, Throttled};
    matches!(error.kind, Network | NotFound | Other | Throttled)
}

/// What the console says of it: the exit code and the last lines.
fn result(console: &str, cx: &Cx, fleet: &FleetKey) -> Option<(Option<i32>, Vec<String>)> {
    ConsoleLine::all_of(console).into_iter().rev().find_map(|line| match line {
        ConsoleLine::ReleaseCommand { service, operation, code, tail } if service == fleet.service && operation == cx.operation.0 => {
            Some((code, tail))
        }
        _ => None,
    })
}

fn complaint(wanted: &ReleaseRun, instance: &str, (code, tail): (Option<i32>, Vec<String>)) -> StepError {
    let ReleaseRun { fleet, command } = wanted;
    let what = match code {
        Some(code) => format!("the release command of {fleet} exited {code}"),
        None => format!("the release command of {fleet} was not through within {}, or was cut short", command.within),
    };
    let failed = StepError::new(what).because(format!("{command} on {instance}"));
    failed.evidence(tail.into_iter().map(|line| format!("| {line}")))
}

fn vanished(fleet: &FleetKey, instance: &str) -> StepError {
    let what = format!("{instance} ended while it ran the release command of {fleet}");
    StepError::new(what).because("nobody knows how far it came, so it is not run again elsewhere")
}
