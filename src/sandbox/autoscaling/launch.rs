//! Launching instances of a group, and what becomes of launches that fail.

use std::collections::BTreeMap;
use std::time::Duration;

use super::activities;
use super::state::{Group, Member, Phase};
use crate::sandbox::ec2;
use crate::sandbox::elbv2;
use crate::sandbox::engine::{Context, State};
use crate::sandbox::wire::AwsError;

/// After a failed launch the group waits this long, then twice that, and so on.
const FIRST_WAIT: Duration = Duration::from_secs(15);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Launches what is missing.
pub(super) fn fill_up(group: &mut Group, state: &mut State, context: Context<'_>) {
    if context.now < group.no_launch_before {
        return;
    }
    // Those about to be taken back are replaced before they are gone.
    while group.size() < group.desired as usize + group.leaving(state) {
        if let Err(()) = launch_one(group, state, context) {
            let wait = FIRST_WAIT * 2u32.saturating_pow(group.failures.min(10));
            group.no_launch_before = context.now + wait.min(LONGEST_WAIT) / context.latencies.compression.max(1);
            group.failures += 1;
            return;
        }
        group.failures = 0;
    }
}

/// Tries the zones from the emptiest to the fullest; another zone helps against a lack of capacity, not against a mistake.
fn launch_one(group: &mut Group, state: &mut State, context: Context<'_>) -> Result<(), ()> {
    for (subnet, zone) in by_need(group) {
        let (size, next) = (group.size(), group.size() + 1);
        let cause = format!(
            "{}  At {} an instance was started in response to a difference between desired and actual capacity, \
             increasing the capacity from {size} to {next}.",
            group.cause, context.wall
        );
        match try_launch(group, state, &subnet, context) {
            Ok(mut member) => {
                let text = format!("Launching a new EC2 instance: {}", member.id);
                member.activity = activities::begin(state, group, text, cause, &zone, context);
                activities::reach(state, &member.activity, "PreInService", 30);
                group.members.push(member);
                return Ok(());
            }
            Err(error) => {
                let lacking = error.code == "InsufficientInstanceCapacity";
                let elsewhere = lacking || error.code == "InsufficientFreeAddressesInSubnet";
                let spot = group.mixed.as_ref().is_some_and(|mixed| mixed.spot);
                let message = if lacking && spot {
                    format!("Could not launch Spot Instances. {} - {} Launching EC2 instance failed.", error.code, error.message)
                } else if lacking {
                    format!(
                        "We currently do not have sufficient capacity in the Availability Zone you requested ({zone}). \
                         Our system will be working on provisioning additional capacity. Launching EC2 instance failed."
                    )
                } else {
                    format!("{} Launching EC2 instance failed.", error.message)
                };
                let activity = activities::begin(state, group, "Launching a new EC2 instance".into(), cause, &zone, context);
                activities::fail(state, &activity, &message, context);
                if !elsewhere {
                    return Err(());
                }
            }
        }
    }
    Err(())
}

/// Subnets, those in zones with the fewest instances first.
fn by_need(group: &Group) -> Vec<(String, String)> {
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    for member in group.members.iter().filter(|member| member.phase.counts()) {
        *taken.entry(member.zone.as_str()).or_default() += 1;
    }
    let mut subnets = group.subnets.clone();
    subnets.sort_by_key(|(_, zone)| taken.get(zone.as_str()).copied().unwrap_or(0));
    subnets
}

fn try_launch(group: &Group, state: &mut State, subnet: &str, context: Context<'_>) -> Result<Member, AwsError> {
    if group.sources.keys().any(|arn| !elbv2::target_group_exists(state, arn)) {
        let message = "One or more target groups not found. Validating load balancer configuration failed.";
        return Err(AwsError::bad("ValidationError", message));
    }
    let template = ec2::template(state, &group.template)?;
    let (version, template_id, template_name) = (template.number(&group.template.version)?, template.id.clone(), template.name.clone());
    let mut request = ec2::from_template(state, &group.template)?;
    request.subnet = subnet.to_string();
    let passed_on = group.tags.iter().filter(|(_, (_, propagate))| *propagate);
    request.tags.extend(passed_on.map(|(key, (value, _))| (key.clone(), value.clone())));
    request.tags.extend([
        ("aws:autoscaling:groupName".to_string(), group.name.clone()),
        ("aws:ec2launchtemplate:id".to_string(), template_id.clone()),
        ("aws:ec2launchtemplate:version".to_string(), version.to_string()),
    ]);
    let mut types = group.mixed.as_ref().map(|mixed| mixed.types.clone()).unwrap_or_default();
    if types.is_empty() {
        types.push(request.kind.clone());
    }
    request.spot = group.mixed.as_ref().is_some_and(|mixed| mixed.spot);
    let mut launched = Err(AwsError::bad("InsufficientInstanceCapacity", "no instance type to choose"));
    for kind in types {
        request.kind = kind;
        launched = ec2::launch(state, &request, context);
        // Another type helps against a lack of capacity only.
        if !launched.as_ref().is_err_and(|error| error.code == "InsufficientInstanceCapacity") {
            break;
        }
    }
    let id = launched?;
    let zone = ec2::instance(state, &id).map(|instance| instance.zone.clone()).unwrap_or_default();
    Ok(Member {
        id,
        zone,
        kind: request.kind,
        image: request.image,
        template_id,
        template_name,
        template_version: version,
        phase: Phase::Pending,
        healthy: true,
        protected: group.protect_new,
        activity: String::new(),
        in_service_since: Duration::ZERO,
    })
}
