//! The history of launches and terminations.

use super::state::{Activity, Group};
use super::{answer, invalid, page};
use crate::sandbox::engine::{Answer, Call, Context, State};
use crate::sandbox::wire::{Node, leaf, list};

/// AWS cuts longer messages.
const LONGEST_MESSAGE: usize = 255;

/// Enters a new activity into the history; the id of it.
pub(super) fn begin(state: &mut State, group: &Group, description: String, cause: String, zone: &str, context: Context<'_>) -> String {
    let id = format!("{:08x}-{:04x}-4000-8000-{:012x}", state.rng.u32(..), state.rng.u16(..), state.rng.u64(..) >> 16);
    let subnet = group.subnets.iter().find(|(_, of)| of == zone).map(|(subnet, _)| subnet.as_str()).unwrap_or_default();
    state.autoscaling.activities.push(Activity {
        id: id.clone(),
        group: group.name.clone(),
        group_arn: group.arn.clone(),
        description,
        cause,
        start: context.wall,
        end: None,
        status: "InProgress",
        message: None,
        progress: 30,
        details: serde_json::json!({"Subnet ID": subnet, "Availability Zone": zone}).to_string(),
    });
    id
}

fn activity<'a>(state: &'a mut State, id: &str) -> Option<&'a mut Activity> {
    state.autoscaling.activities.iter_mut().rev().find(|activity| activity.id == id)
}

/// Moves an activity to another unfinished status.
pub(super) fn reach(state: &mut State, id: &str, status: &'static str, progress: u8) {
    if let Some(activity) = activity(state, id) {
        activity.status = status;
        activity.progress = progress;
    }
}

/// Ends an activity well.
pub(super) fn succeed(state: &mut State, id: &str, context: Context<'_>) {
    if let Some(activity) = activity(state, id) {
        (activity.status, activity.progress, activity.end) = ("Successful", 100, Some(context.wall));
    }
}

/// Ends an activity badly.
pub(super) fn fail(state: &mut State, id: &str, message: &str, context: Context<'_>) {
    if let Some(activity) = activity(state, id) {
        (activity.status, activity.progress, activity.end) = ("Failed", 100, Some(context.wall));
        activity.description.push_str(&format!(".  Status Reason: {message}"));
        activity.message = Some(message.chars().take(LONGEST_MESSAGE).collect());
    }
}

/// Newest first.
pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let params = call.params;
    let (name, ids) = (params.get("AutoScalingGroupName"), params.texts("ActivityIds"));
    let groups = &call.state.autoscaling.groups;
    let deleted_too = params.flag("IncludeDeletedGroups").unwrap_or(false);
    if let Some(missing) = name.filter(|name| !groups.contains_key(*name) && !deleted_too) {
        return Err(invalid(format!("AutoScalingGroup name not found - AutoScalingGroup '{missing}' not found")));
    }
    // A group made anew under an old name has its own history.
    let alive = |one: &Activity| groups.get(&one.group).is_some_and(|group| group.arn == one.group_arn);
    let asked_for = |one: &&Activity| {
        name.is_none_or(|name| one.group == name) && (ids.is_empty() || ids.contains(&one.id.as_str())) && (deleted_too || alive(one))
    };
    let (found, next) = page(call.state.autoscaling.activities.iter().rev().filter(asked_for).collect(), params)?;
    let shown = list("Activities", "member", found.into_iter().map(|one| show(one, alive(one))));
    answer([shown].into_iter().chain(next))
}

/// As children of a list member.
pub(super) fn show(one: &Activity, alive: bool) -> Vec<Node> {
    let mut nodes = vec![
        leaf("ActivityId", &one.id),
        leaf("AutoScalingGroupName", &one.group),
        leaf("AutoScalingGroupARN", &one.group_arn),
        leaf("Description", &one.description),
        leaf("Cause", &one.cause),
        leaf("StartTime", one.start),
        leaf("StatusCode", one.status),
        leaf("Progress", one.progress),
        leaf("Details", &one.details),
    ];
    nodes.extend(one.end.map(|end| leaf("EndTime", end)));
    nodes.extend(one.message.as_ref().map(|message| leaf("StatusMessage", message)));
    if !alive {
        nodes.push(leaf("AutoScalingGroupState", "Deleted"));
    }
    nodes
}

/// The activity with this id, for answers that carry one.
pub(super) fn shown(state: &State, id: &str) -> Vec<Node> {
    let found = state.autoscaling.activities.iter().find(|activity| activity.id == id);
    found.map(|activity| show(activity, true)).unwrap_or_default()
}
