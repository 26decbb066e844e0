//! Starting, stopping and terminating instances.

use super::describe::{render_state, seen};
use super::instances::{self, InstanceState, boot};
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::wire::{AwsError, branch, leaf, list};

/// `TerminateInstances`: idempotent; all ids must exist.
pub(super) fn terminate(call: &mut Call<'_>) -> Answer {
    call.params.only("TerminateInstances", &["InstanceId"])?;
    let context = call.context();
    change(call, |call, id| {
        instances::terminate(call.state, id, context);
        Ok(())
    })
}

/// `StopInstances`.
pub(super) fn stop(call: &mut Call<'_>) -> Answer {
    call.params.only("StopInstances", &["InstanceId", "Force"])?;
    change(call, |call, id| {
        let due = call.now + call.latencies.stopping;
        let Some(instance) = call.state.ec2.instances.get_mut(id) else { return Ok(()) };
        match instance.state {
            InstanceState::Stopping | InstanceState::Stopped => Ok(()),
            InstanceState::Pending | InstanceState::Running => {
                let code = "Client.UserInitiatedShutdown";
                instance.reason = Some((code.to_string(), format!("{code}: User initiated shutdown")));
                (instance.state, instance.due) = (InstanceState::Stopping, due);
                call.host.stop(id);
                Ok(())
            }
            _ => Err(incorrect(id, "stopped")),
        }
    })
}

/// `StartInstances`.
pub(super) fn start(call: &mut Call<'_>) -> Answer {
    call.params.only("StartInstances", &["InstanceId"])?;
    change(call, |call, id| {
        let due = call.now + call.latencies.pending_to_running;
        let Some(instance) = call.state.ec2.instances.get_mut(id) else { return Ok(()) };
        match instance.state {
            InstanceState::Pending | InstanceState::Running => Ok(()),
            InstanceState::Stopped => {
                (instance.state, instance.due, instance.reason) = (InstanceState::Pending, due, None);
                let again = instance.clone();
                boot(call.state, &again, false, call.context());
                Ok(())
            }
            _ => Err(incorrect(id, "started")),
        }
    })
}

fn incorrect(id: &str, what: &str) -> AwsError {
    AwsError::bad("IncorrectInstanceState", format!("The instance '{id}' is not in a state from which it can be {what}."))
}

/// Applies a deed to every instance named, and answers with the states before and after.
fn change(call: &mut Call<'_>, mut deed: impl FnMut(&mut Call<'_>, &str) -> Result<(), AwsError>) -> Answer {
    let ids: Vec<String> = call.params.texts("InstanceId").into_iter().map(str::to_string).collect();
    if ids.is_empty() {
        return Err(AwsError::bad("MissingParameter", "The request must contain the parameter InstanceId"));
    }
    let mut before = Vec::new();
    for id in &ids {
        before.push(seen(call, id)?.state);
    }
    let mut rows = Vec::new();
    for (id, before) in ids.iter().zip(before) {
        deed(call, id)?;
        let after = call.state.ec2.instances.get(id).map_or(before, |instance| instance.state);
        rows.push(vec![leaf("instanceId", id), render_state("currentState", after), render_state("previousState", before)]);
    }
    Ok(branch("changed", [list("instancesSet", "item", rows)]))
}
