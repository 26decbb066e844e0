//! Suspending and resuming what a group does by itself.

use super::{answer, group, invalid};
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::wire::{AwsError, Params};

const PROCESSES: [&str; 9] = [
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "Launch",
    "ReplaceUnhealthy",
    "ScheduledActions",
    "Terminate",
];

/// The processes named; none named means all.
fn named(params: &Params) -> Result<Vec<&'static str>, AwsError> {
    let sent = params.texts("ScalingProcesses");
    if let Some(unknown) = sent.iter().find(|name| !PROCESSES.contains(name)) {
        return Err(invalid(format!("'{unknown}' is not a valid scaling process")));
    }
    Ok(PROCESSES.into_iter().filter(|name| sent.is_empty() || sent.contains(name)).collect())
}

pub(super) fn suspend(call: &mut Call<'_>) -> Answer {
    let (names, wall) = (named(call.params)?, call.wall);
    let group = group(call)?;
    for name in names {
        group.suspended.entry(name.to_string()).or_insert_with(|| format!("User suspended at {wall}"));
    }
    answer([])
}

pub(super) fn resume(call: &mut Call<'_>) -> Answer {
    let names = named(call.params)?;
    group(call)?.suspended.retain(|name, _| !names.contains(&name.as_str()));
    answer([])
}
