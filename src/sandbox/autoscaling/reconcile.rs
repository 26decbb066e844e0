//! Making groups what they should be: instances come into service, leave it in peace, are replaced when they are unwell.

use std::collections::BTreeMap;
use std::time::Duration;

use super::state::{Group, Member, Phase, Source};
use super::{activities, launch, sources, tracking};
use crate::sandbox::ec2::{self, InstanceState};
use crate::sandbox::elbv2;
use crate::sandbox::engine::{Context, State};

/// How often a group looks at its instances' health: AWS does not publish it, half a minute is what people see.
const HEALTH_PERIOD: Duration = Duration::from_secs(30);

/// Moves every group on.
pub(in crate::sandbox) fn tick(state: &mut State, context: Context<'_>) {
    for name in state.autoscaling.groups.keys().cloned().collect::<Vec<_>>() {
        // Taken out while it works on the rest of the state.
        let Some(mut group) = state.autoscaling.groups.remove(&name) else { continue };
        advance(&mut group, state, context);
        let gone = group.deleting.is_some_and(|until| context.now >= until && group.members.is_empty());
        if !gone {
            state.autoscaling.groups.insert(name, group);
        }
    }
}

fn advance(group: &mut Group, state: &mut State, context: Context<'_>) {
    sources::advance(group, state, context);
    move_members(group, state, context);
    if context.now >= group.next_health {
        group.next_health = context.now + HEALTH_PERIOD / context.latencies.compression.max(1);
        if !group.suspends("HealthCheck") {
            look_at_health(group, state, context);
        }
    }
    tracking::advance(group, state, context);
    if context.now < group.next_look || group.deleting.is_some() {
        return;
    }
    group.next_look = context.now + context.latencies.group_notices;
    if !group.suspends("ReplaceUnhealthy") && !group.suspends("Terminate") {
        replace_unhealthy(group, state, context);
    }
    if !group.suspends("Terminate") {
        rebalance(group, state, context);
        scale_in(group, state, context);
    }
    if !group.suspends("Launch") {
        launch::fill_up(group, state, context);
    }
}

fn move_members(group: &mut Group, state: &mut State, context: Context<'_>) {
    for mut member in std::mem::take(&mut group.members) {
        let found = ec2::instance(state, &member.id).map(|instance| instance.state);
        let stays = match member.phase {
            Phase::Pending => came_up(group, &mut member, found, state, context),
            Phase::InService => true,
            Phase::Draining => {
                if group.sources.keys().all(|arn| elbv2::drained(state, arn, &member.id)) {
                    ec2::terminate(state, &member.id, context);
                    activities::reach(state, &member.activity, "InProgress", 60);
                    member.phase = Phase::Ending;
                }
                true
            }
            Phase::Ending => {
                let ended = found.is_none_or(|state| state == InstanceState::Terminated);
                if ended {
                    activities::succeed(state, &member.activity, context);
                }
                !ended
            }
        };
        if stays {
            group.members.push(member);
        }
    }
}

/// A launched instance: in service once it runs and is registered everywhere. False if it died before.
fn came_up(group: &Group, member: &mut Member, found: Option<InstanceState>, state: &mut State, context: Context<'_>) -> bool {
    match found {
        Some(InstanceState::Pending) => true,
        Some(InstanceState::Running) => {
            let attached = group.sources.iter().filter(|(_, source)| **source != Source::Removing).map(|(arn, _)| arn);
            let attached: Vec<&String> = attached.filter(|_| !group.suspends("AddToLoadBalancer")).collect();
            if let Some(error) = attached.into_iter().find_map(|arn| elbv2::register(state, arn, &member.id).err()) {
                activities::fail(state, &member.activity, &error.message, context);
                ec2::terminate(state, &member.id, context);
                return false;
            }
            member.phase = Phase::InService;
            member.in_service_since = context.now;
            activities::succeed(state, &member.activity, context);
            true
        }
        dead => {
            let reason = ec2::instance(state, &member.id).and_then(|instance| instance.reason.clone());
            let reason = reason.map_or_else(|| "unknown".to_string(), |(_, message)| message);
            let what = "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason";
            activities::fail(state, &member.activity, &format!("{what}: {reason}"), context);
            if dead.is_some() {
                ec2::terminate(state, &member.id, context);
            }
            false
        }
    }
}

/// An instance that does not run is unhealthy at once; the load balancer's verdict counts if the group heeds it, after the grace period.
fn look_at_health(group: &mut Group, state: &State, context: Context<'_>) {
    let (grace, heeds) = (group.grace_span(context.latencies.compression), group.heeds_load_balancer());
    let sources = &group.sources;
    for member in group.members.iter_mut().filter(|member| member.phase == Phase::InService) {
        if !runs(state, &member.id) {
            member.healthy = false;
        } else if heeds && !member.in_grace(context.now, grace) {
            // One that is still being attached has no say yet.
            let heard = sources.iter().filter(|(_, source)| **source == Source::InService);
            let unwell = |arn: &String| elbv2::standing(state, arn, &member.id).is_some_and(|standing| standing.state == "unhealthy");
            if heard.map(|(arn, _)| arn).any(unwell) {
                member.healthy = false;
            }
        }
    }
}

fn runs(state: &State, id: &str) -> bool {
    ec2::instance(state, id).is_some_and(|instance| instance.state == InstanceState::Running)
}

/// Those that do not run go all at once. The others go a tenth of the group at a time (at least one), and none while less than 90 % of
/// the group is in service and well.
fn replace_unhealthy(group: &mut Group, state: &mut State, context: Context<'_>) {
    let unhealthy = |member: &&Member| member.phase == Phase::InService && !member.healthy;
    let ids: Vec<String> = group.members.iter().filter(unhealthy).map(|member| member.id.clone()).collect();
    let (unwell, dead): (Vec<String>, Vec<String>) = ids.into_iter().partition(|id| runs(state, id));
    for id in dead {
        let cause = format!(
            "At {} an instance was taken out of service in response to an EC2 health check indicating it has been terminated or stopped.",
            context.wall
        );
        take_out(group, state, &id, cause, context);
    }
    let desired = group.desired as usize;
    let present = group.members.iter().filter(|member| member.phase == Phase::InService).count();
    let at_once = (desired / 10).max(1);
    let under_way = desired.saturating_sub(present);
    for id in unwell.into_iter().take(at_once.saturating_sub(under_way)) {
        let cause = format!("At {} an instance was taken out of service in response to an ELB system health check failure.", context.wall);
        take_out(group, state, &id, cause, context);
    }
}

/// Those about to be taken back leave in peace once others are there in their stead.
fn rebalance(group: &mut Group, state: &mut State, context: Context<'_>) {
    if !group.rebalance {
        return;
    }
    let serving = group.members.iter().filter(|member| member.phase == Phase::InService);
    let (leaving, staying): (Vec<&Member>, Vec<&Member>) = serving.partition(|member| ec2::has_notice(state, &member.id));
    let ready = staying.len() >= group.desired as usize;
    let leaving: Vec<String> = leaving.into_iter().filter(|_| ready).map(|member| member.id.clone()).collect();
    for id in leaving {
        let cause =
            format!("At {} an instance was taken out of service in response to an EC2 instance rebalance recommendation.", context.wall);
        take_out(group, state, &id, cause, context);
    }
}

/// Takes out what is too much: from the fullest zone, unwell before well, oldest first, never a protected one.
fn scale_in(group: &mut Group, state: &mut State, context: Context<'_>) {
    while group.size() > group.desired as usize + group.leaving(state) {
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        for member in group.members.iter().filter(|member| member.phase.counts()) {
            *zones.entry(member.zone.as_str()).or_default() += 1;
        }
        let free = group.members.iter().filter(|member| member.phase.counts() && !member.protected);
        let crowd = |member: &&Member| zones.get(member.zone.as_str()).copied().unwrap_or(0);
        // `min_by_key` takes the first of equals, which is the oldest.
        let Some(victim) = free.min_by_key(|member| (std::cmp::Reverse(crowd(member)), member.healthy)) else { return };
        let (id, from) = (victim.id.clone(), group.size());
        let cause = format!(
            "{}  At {} instance {id} was selected for termination, shrinking the capacity from {from} to {}.",
            group.cause,
            context.wall,
            from - 1
        );
        take_out(group, state, &id, cause, context);
    }
}

/// Begins the end of an instance: out of the target groups first, then the deregistration delay, then EC2. The id of the activity.
pub(super) fn take_out(group: &mut Group, state: &mut State, id: &str, cause: String, context: Context<'_>) -> String {
    let Some(index) = group.members.iter().position(|member| member.id == id) else { return String::new() };
    let (was, zone, launching) = (group.members[index].phase, group.members[index].zone.clone(), group.members[index].activity.clone());
    if was == Phase::Pending {
        activities::fail(state, &launching, "Instance was terminated before it was in service", context);
    }
    let activity = activities::begin(state, group, format!("Terminating EC2 instance: {id}"), cause, &zone, context);
    for arn in group.sources.keys() {
        elbv2::deregister(state, arn, id, context);
    }
    activities::reach(state, &activity, "WaitingForELBConnectionDraining", 50);
    let member = &mut group.members[index];
    member.phase = Phase::Draining;
    member.activity.clone_from(&activity);
    activity
}
