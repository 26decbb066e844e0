//! What a caller may do to single instances of a group.

use std::time::Duration;

use super::state::{Group, Member, Phase};
use super::{activities, answer, group, invalid, reconcile};
use crate::sandbox::ec2;
use crate::sandbox::engine::{Answer, Call, State};
use crate::sandbox::wire::{AwsError, branch};

/// The name of the group an instance belongs to.
fn group_of(call: &Call<'_>, id: &str) -> Result<String, AwsError> {
    let has = |group: &&Group| group.members.iter().any(|member| member.id == id && member.phase.counts());
    let found = call.state.autoscaling.groups.values().find(has);
    let missing = || invalid(format!("Instance Id not found - No managed instance found for instance ID: {id}"));
    found.map(|group| group.name.clone()).ok_or_else(missing)
}

/// Takes one instance out of service for good, with or without a replacement.
pub(super) fn terminate(call: &mut Call<'_>) -> Answer {
    let id = call.params.required("InstanceId")?;
    let decrement = call.params.flag("ShouldDecrementDesiredCapacity");
    let decrement = decrement.ok_or_else(|| invalid("ShouldDecrementDesiredCapacity is required"))?;
    let name = group_of(call, id)?;
    let context = call.context();
    let Some(mut found) = call.state.autoscaling.groups.remove(&name) else { return answer([]) };
    if decrement && found.desired <= found.min {
        let message = format!(
            "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
            found.min
        );
        call.state.autoscaling.groups.insert(name, found);
        return Err(invalid(message));
    }
    if decrement {
        found.desired -= 1;
    }
    let cause = format!("At {} instance {id} was taken out of service in response to a user request.", call.wall);
    let activity = reconcile::take_out(&mut found, call.state, id, cause, context);
    found.next_look = found.next_look.max(context.now + context.latencies.group_notices);
    call.state.autoscaling.groups.insert(name, found);
    let shown = activities::shown(call.state, &activity);
    answer([branch("Activity", shown)])
}

/// A verdict from outside; an unhealthy instance is replaced at the group's next look.
pub(super) fn set_health(call: &mut Call<'_>) -> Answer {
    let id = call.params.required("InstanceId")?;
    let healthy = match call.params.required("HealthStatus")? {
        "Healthy" => true,
        "Unhealthy" => false,
        other => return Err(invalid(format!("'{other}' is not a valid health status: Healthy or Unhealthy"))),
    };
    let respects_grace = call.params.flag("ShouldRespectGracePeriod").unwrap_or(true);
    let name = group_of(call, id)?;
    let (now, compression) = (call.now, call.latencies.compression);
    let Some(found) = call.state.autoscaling.groups.get_mut(&name) else { return answer([]) };
    let grace = found.grace_span(compression);
    let member = found.members.iter_mut().find(|member| member.id == id);
    if let Some(member) = member.filter(|member| healthy || !respects_grace || !member.in_grace(now, grace)) {
        member.healthy = healthy;
    }
    answer([])
}

pub(super) fn set_protection(call: &mut Call<'_>) -> Answer {
    let protected = call.params.flag("ProtectedFromScaleIn").ok_or_else(|| invalid("ProtectedFromScaleIn is required"))?;
    let ids: Vec<String> = call.params.texts("InstanceIds").into_iter().map(str::to_string).collect();
    let found = group(call)?;
    if let Some(missing) = ids.iter().find(|id| !found.members.iter().any(|member| member.id == **id)) {
        return Err(invalid(format!("Instance Id not found - {missing} is not in the group")));
    }
    for member in found.members.iter_mut().filter(|member| ids.contains(&member.id)) {
        member.protected = protected;
    }
    answer([])
}

impl Group {
    /// Instances about to be taken back, if it replaces such.
    pub(super) fn leaving(&self, state: &State) -> usize {
        let leaving = self.members.iter().filter(|member| member.phase.counts() && ec2::has_notice(state, &member.id));
        if self.rebalance { leaving.count() } else { 0 }
    }

    /// The grace period, as long as it is in this sandbox.
    pub(super) fn grace_span(&self, compression: u32) -> Duration {
        Duration::from_secs(self.grace.into()) / compression.max(1)
    }
}

impl Member {
    /// Not yet in service for longer than the grace period.
    pub(super) fn in_grace(&self, now: Duration, grace: Duration) -> bool {
        self.phase == Phase::Pending || now < self.in_service_since + grace
    }
}
